"""The values of a random step program while it grows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

import grurt
from grurt import operators
from grurt.network import functions
from grurt.network.operators import Operator
from grurt.network.operators.base import Shape

T = TypeVar("T")
Array = np.ndarray[Any, np.dtype[np.float32]]

LIMIT = 8.0
"""No value is larger, of inputs and states that are not."""

MAX_NUMBERS = 400


class Values:
    """Inputs, states, constants and operators, drawn one after the other.

    Of each value it knows a bound of its size, and whether float32 holds it exactly: operators that jump read no other.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.inputs: dict[str, Shape] = {}
        self.states: list[grurt.ProgramState] = []
        self.constants: dict[str, Array] = {}
        self.operators: list[Operator] = []
        self.shapes: dict[str, Shape] = {}
        self.bounds: dict[str, float] = {}
        self.exact: set[str] = set()
        self.n_written = 0

    def add_input(self, name: str, shape: Shape) -> None:
        """Add an input, of numbers near one."""
        self.inputs[name] = shape
        self._add(name, shape, 6.0, exact=True)

    def add_state(self, name: str, shape: Shape, result: str = "") -> str:
        """Add a state, which becomes a result that is chosen at the end if it is not given; return its name."""
        initial = self.constant(self.rng.uniform(-0.9, 0.9, shape)) if self.coin() else None
        self.states.append(grurt.ProgramState(name, shape, result, initial))
        self._add(name, shape, 1.5, exact=not result and self.coin())
        return name

    def constant(self, array: Any) -> str:
        """Add a constant; return its name."""
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array, np.float32)
        return name

    def normal(self, shape: Sequence[int], scale: float = 1.0) -> str:
        """Add a constant of random numbers; return its name."""
        return self.constant(scale * np.clip(self.rng.standard_normal(shape), -2.5, 2.5))

    def write(
        self, kind: Callable[..., Operator], *inputs: str, bound: float, exact: bool = False, **fields: Any
    ) -> str:
        """Add an operator of one output; return what it writes, brought below the limit where the bound is above it."""
        (name,) = self.write_several(kind, *inputs, outputs=1, bound=bound, exact=exact, fields=fields)
        if bound <= LIMIT:
            return name
        smaller = self.squashed(name, 1.0)
        self.forget(name)
        return smaller

    def write_several(
        self,
        kind: Callable[..., Operator],
        *inputs: str,
        outputs: int,
        bound: float,
        exact: bool = False,
        fields: Mapping[str, Any],
    ) -> tuple[str, ...]:
        """Add an operator; return the names of what it writes."""
        names = tuple(f"v{self.n_written + i}" for i in range(outputs))
        self.n_written += outputs
        operator = kind(inputs=inputs, outputs=names, **fields)
        operator.check()
        written = operator.shapes(*(self.shape(name) for name in inputs))
        self.operators.append(operator)
        for name, shape in zip(names, written, strict=True):
            self._add(name, shape, bound, exact=exact)
        return names

    def squashed(self, name: str, bound: float) -> str:
        """Return a value of numbers up to a bound, made of another where that is larger."""
        if self.bound(name) <= bound:
            return name
        if self.is_exact(name):
            function: functions.Elementwise = grurt.Clip(-bound, bound)
        else:
            function = self.any_of([grurt.ScaledTanh(bound, 0.7), grurt.Clip(-bound, bound)])
        return self.write(operators.Apply, name, function=function, bound=bound, exact=self.is_exact(name))

    def positive(self, name: str) -> str:
        """Return a value with numbers from 0.5 to 2."""
        clip = grurt.Clip(0.5, 2.0)
        return self.write(operators.Apply, name, function=clip, bound=2.0, exact=self.is_exact(name))

    def reshaped(self, name: str, shape: Shape) -> str:
        """Return a value of so many numbers in a shape."""
        if self.shape(name) == shape:
            return name
        return self.moved(operators.Reshape, name, shape=shape)

    def moved(self, kind: Callable[..., Operator], *inputs: str, **fields: Any) -> str:
        """Add an operator that moves numbers; return what it writes."""
        bound = max(self.bound(name) for name in inputs)
        exact = all(self.is_exact(name) for name in inputs)
        return self.write(kind, *inputs, bound=bound, exact=exact, **fields)

    def sized(self, name: str, shape: Shape) -> str:
        """Return a value of a shape, of the numbers of another: the first of them, or all of them again and again."""
        size, wanted = int(np.prod(self.shape(name))), int(np.prod(shape))
        if size != wanted:
            name = self.reshaped(name, (size,))
            name = self.moved(operators.Gather, name, axis=0, places=tuple(np.resize(np.arange(size), wanted).tolist()))
        return self.reshaped(name, shape)

    def end_states(self) -> None:
        """Choose what states become: other values, made smaller where float32 does not hold them exactly."""
        for place, state in enumerate(self.states):
            if state.result:
                continue
            is_exact = state.name in self.exact
            equal = [name for name, shape in self.shapes.items() if shape == state.shape and name in self.exact]
            name = (
                self.any_of(equal) if is_exact and self.coin() else self.sized(self.pick(exact=is_exact), state.shape)
            )
            name = self.squashed(name, 1.5)
            if not is_exact:
                name = self.write(operators.Apply, name, function=grurt.Affine(0.3, 0.05), bound=1.0)
            self.states[place] = grurt.ProgramState(state.name, state.shape, name, state.initial)

    def forget(self, name: str) -> None:
        """Have a value not picked any more."""
        del self.shapes[name]

    def shape(self, name: str) -> Shape:
        """Return the shape of a value or constant."""
        return self.constants[name].shape if name in self.constants else self.shapes[name]

    def bound(self, name: str) -> float:
        """Return how large a value or constant is at most."""
        return float(np.abs(self.constants[name]).max()) if name in self.constants else self.bounds[name]

    def is_exact(self, name: str) -> bool:
        """Return whether float32 holds a value as it is."""
        return name in self.constants or name in self.exact

    def pick(self, *, exact: bool = False) -> str:
        """Return a value that has axes: rather one of the last ones."""
        names = [name for name, shape in self.shapes.items() if shape and (not exact or name in self.exact)]
        return self.any_of(names[-6:] if self.rng.random() < 0.6 else names)

    def any_of(self, choices: Sequence[T]) -> T:
        """Return one of some."""
        return choices[int(self.rng.integers(len(choices)))]

    def coin(self) -> bool:
        """Return either."""
        return bool(self.rng.integers(2))

    def random_shape(self) -> Shape:
        """Return a shape of rank 1 to 5."""
        shape = tuple(int(size) for size in self.rng.integers(1, 7, int(self.rng.integers(1, 6))))
        return shape if np.prod(shape) <= MAX_NUMBERS // 4 else self.random_shape()

    def factored(self, size: int, rank: int) -> Shape:
        """Return a shape of so many axes and numbers."""
        shape = [1] * rank
        for prime in _primes(size):
            shape[int(self.rng.integers(rank))] *= prime
        return tuple(shape)

    def _add(self, name: str, shape: Shape, bound: float, *, exact: bool) -> None:
        self.shapes[name] = shape
        self.bounds[name] = bound
        if exact:
            self.exact.add(name)


def _primes(number: int) -> list[int]:
    found, prime = [], 2
    while number > 1:
        while number % prime == 0:
            found.append(prime)
            number //= prime
        prime += 1
    return found


def can_be_broadcast(a: Shape, b: Shape) -> bool:
    """Return whether values of two shapes fit together, and do not become large."""
    try:
        together = np.broadcast_shapes(a, b)
    except ValueError:
        return False
    return bool(np.prod(together) <= MAX_NUMBERS)


def broadcast_shape(values: Values, shape: Shape) -> Shape:
    """Return a shape to be broadcast together with another: fewer axes, some of size 1, or larger where it has 1."""
    other = [1 if values.rng.random() < 0.3 else size for size in shape[int(values.rng.integers(len(shape) + 1)) :]]
    for place, size in enumerate(other):
        if size == 1 and values.rng.random() < 0.2:
            other[place] = 2
    fits = can_be_broadcast(shape, tuple(other))
    return tuple(other) if fits else shape
