"""The inputs and outputs of a model, and what its streams are given once, as parameters in C."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grurt.native.c99.names import Names
from grurt.network.frames import Frame, frames_of

if TYPE_CHECKING:
    from grurt.network.layers.base import Shape
    from grurt.network.network import Network

_TAKEN = (
    "state",
    "scratch",
    "context",
    "n_steps",
    "steps",
    "i",
    "t",
    "status",
    "values",
    "ok",
    "version",
    "setup",
    "loop",
    "serial",
    "delay",
    "a0",
)


@dataclass(frozen=True)
class Port:
    """An input or output.

    Parameters
    ----------
    name
        What it is called in C.
    source
        What it is called in the model.
    value
        The value that it is.
    size
        How many numbers a timestep has; of tokens, the vocabulary.
    frame
        How they lie in the source.
    """

    name: str
    source: str
    value: str
    size: int
    frame: Frame
    is_input: bool
    is_token: bool

    @property
    def type(self) -> str:
        """The type of its elements."""
        return "int64_t" if self.is_token else "float"

    @property
    def count(self) -> int:
        """How many elements a timestep has."""
        return 1 if self.is_token else self.size

    @property
    def declaration(self) -> str:
        """It as a parameter."""
        return f"{'const ' if self.is_input else ''}{self.type} *{self.name}"

    @property
    def meaning(self) -> str:
        """What it is, in words."""
        kind = f"a token below {self.size}" if self.is_token else "float"
        grid = f", {' by '.join(map(str, self.frame.shape))}, row by row" if self.frame.is_grid else ""
        return f"{'input' if self.is_input else 'output'}, {kind}{grid}"


@dataclass(frozen=True)
class Given:
    """An array that a stream is given once, as a parameter in C.

    Parameters
    ----------
    name, source
        What it is called in C, and in the model.
    shape
        Its shape, or the largest that it may have.
    axis, mask
        The axis along which it may be shorter, and the value that says how many places it has; None if there is none.
    """

    name: str
    source: str
    shape: Shape
    axis: int | None
    mask: str | None

    @property
    def size(self) -> int:
        """How many numbers it has at most."""
        return math.prod(self.shape)

    @property
    def places(self) -> str:
        """The parameter that says how many places it has."""
        return f"{self.name}_places"

    @property
    def declarations(self) -> list[str]:
        """It as parameters."""
        return [f"const float *{self.name}", *([] if self.axis is None else [f"int64_t {self.places}"])]

    @property
    def meaning(self) -> str:
        """What it is, in words."""
        sizes = (f"up to {size}" if axis == self.axis else str(size) for axis, size in enumerate(self.shape))
        return f"float, {' by '.join(sizes)}, row by row"


def given_of(network: Network) -> tuple[Given, ...]:
    """Return what streams of a model are given once."""
    taken = [name for port in ports_of(network) for name in (port.name, f"{port.name}_places")]
    names, opened = Names([*_TAKEN, *taken]), network.open_contexts
    found = []
    for name, shape in network.context_shapes.items():
        axis, mask = opened.get(name, (None, None))
        own = names.new(name)
        names.new(f"{own}_places")
        found.append(Given(own, name, shape, axis, mask))
    return tuple(found)


def ports_of(network: Network) -> tuple[Port, ...]:
    """Return the inputs and outputs of a model, inputs first."""
    names, frames = Names(_TAKEN), frames_of(network)
    inputs = [(port.name, port.name, frames.inputs[port.name]) for port in network.inputs]
    outputs = [(output.name, output.value, frames.outputs[output.name]) for output in network.outputs]
    found: list[Port] = []
    for source, value, frame in inputs + outputs:
        info = network.values[value]
        size = info.positions * info.size
        is_input = len(found) < len(inputs)
        found.append(Port(names.new(source), source, value, size, frame, is_input, is_input and info.tokens))
    return tuple(found)
