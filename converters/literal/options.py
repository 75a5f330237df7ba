"""What a caller says of how a graph is imported, and of graphs of one timestep."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from grurt.errors import ConversionError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Import = Literal["meaning", "literal"]


@dataclass(frozen=True)
class StepOptions:
    """What a caller says of a graph of one timestep.

    Parameters
    ----------
    bind
        Values of inputs that are fixed before anything is computed.
    state
        Outputs that go back, by the inputs that they go back into; None for an input that is no state.
    initial
        What states begin as, by input; zeros else.
    context
        Names of inputs that a stream is given once.
    sizes
        The largest that an open size of such inputs may be, by its name.
    """

    bind: Mapping[str, ArrayLike] = field(default_factory=dict)
    state: Mapping[str, str | None] = field(default_factory=dict)
    initial: Mapping[str, ArrayLike] = field(default_factory=dict)
    context: Collection[str] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.bind or self.state or self.initial or self.context or self.sizes)


@dataclass(frozen=True)
class ImportOptions:
    """How a graph is imported.

    Parameters
    ----------
    imported
        The way; None: by meaning, and literally where that refuses a graph that may be one of one timestep.
    step
        What the caller says of a graph of one timestep, which is imported literally then.
    """

    imported: Import | None = None
    step: StepOptions = field(default_factory=StepOptions)

    def __post_init__(self) -> None:
        if self.imported not in (None, "meaning", "literal"):
            raise ConversionError(f"imported: expected 'meaning' or 'literal', got {self.imported!r}")
        if self.imported == "meaning" and self.step:
            raise ConversionError(
                "bind, state, initial, context and size say something of a graph that is imported literally"
            )
