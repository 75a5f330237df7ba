"""Graphs of one timestep to networks, literally: the operators as they stand, and the states that are fed back.

Nothing asks here what an axis means. A graph's path through the room::

    sizes       what the file leaves open               -> sizes, values of inputs that are fixed
    interpret   node by node                            -> constants, operators of a step program
    handlers    one node                                -> operators
    builder     the operators so far, values, constants
    simplify    operators that nothing reads, scales behind products
    pairs       which outputs are fed back to which inputs
    refusals    graphs that are none of one timestep
    assembly    all of these                            -> Network
    feeding     the source, fed with its own states     -> what it answered

`assembly.network_of_step_graph` is the way in.
"""
