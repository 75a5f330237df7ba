"""What stands for a tensor while a graph is interpreted.

::

    axes           an axis, and what it is found to mean
    values         rows of layer values, and the axes of their dimensions
    features       which dimension is found to hold features
    parameters     attributes and constant inputs of a node            -> plain numbers
    elementwise    functions of one number, for values and constants alike
    folding, folds nodes on constants                                  -> numbers
    states         states of GRUs, loops that hand them on, lengths of sequences
"""
