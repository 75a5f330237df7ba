"""One operator to layers: each file registers those that it converts.

::

    registry        the table of operators
    linear, recurrent, cells, convolution, normalization, activations, composites:   -> layers
    arithmetic, mathematics, combining, reduction    several values or features      -> one value
    constants, padding                   numbers of the file, beside features        -> the same at every timestep
    casting                              numbers, integers and conditions            -> numbers
    movement, reshaping, selection       what only moves data                        -> axes that move
    lengths                              padded and sorted sequences
    refusals                             operators without a handler                 -> the reason

How an operator is spelled out in others (see `rewriting`) is said beside its handler: an operator is one file's.
"""

from grurt.converters.graph.operators import (  # noqa: F401 - they fill the table
    activations,
    arithmetic,
    casting,
    cells,
    combining,
    composites,
    convolution,
    lengths,
    linear,
    mathematics,
    movement,
    normalization,
    one_hot,
    recurrent,
    reduction,
    reshaping,
    selection,
)
from grurt.converters.graph.operators.registry import OPERATORS

__all__ = ["OPERATORS"]
