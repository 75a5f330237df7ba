"""Operators that exporters spell out, put together again.

::

    canonical                      several ways to write one thing          -> one way
    loops, counting, sequences     Loop and Scan, and the lists in them     -> their bodies' nodes, in the graph
    branches                       branches that depend on sizes alone      -> one operator
    casts                          conversions between floats               -> none
    copies, convolutions           what exporters add                       -> the graph without it
    matching                       an expression                            -> the nodes that compute it
    gates, affine, functions       what the gates of a cell are computed from
    handwritten, cells             GRU cells in pieces                      -> one node each
    choices, masks, states         what loops carry                         -> the states of cells
    scaled_states                  products that reset states               -> marked, for the GRUs that read them
    steps, feedback, mismatch      copies of cells, and why they are no GRU
    recompose                      the cells, and what `operators` have registered     -> the graph without the pieces
"""
