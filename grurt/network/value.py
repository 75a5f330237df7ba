"""What a model input or a layer writes, without its numbers."""

import msgspec


class Value(msgspec.Struct, frozen=True):
    """What a model input or a layer writes: ``size`` features (or, for tokens, the vocabulary's size).

    ``per_step`` is True for a sequence, with one vector for each timestep, and False for one vector in all. A grid has
    ``positions`` vectors of that size where others have one. ``stage`` is the number of its stage, see `Model.stages`.
    """

    size: int
    tokens: bool
    per_step: bool
    positions: int = 1
    stage: int = 0
