"""One operator to layers: each file registers those that it converts.

::

    registry        the table of operators
    linear, recurrent, cells, convolution, pooling, normalization, activations, composites:   -> layers
    arithmetic, mathematics, combining, reduction    several values or features      -> one value
    constants, padding                   numbers of the file, beside features        -> the same at every timestep
    casting                              numbers, integers and conditions            -> numbers
    movement, reshaping, selection       what only moves data                        -> axes that move
    lengths, ends                        padded and sorted sequences, masks behind their ends
    scaled_states                        states that masks reset
    windows                              what reads a sequence that is padded or cut
    loops, buffers                       timesteps of loops, and what they are collected in
    refusals                             operators without a handler                 -> the reason

How an operator is spelled out in others (see `rewriting`) is said beside its handler: an operator is one file's.
"""

from grurt.converters.graph.operators import (  # noqa: F401 - they fill the table
    activations,
    arithmetic,
    attention,
    buffers,
    casting,
    cells,
    combining,
    composites,
    convolution,
    ends,
    lengths,
    linear,
    loops,
    mathematics,
    movement,
    normalization,
    one_hot,
    pooling,
    recurrent,
    reduction,
    reshaping,
    scaled_states,
    selection,
)
from grurt.converters.graph.operators.registry import OPERATORS

__all__ = ["OPERATORS"]
