"""One node of a graph to operators of a step program: importing this registers all that are understood."""

from grurt.converters.literal.handlers import (  # noqa: F401 - they fill the table of handlers
    attention,
    casts,
    convolution,
    elementwise,
    logic,
    movement,
    normalization,
    padding,
    places,
    pooling,
    products,
    recurrent,
    reductions,
    resampling,
)
