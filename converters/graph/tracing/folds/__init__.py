"""How operators are evaluated on constants, beside those that only move data: see `folding`.

::

    rules           what a rule is, and what it says beforehand of the memory that it takes
    elements        functions of numbers, element by element
    reductions      sums, extremes and norms over axes
    products        matrices
    places          what picks, places and sorts elements
    quantized       integers with a scale

Every operator is one entry of a table, a few lines of NumPy. The evaluator of the package onnx is not used: it computes
whatever a file asks for, without a bound; it ignores attributes of some operators; and programs of `torch.export` are
folded where that package is not installed.
"""
