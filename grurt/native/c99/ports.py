"""The inputs and outputs of a model, as parameters in C."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from grurt.native.c99.names import Names
from grurt.network.frames import Frame, frames_of

if TYPE_CHECKING:
    from grurt.network.network import Network

_TAKEN = (
    "state",
    "scratch",
    "n_steps",
    "steps",
    "i",
    "t",
    "y",
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
