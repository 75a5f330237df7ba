"""Operators that exporters spell out, put together again.

::

    casts          conversions between floating-point types    -> none
    matching       an expression               -> the nodes that compute it
    gates, cells   GRU cells in pieces         -> one node each, also the copies of an unrolled loop
    scaled_states  products that reset states  -> marked, for the GRUs that read them
    recompose      the cells, and what `operators` have registered     -> the graph without the pieces
"""
