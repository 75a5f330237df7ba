"""Collects the layers of a network, and names them.

A layer that stands for one of the source's has its name, or that of its kind where the source names none. What a
converter adds has the name of the value that it works on, a dot, and what it does: ``gru.last``, ``fc.relu``. Where a
name is taken, a number follows: ``gru_2``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar

import msgspec
import numpy as np

from grurt.array_types import Array
from grurt.converters.activations import Composite
from grurt.errors import UnsupportedError
from grurt.network.functions import AnyFunction
from grurt.network.layers import (
    Activation,
    Add,
    AnyLayer,
    Concat,
    FirstStep,
    Flatten,
    LastStep,
    Linear,
    Mul,
    Slice,
    Unflatten,
)

_LONGEST_NAME = 180


class Names:
    """Names that are given once.

    Parameters
    ----------
    taken
        Those that nothing must be called: of the network's inputs.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._numbers: Counter[str] = Counter()

    def take(self, name: str) -> None:
        """Note that something has this name."""
        self._taken.add(name)

    def unique(self, base: str) -> str:
        """Return a name that nothing has yet, and take it: ``base``, or ``base_2`` and so on."""
        name = base = base[:_LONGEST_NAME]
        while name in self._taken:
            self._numbers[base] += 1
            name = f"{base}_{self._numbers[base] + 1}"
        self._taken.add(name)
        return name


class LayerBuilder:
    """The layers so far, and their weights.

    Parameters
    ----------
    elements
        How many numbers the weights may hold in all: a source may use a layer many times.
    taken
        Names that no layer must have.
    """

    used_too_often: ClassVar[str]
    """What to say of a layer that takes more."""

    def __init__(self, elements: int, taken: Iterable[str] = ()) -> None:
        self.layers: dict[str, AnyLayer] = {}
        self.weights: dict[str, Array] = {}
        self.names = Names(taken)
        self._remaining = elements
        self._made: dict[tuple[object, ...], str] = {}

    def unique(self, base: str) -> str:
        """Return a name that nothing has yet: ``base``, or ``base_2`` and so on."""
        return self.names.unique(base)

    def add(self, layer: AnyLayer, weights: Mapping[str, Array] | None = None) -> str:
        """Add a layer and return its name, which is also that of its value."""
        for parameter, array in (weights or {}).items():
            self._remaining -= array.size
            self.weights[f"{layer.name}.{parameter}"] = array
        self._check_room(layer.name, 0)
        self.layers[layer.name] = layer
        return layer.name

    def once(self, key: tuple[object, ...], make: Callable[[], str]) -> str:
        """Return what ``make`` returned when it was first called for this key."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def function(self, value: str, function: AnyFunction, name: str | None = None) -> str:
        """Return the value of a function applied to a value."""
        name = self.unique(f"{value}.{function.name}") if name is None else name
        return self.add(Activation(name=name, inputs=(value,), function=function))

    def activate(self, value: str, composite: Composite, name: Callable[[str], str] | None = None) -> str:
        """Return the value of an activation applied to a value; ``name`` gives names to layers, from what they do."""
        name = name or (lambda suffix: self.unique(f"{value}.{suffix}"))
        result = self.in_turn(value, composite.functions, name)
        if composite.gated:
            result = self.add(Mul(name=name("mul"), inputs=(value, result)))
        if composite.plus:
            result = self.add(Add(name=name("add"), inputs=(result, self.in_turn(value, composite.plus, name))))
        return result

    def in_turn(self, value: str, functions: Iterable[AnyFunction], name: Callable[[str], str]) -> str:
        """Return the value of functions that are applied to a value one after the other."""
        for function in functions:
            value = self.function(value, function, name(function.name))
        return value

    def last_of_length(self, value: str) -> str:
        """Return the value's last timestep before the end of its sequence, made once."""

        def make() -> str:
            return self.add(LastStep(name=self.unique(f"{value}.last"), inputs=(value,), by_length=True))

        return self.once(("last of length", value), make)

    def in_groups(self, layer: AnyLayer, groups: int) -> str:
        """Add a layer that works on each of the groups of features of its input; return the features side by side."""
        (value,) = layer.inputs
        positions = Unflatten(name=self.unique(f"{layer.name}.groups"), inputs=(value,), positions=groups)
        done = self.add(msgspec.structs.replace(layer, inputs=(self.add(positions),)))
        return self.add(Flatten(name=self.unique(f"{layer.name}.joined"), inputs=(done,)))

    def concatenated(self, values: Sequence[str], name: Callable[[], str]) -> str:
        """Return the features of values one after the other, of how many there are; ``name`` gives names to layers."""
        while len(values) > 1:
            groups = [
                tuple(values[start : start + Concat.max_inputs]) for start in range(0, len(values), Concat.max_inputs)
            ]
            values = [group[0] if len(group) == 1 else self.add(Concat(name=name(), inputs=group)) for group in groups]
        return values[0]

    def picked(self, value: str, places: Sequence[int], name: Callable[[str], str]) -> str:
        """Return features of a value in any order, in slices of those that adjoin; ``name`` gives names to layers."""
        breaks = [index for index in range(1, len(places)) if places[index] != places[index - 1] + 1]
        runs = zip([0, *breaks], [*breaks, len(places)], strict=True)
        parts = [
            self.add(Slice(name=name("slice"), inputs=(value,), start=places[start], stop=places[stop - 1] + 1))
            for start, stop in runs
        ]
        return self.concatenated(parts, lambda: name("concat"))

    def timestep_of(self, value: str, *, last: bool) -> str:
        """Return the value's last or first timestep, made once."""
        kind, suffix = (LastStep, "last") if last else (FirstStep, "first")
        return self.once((kind, value), lambda: self.add(kind(name=self.unique(f"{value}.{suffix}"), inputs=(value,))))

    def repeated(self, value: str, size: int) -> str:
        """Return a value of one feature, repeated to ``size`` features; made once."""

        def make() -> str:
            name = self.unique(f"{value}.repeated")
            self._check_room(name, size)
            layer = Linear(name=name, inputs=(value,), input_size=1, output_size=size, bias=False)
            return self.add(layer, {"weight": np.broadcast_to(np.float32(1), (size, 1))})

        return self.once(("repeated", value, size), make)

    def _check_room(self, name: str, elements: int) -> None:
        """Raise UnsupportedError unless there is room for so many more numbers among the weights."""
        if self._remaining < elements:
            raise UnsupportedError(f"layer {name!r}: {self.used_too_often}")

    def prune(self, wanted: Iterable[str]) -> None:
        """Remove the layers that none of the wanted values needs."""
        needed = set(wanted)
        for name, layer in reversed(self.layers.items()):
            if name in needed:
                needed.update(layer.inputs)
        for name in [name for name in self.layers if name not in needed]:
            for parameter in self.layers.pop(name).weight_shapes():
                del self.weights[f"{name}.{parameter}"]
