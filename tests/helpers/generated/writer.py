"""The source text of a random PyTorch module, as it is being written: modules, statements, inputs and outputs."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from grurt.errors import DesignReason

FUNCTIONS = ("relu", "tanh", "sigmoid", "elu", "gelu", "silu", "softplus", "leaky_relu", "hardtanh", "mish", "softsign")
"""What stands between layers: all are in `torch.nn.functional`, and of single numbers."""


@dataclass(frozen=True)
class Input:
    """An argument of ``forward``."""

    name: str
    text: str
    """An expression that makes it, of ``batch`` and ``time``."""
    batch_axis: int | None
    time_axis: int | None
    is_state: bool = False


@dataclass(frozen=True)
class Output:
    """What ``forward`` returns."""

    text: str
    time_axis: int | None
    feeds: str = ""
    """The input that the source's own loop gives it to, at the next timestep."""


@dataclass(frozen=True)
class Steps:
    """A value that has features at each timestep: ``(batch, time, size)``, or ``(time, batch, size)``."""

    name: str
    size: int


@dataclass(frozen=True)
class Vector:
    """A value of a whole sequence: ``(batch, size)``."""

    name: str
    size: int


@dataclass
class Writer:
    """A module in the making, and the dice that say what it becomes."""

    rng: random.Random
    batch: int
    time: int
    batch_first: bool = True
    modules: list[str] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)
    inputs: list[Input] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    reasons: set[DesignReason] = field(default_factory=set)
    """Why grurt may refuse it by design."""
    parts: list[str] = field(default_factory=list)
    """The names of what it is made of."""
    _names: Counter[str] = field(default_factory=Counter)

    @property
    def time_axis(self) -> int:
        return 1 if self.batch_first else 0

    @property
    def batch_axis(self) -> int:
        return 0 if self.batch_first else 1

    def module(self, text: str, name: str = "") -> str:
        """Add a module, a parameter or a buffer; return what ``forward`` calls it."""
        name = self._fresh(name or text.partition("(")[0].rpartition(".")[2].lower())
        self.modules.append(f"self.{name} = {text}")
        return f"self.{name}"

    def let(self, name: str, text: str) -> str:
        """Add a statement that computes something; return the name of it."""
        name = self._fresh(name)
        self.statements.append(f"{name} = {text}")
        return name

    def say(self, *lines: str) -> None:
        """Add statements as they are."""
        self.statements.extend(lines)

    def names(self, *wanted: str) -> list[str]:
        return [self._fresh(name) for name in wanted]

    def steps(self, text: str, size: int, name: str = "y") -> Steps:
        return Steps(self.let(name, text), size)

    def vector(self, text: str, size: int, name: str = "v") -> Vector:
        return Vector(self.let(name, text), size)

    def at(self, value: str, position: str) -> str:
        """Return the expression for a timestep, or some: a position or a slice."""
        return f"{value}[:, {position}]" if self.batch_first else f"{value}[{position}]"

    def channels_first(self, x: str) -> str:
        return f"{x}.transpose(1, 2)" if self.batch_first else f"{x}.permute(1, 2, 0)"

    def channels_last(self, x: str) -> str:
        return f"{x}.transpose(1, 2)" if self.batch_first else f"{x}.permute(2, 0, 1)"

    def takes(
        self, name: str, text: str, batch_axis: int | None, time_axis: int | None, *, is_state: bool = False
    ) -> str:
        """Add an input; return its name."""
        name = self._fresh(name)
        self.inputs.append(Input(name, text, batch_axis, time_axis, is_state))
        return name

    def takes_steps(self, name: str = "x", size: int | None = None) -> Steps:
        """Add an input of features at each timestep."""
        size = size or self.size()
        shape = f"batch, time, {size}" if self.batch_first else f"time, batch, {size}"
        return Steps(self.takes(name, f"torch.randn({shape})", self.batch_axis, self.time_axis), size)

    def takes_vector(self, name: str, size: int | None = None) -> Vector:
        size = size or self.size()
        return Vector(self.takes(name, f"torch.randn(batch, {size})", 0, None), size)

    def gives(self, text: str, time_axis: int | None, feeds: str = "") -> None:
        self.outputs.append(Output(text, time_axis, feeds))

    def gives_value(self, value: Steps | Vector) -> None:
        self.gives(value.name, self.time_axis if isinstance(value, Steps) else None)

    def refuses(self, *reasons: DesignReason) -> None:
        self.reasons.update(reasons)

    def size(self, *, even: bool = False) -> int:
        return self.rng.choice((2, 4, 4, 6, 8) if even else (1, 2, 3, 4, 5, 6, 8))

    def function(self) -> str:
        return self.rng.choice(FUNCTIONS)

    def activated(self, text: str) -> str:
        """Return an expression, with an activation or without one."""
        return f"F.{self.function()}({text})" if self.rng.random() < 0.5 else text

    def maybe(self, probability: float = 0.5) -> bool:
        return self.rng.random() < probability

    def source(self) -> str:
        """Return the text of the class."""
        lines = ["class Network(nn.Module):", "    def __init__(self):", "        super().__init__()"]
        lines += [f"        {line}" for line in self.modules]
        lines += ["", f"    def forward(self, {', '.join(each.name for each in self.inputs)}):"]
        lines += [f"        {line}" for line in self.statements]
        return "\n".join([*lines, f"        return {', '.join(output.text for output in self.outputs)}", ""])

    def _fresh(self, name: str) -> str:
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name}_{self._names[name]}"


@dataclass(frozen=True)
class Program:
    """A random network: the source of a module, what goes in and comes out, and why it may be refused."""

    family: str
    seed: str
    source: str
    inputs: Sequence[Input]
    outputs: Sequence[Output]
    batch: int
    time: int
    reasons: frozenset[DesignReason]
    parts: Sequence[str]

    @property
    def fed_back(self) -> Mapping[str, int]:
        """Which output the source's own loop gives to which input."""
        return {output.feeds: place for place, output in enumerate(self.outputs) if output.feeds}


def written(writer: Writer, family: str, seed: str) -> Program:
    return Program(
        family,
        seed,
        writer.source(),
        tuple(writer.inputs),
        tuple(writer.outputs),
        writer.batch,
        writer.time,
        frozenset(writer.reasons),
        tuple(writer.parts),
    )
