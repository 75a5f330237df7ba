"""Weights of hand-written networks: arrays by name, and how their author laid them out.

::

    npz           the bytes of numpy.savez        -> arrays by name
    gathering     a described layer               -> the arrays that it names, under the names of PyTorch's parameters
    conventions   an author's layout              -> PyTorch's
"""
