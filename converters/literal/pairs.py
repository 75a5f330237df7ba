"""Which outputs of a step graph are states that go back into which inputs: by name, or as the caller says.

An equal shape and dtype is necessary, and never enough: a mask can look like what attention gives.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from grurt.converters.graph.nodes import Graph
from grurt.errors import ConversionError, DesignReason, UnsupportedError
from grurt.escaping import listed

DeclaredShape = tuple[int | str | None, ...] | None

_OF_INPUTS = ("cur", "current", "i", "in", "init", "initial", "input", "inputs", "old", "past", "prev", "previous")
_OF_OUTPUTS = ("final", "n", "new", "next", "o", "out", "output", "outputs", "present", "update", "updated")
_WITHOUT_MEANING = frozenset((*_OF_INPUTS, *_OF_OUTPUTS))
"""Words that tell a state from what it was before, and nothing else."""


@dataclass(frozen=True)
class Port:
    """An input or output of a step graph."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def kind(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """What a state has in common with what it becomes."""
        return self.shape, self.dtype

    def __str__(self) -> str:
        return f"{self.name!r} {self.shape}"


_MOST_COMPARED = 1 << 18
"""Pairs of inputs and outputs."""

_MOST_SHOWN = 8
"""Inputs whose candidates an error shows."""


def may_hold_states(graph: Graph) -> bool:
    """Say whether an output of a graph could go back into one of its inputs, and another input is left for the data."""
    is_small = len(graph.inputs) * len(graph.outputs) <= _MOST_COMPARED
    return (
        len(graph.inputs) > 1
        and is_small
        and any(
            port.dtype == other.dtype and _may_be_alike(port.shape, other.shape)
            for port in graph.inputs
            for other in graph.outputs
        )
    )


def _may_be_alike(a: DeclaredShape, b: DeclaredShape) -> bool:
    if a is None or b is None:
        return True
    sizes = zip(a, b, strict=False)
    return len(a) == len(b) and all(m == n or not (isinstance(m, int) and isinstance(n, int)) for m, n in sizes)


def paired(
    inputs: Sequence[Port], outputs: Sequence[Port], told: Mapping[str, str | None], states: Collection[str]
) -> dict[str, str]:
    """Return the outputs that go back, by the inputs that they go back into.

    Parameters
    ----------
    inputs, outputs
        Of the graph.
    told
        What the caller says: an output, or None, for an input that is no state.
    states
        Inputs that can only be states, such as that which a GRU of one timestep begins with.

    Raises
    ------
    ConversionError
        If the caller names what is not there, or does not fit.
    UnsupportedError
        If it is not clear which pairs are meant: the message shows the candidates.
    """
    if len(inputs) * len(outputs) > _MOST_COMPARED:
        raise UnsupportedError(
            f"the graph has {len(inputs)} inputs and {len(outputs)} outputs, which are too many to be paired",
            reason=DesignReason.SIZE,
        )
    pairs = _told(inputs, outputs, told)
    for reading in _READINGS:
        left = [port for port in inputs if port.name not in pairs and port.name not in told]
        free = [port for port in outputs if port.name not in pairs.values()]
        pairs |= _unique(left, free, reading)
    _refuse_unclear(inputs, outputs, pairs, told, states)
    return pairs


def _told(inputs: Sequence[Port], outputs: Sequence[Port], told: Mapping[str, str | None]) -> dict[str, str]:
    read, written = ({port.name: port for port in ports} for ports in (inputs, outputs))
    pairs: dict[str, str] = {}
    for name, result in told.items():
        if name not in read:
            raise ConversionError(f"state: the graph has no input {name!r}; it has {listed(read)}")
        if result is None:
            continue
        if result not in written:
            raise ConversionError(f"state: the graph has no output {result!r}; it has {listed(written)}")
        if read[name].kind != written[result].kind:
            raise ConversionError(
                f"state: the input {read[name]} of {read[name].dtype} cannot become the output {written[result]} of "
                f"{written[result].dtype}: expected one shape and dtype"
            )
        if result in pairs.values():
            raise ConversionError(f"state: the output {result!r} goes back into two inputs")
        pairs[name] = result
    return pairs


def _words(name: str) -> tuple[str, ...]:
    """Return the words and numbers of a name that mean something: ``convCache_out2`` -> conv, cache, 2."""
    split = re.sub(r"([a-z])([A-Z])", r"\1 \2", name[:200])
    words = [word.lower() for word in re.findall(r"[A-Za-z]+|\d+", split)]
    return tuple(str(int(word)) if word.isdecimal() else word for word in words if word not in _WITHOUT_MEANING)


def _without_numbers(name: str) -> tuple[str, ...]:
    return tuple(word for word in _words(name) if not word.isdecimal())


def _without_endings(name: str) -> tuple[str, ...]:
    """Return the words of a name without what may be written together with them: ``hn`` -> h, as PyTorch has it."""
    return tuple(re.sub(r"(?<=.)(in|out|n|new|next|prev)$", "", word) for word in _without_numbers(name))


_READINGS = (_words, _without_numbers, _without_endings)
"""What is compared of names, from the most to the least that tells them apart."""


def _unique(
    inputs: Sequence[Port], outputs: Sequence[Port], reading: Callable[[str], tuple[str, ...]]
) -> dict[str, str]:
    """Return the pairs of one kind whose names are read alike, and like those of no others."""
    read, written = (Counter((port.kind, reading(port.name)) for port in ports) for ports in (inputs, outputs))
    by_reading = {(port.kind, reading(port.name)): port.name for port in outputs}
    found = [(port.name, (port.kind, reading(port.name))) for port in inputs]
    return {name: by_reading[key] for name, key in found if key[1] and read[key] == written[key] == 1}


def _refuse_unclear(
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    pairs: Mapping[str, str],
    told: Mapping[str, str | None],
    states: Collection[str],
) -> None:
    free = [port for port in outputs if port.name not in pairs.values()]
    open_ports = [port for port in inputs if port.name not in pairs and port.name not in told]
    candidates = {port: [other for other in free if other.kind == port.kind] for port in open_ports}
    alike = {_without_endings(port.name) for port in free} - {()}
    unclear = [
        port
        for port, others in candidates.items()
        if others and (port.name in states or not pairs or _without_endings(port.name) in alike)
    ]
    if unclear:
        lines = [f"{port}: {listed(other.name for other in candidates[port])}" for port in unclear[:_MOST_SHOWN]]
        raise UnsupportedError(
            "it is not clear which outputs are states that go back into which inputs; say so with --state IN=OUT, or "
            f"--state IN= of an input that is none; candidates of one shape and dtype are {'; '.join(lines)}"
        )
    if lost := [port for port in open_ports if port.name in states]:
        raise UnsupportedError(
            f"the input {lost[0]} is a state, and no output is what it becomes: export the network with it",
            reason=DesignReason.WHOLE_SEQUENCE,
        )
    if not pairs:
        raise UnsupportedError(
            "no output goes back into an input: a graph without states is no timestep of a network that streams",
            reason=DesignReason.NO_RECURRENCE,
        )
