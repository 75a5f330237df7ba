"""Operators that exporters spell out, put together again.

::

    canonical      several ways to write one thing     -> one way
    matching       an expression               -> the nodes that compute it
    gates, cells   GRU cells in pieces         -> one node each, also the copies of an unrolled loop
    recompose      the cells, and what `operators` have registered     -> the graph without the pieces
"""
