"""Graphs of one timestep to networks, literally: the operators as they stand, and the states that are fed back.

Nothing asks here what an axis means. A graph's path through the room::

    options     what the caller says
    choice      by meaning, or literally
    sizes       what the file leaves open               -> sizes, values of inputs that are fixed
    interpret   node by node                            -> constants, operators of a step program
    handlers    one node                                -> operators
    builder     the operators so far, values, constants
    simplify    operators that nothing reads, scales behind products
    pairs       which outputs are fed back to which inputs
    refusals    graphs that are none of one timestep
    program, ports, naming      the layers, the signature, and what everything is called
    assembly    all of these                            -> Network
    causal      graphs of whole sequences that look back only   -> Network
    feeding     the source, fed with its own states     -> what it answered

`choice.imported` is the way in.
"""
