"""Runs networks: one timestep, a block, a whole sequence, many streams together.

A sample's path through `Stream.step`, from its array to the answer::

    stream       -> context   the addresses that the kernels work with
                 -> engine    who runs the kernels: Numba, a library compiled ahead of time, or Python

and what is around it::

    arrays, binding           a caller's inputs as the kernels read them, and memory for the outputs
    states, snapshot(s)       what lives on between calls, and the same as bytes, of one stream or many
    pool, pool_*, team        many streams advanced together, and the threads that share them
    sequences, batch, tails   whole sequences: from the source's tensors, many at once, behind their ends
    verify                    the source's answers beside the network's
"""
