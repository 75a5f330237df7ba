"""A step program: any network that was exported one timestep at a time."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, Self

import msgspec

from grurt.errors import ModelError
from grurt.escaping import listed
from grurt.lanes import LANES
from grurt.network.layers.base import MAX_INT8_INPUTS, Layer, Part, Shape, WeightFormat
from grurt.network.layers.preparation import Parted, parted
from grurt.network.layers.program_parts import ProgramPart, program_parts
from grurt.network.operators import AnyOperator, Operator
from grurt.network.operators.base import MAX_CONSTANT, check_shape
from grurt.network.ranges import MAX_SIZE
from grurt.network.text import check_name
from grurt.network.vectors import F32_BYTES, padded

__all__ = ["Program"]

MAX_OPERATORS = 1 << 13
MAX_VALUES = 1 << 14

_STEP_NUMBERS = 256
"""Of a step in tables, each of which begins on a cache line, beside the entries of these."""

_HEAD_NUMBERS = 256
"""Of what the engine needs beside values."""


class ProgramState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a program keeps from one timestep to the next.

    Parameters
    ----------
    name
        Names the state, and the value that holds it while the program runs: what it was before.
    shape
        Its shape.
    result
        Name of the value that it becomes.
    initial
        Name of the constant that it begins as; None: zeros.
    """

    name: str
    shape: Shape
    result: str
    initial: str | None = None


class ProgramContext(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a stream of a program is given once, and every timestep reads: see `grurt.StreamContext`.

    Parameters
    ----------
    name
        Names the context, and the value that holds it.
    shape
        Its shape, or the largest that it may have.
    open_axis
        The axis along which it may be shorter, from one place on. Zeros stand behind its end then.
    mask
        Names the value, ``(shape[open_axis],)``, that is 1 at the places that it has, and 0 behind them. Contexts of
        one mask have as many places.
    """

    name: str
    shape: Shape
    open_axis: int | None = None
    mask: str | None = None


class Program(Layer, frozen=True, kw_only=True, tag="program"):
    """A network of one timestep, as operators on arrays of fixed shapes, and the states that it hands on to the next.

    Whoever deploys a streaming network has usually exported one step of it: static shapes, states in, states out. A
    program is such a graph, literally. Its operators are those of `grurt.operators`; they run in order.

    A model's values are vectors: an input is one of as many numbers as its shape says, row-major, and the layer writes
    its outputs, each row-major, one after the other. `Slice` layers take them apart again.

    Parameters
    ----------
    input_shapes
        Shapes of the values that it reads, of which ``inputs`` are the names.
    constants
        Shapes of its weights by name: ``{layer}.{constant}`` among those of the model. They may be infinite.
    states
        What it keeps from one timestep to the next. All states change at once, when everything else is done.
    contexts
        What a stream is given once: the memory that an encoder left for a decoder, a speaker's voice. What depends on
        nothing else but constants is computed once.
    operators
        What it computes, each reading inputs, states, constants and what earlier ones have written.
    results
        Names of the values that it writes.
    float16
        Names of those constants that are kept in float16, and computed with in float32. As the integers below, they
        are matrices that nothing reads but convolutions, depthwise ones aside, `grurt.operators.MatMul` and recurrent
        operators, whose two are of one format.
    int8
        Names of those that are kept in int8. Such a constant ``W`` comes with a weight ``W_scale``, float32, positive,
        and of W's shape but for the axes that products sum over, which are of size 1: it stands for ``W * W_scale``.
        Products with it round what they multiply to int8 too, scaled by the largest of it.

    Examples
    --------
    A leaky integrator:

    >>> import numpy as np
    >>> import grurt
    >>> op = grurt.operators.Combine
    >>> layer = grurt.Program(
    ...     name="leaky",
    ...     inputs=("x",),
    ...     input_shapes=((2,),),
    ...     constants={"leak": (1,)},
    ...     states=(grurt.ProgramState("level", (2,), "new_level"),),
    ...     operators=(
    ...         op(inputs=("level", "leak"), outputs=("kept",), operation="mul"),
    ...         op(inputs=("kept", "x"), outputs=("new_level",), operation="add"),
    ...     ),
    ...     results=("new_level",),
    ... )
    >>> inputs = [grurt.Input("x", 2)]
    >>> model = grurt.Model(layers=[layer], weights={"leaky.leak": np.array([0.5])}, inputs=inputs)
    >>> model.stream().run(np.ones((3, 2), np.float32))[:, 0].tolist()
    [1.0, 1.5, 1.75]
    """

    file_version: ClassVar[int] = 2
    later_fields: ClassVar[Mapping[str, int]] = {"contexts": 2}
    max_inputs: ClassVar[int] = 64
    needs_sequence: ClassVar[bool] = True
    has_infinite_weights: ClassVar[bool] = True

    input_shapes: tuple[Shape, ...]
    constants: dict[str, Shape] = msgspec.field(default_factory=dict)
    states: tuple[ProgramState, ...] = ()
    operators: tuple[AnyOperator, ...]
    results: tuple[str, ...]
    float16: tuple[str, ...] = ()
    int8: tuple[str, ...] = ()
    contexts: tuple[ProgramContext, ...] = ()

    def weight_shapes(self) -> Mapping[str, Shape]:
        if not self.int8:
            return self.constants
        summed = {name: axes for part in self._parts() for name, axes in part.matrices.items()}
        return self.constants | {f"{name}_scale": _ones_at(self.constants[name], summed[name]) for name in self.int8}

    def float32_shapes(self) -> Mapping[str, Shape]:
        return self.constants

    def _parts(self) -> list[ProgramPart]:
        begin = (state.initial for state in self.states if state.initial is not None)
        shown = {*self.results, *(state.result for state in self.states), *begin}
        return program_parts(self.operators, self.constants, self.shapes(), shown)

    def parts(self) -> tuple[Part, ...]:
        return tuple(
            Part(tuple(f"{self.name}.{name}" for name in part.matrices), part.kind, tuple(part.matrices))
            for part in self._parts()
        )

    def matrix_formats(self) -> Mapping[str, WeightFormat]:
        formats: dict[str, WeightFormat] = dict.fromkeys(self.float16, "float16")
        return formats | dict.fromkeys(self.int8, "int8")

    def in_format(self, matrices: Collection[str], weight_format: WeightFormat) -> Self:
        names = {"float16": self.float16, "int8": self.int8}
        names = {each: tuple(name for name in own if name not in matrices) for each, own in names.items()}
        if weight_format in names:
            names[weight_format] += tuple(matrices)
        return msgspec.structs.replace(self, **names)

    def summed_axes(self, matrix: str) -> tuple[int, ...]:
        return next(part.matrices[matrix] for part in self._parts() if matrix in part.matrices)

    def check_format(self) -> None:
        named = (*self.float16, *self.int8)
        if not named:
            return
        if len(set(named)) < len(named):
            raise ModelError(f"layer {self.name!r}: a constant is named twice in float16 and int8")
        formats = self.matrix_formats()
        left = set(named)
        for _, matrices in self._parts():
            own = {formats.get(name, "float32") for name in matrices}
            if len(own) > 1:
                raise ModelError(f"layer {self.name!r}: expected one format for {listed(matrices)}, got {listed(own)}")
            inputs = max(math.prod(self.constants[name][axis] for axis in axes) for name, axes in matrices.items())
            if "int8" in own and inputs > MAX_INT8_INPUTS:
                raise ModelError(f"layer {self.name!r}: int8 weights may have {MAX_INT8_INPUTS} inputs, got {inputs}")
            left -= matrices.keys()
        if left:
            raise ModelError(
                f"layer {self.name!r}: only weight matrices of convolutions, mat_mul, gru, lstm and rnn, which nothing "
                f"else reads, can be in float16 or int8: {listed(sorted(left))} cannot"
            )

    def state_shapes(self, positions: int = 1) -> Mapping[str, Shape]:
        return {state.name: state.shape for state in self.states}

    def context_shapes(self) -> Mapping[str, Shape]:
        return {context.name: context.shape for context in self.contexts}

    def context_size(self) -> int:
        return sum(math.prod(context.shape) for context in self.timestep().contexts)

    def open_contexts(self) -> Mapping[str, tuple[int, str | None]]:
        opened = ((context.name, context.open_axis, context.mask) for context in self.contexts)
        return {name: (axis, mask) for name, axis, mask in opened if axis is not None}

    def given_shapes(self) -> Mapping[str, Shape]:
        shapes = dict(self.context_shapes())
        masks = {mask: (shapes[name][axis],) for name, (axis, mask) in self.open_contexts().items() if mask is not None}
        return shapes | masks

    def preparation(self) -> Self | None:
        if not (once := self._parted().once):
            return None
        return msgspec.structs.replace(
            self._with_operators(once),
            inputs=tuple(self.given_shapes()),
            input_shapes=tuple(self.given_shapes().values()),
            contexts=(),
            states=(),
            results=tuple(context.name for context in self.timestep().contexts),
        )

    def timestep(self) -> Self:
        """Return what is computed at each timestep, as a program whose contexts are the results of `preparation`."""
        once, each, names = self._parted()
        if not once:
            return self
        handed = tuple(ProgramContext(name, shape) for name, shape in self.shapes().items() if name in names)
        begins = [state.initial for state in self.states if state.initial is not None]
        return msgspec.structs.replace(self._with_operators(each, begins), contexts=handed)

    def _parted(self) -> Parted:
        shown = {*self.results, *(state.result for state in self.states)}
        return parted(self.operators, self.given_shapes(), self.constants, shown)

    def _with_operators(self, operators: Sequence[AnyOperator], read_besides: Iterable[str] = ()) -> Self:
        """Return the program with some of its operators, and the constants that these read."""
        used = {*read_besides, *(name for operator in operators for name in operator.inputs)}
        return msgspec.structs.replace(
            self,
            operators=tuple(operators),
            constants={name: shape for name, shape in self.constants.items() if name in used},
            float16=tuple(name for name in self.float16 if name in used),
            int8=tuple(name for name in self.int8 if name in used),
        )

    def input_counts(self) -> tuple[int, int]:
        return len(self.input_shapes), len(self.input_shapes)

    def value_shape(self, inputs: tuple[tuple[int, int], ...]) -> tuple[int, int]:
        if any(positions > 1 for positions, _ in inputs):
            raise ModelError(f"layer {self.name!r}: expected vectors, got a grid: Flatten it first")
        return super().value_shape(inputs)

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        shapes = self.shapes()
        for shape, size in zip(self.input_shapes, input_sizes, strict=True):
            self._expect_input_size(math.prod(shape), size)
        return sum(math.prod(shapes[name]) for name in self.results)

    def first_input(self, name: str) -> None:
        return None

    def shapes(self) -> dict[str, Shape]:
        """Return the shapes of all values by name.

        Raises
        ------
        ModelError
            If the program is not one: names that are not known or not new, shapes that do not fit.
        """
        try:
            shapes = self._given()
            for operator in self.operators:
                self._write(operator, shapes)
            self._check_results(shapes)
        except ModelError as error:
            raise ModelError(f"layer {self.name!r}: {error}") from error
        return shapes

    def _given(self) -> dict[str, Shape]:
        """Return the shapes of inputs, states, contexts and constants."""
        if not self.results or not self.operators or len(self.operators) > MAX_OPERATORS:
            raise ModelError(f"expected results, and 1 to {MAX_OPERATORS} operators")
        if not len(self.inputs) == len(self.input_shapes) <= self.max_inputs:
            raise ModelError(f"expected a shape for each input, and at most {self.max_inputs} inputs")
        shapes: dict[str, Shape] = {}
        given = [*zip(self.inputs, self.input_shapes, strict=True), *((each.name, each.shape) for each in self.states)]
        self._check_contexts()
        for name, shape in (*given, *self.given_shapes().items()):
            _add(shapes, name, shape)
        for name, shape in self.constants.items():
            _add(shapes, name, shape, MAX_CONSTANT)
        used = {name for operator in self.operators for name in operator.inputs}
        used |= {state.initial for state in self.states if state.initial is not None}
        if unused := sorted(self.constants.keys() - used):
            raise ModelError(f"constants that no operator reads: {listed(unused)}")
        for state in self.states:
            if state.initial is not None and self.constants.get(state.initial) != state.shape:
                raise ModelError(f"state {state.name!r}: expected a constant of its shape to begin as")
        return shapes

    def _check_contexts(self) -> None:
        """Raise ModelError unless contexts have names of their own, and masks the sizes of their axes."""
        own = [context.name for context in self.contexts]
        sizes: dict[str, int] = {}
        for context in self.contexts:
            check_shape(f"context {context.name!r}", context.shape)
            axis, mask = context.open_axis, context.mask
            if axis is None and mask is not None:
                raise ModelError(f"context {context.name!r}: expected an open axis for its mask, got none")
            if axis is not None and not 0 <= axis < len(context.shape):
                raise ModelError(f"context {context.name!r}: expected an axis of {context.shape}, got {axis}")
            if axis is not None and mask is not None:
                size = context.shape[axis]
                if mask in own or sizes.setdefault(mask, size) != size:
                    raise ModelError(f"context {context.name!r}: the name of its mask {mask!r} is used twice")
        if len(set(own)) < len(own):
            raise ModelError(f"expected contexts of different names, got {listed(own)}")

    def _write(self, operator: Operator, shapes: dict[str, Shape]) -> None:
        """Add the shapes of what an operator writes."""
        operator.check()
        written = operator.shapes(*self._read(operator, shapes))
        for name, shape in zip(operator.outputs, written, strict=True):
            if name:
                _add(shapes, name, shape)
            else:
                check_shape(operator.where, shape)

    def _read(self, operator: Operator, shapes: Mapping[str, Shape]) -> Iterator[Shape]:
        """Yield the shapes of the values that an operator reads."""
        for place, name in enumerate(operator.inputs):
            if name not in shapes:
                raise operator.misfit(f"it reads {name!r}, which nothing has written yet")
            if place in operator.constants and name not in self.constants:
                raise operator.misfit(f"expected a constant, got {name!r}")
            yield shapes[name]

    def _check_results(self, shapes: Mapping[str, Shape]) -> None:
        for name in (*self.results, *(state.result for state in self.states)):
            if name not in shapes:
                raise ModelError(f"no operator writes {name!r}")
        for state in self.states:
            if shapes[state.result] != state.shape:
                raise ModelError(
                    f"state {state.name!r} of shape {state.shape} cannot become {state.result!r} "
                    f"of shape {shapes[state.result]}"
                )

    def program(self) -> tuple[tuple[Operator, Shape, int], ...]:
        shapes = self.shapes()
        return tuple(
            (
                each,
                shapes[next(filter(None, each.outputs))],
                each.multiply_adds(*(shapes[name] for name in each.inputs)),
            )
            for each in self.operators
        )

    def multiply_adds(self, positions: int = 1) -> int:
        return self.timestep()._sum("multiply_adds")

    def products(self, positions: int = 1) -> int:
        return LANES * self.multiply_adds()

    def packed_bytes(self) -> int:
        shapes = self.shapes()
        steps = self._sum("n_steps") + len(self.results) + 2 * len(self.states)
        handed_on = (*self.results, *(state.result for state in self.states))
        copied = sum(math.prod(shapes[name]) for name in handed_on)
        read = [(operator, name) for operator in self.operators for name in operator.inputs if name in self.constants]
        laid_out = sum(math.prod(shapes[name]) + self._written(operator, shapes) for operator, name in read)
        return F32_BYTES * (self._sum("packed_numbers") + _STEP_NUMBERS * steps + 5 * copied + laid_out)

    def _written(self, operator: Operator, shapes: Mapping[str, Shape]) -> int:
        return sum(map(math.prod, operator.shapes(*(shapes[name] for name in operator.inputs))))

    def scratch_bytes(self, positions: int = 1) -> int:
        given = sum(padded(math.prod(shape)) for shape in self.state_shapes().values())
        records = self._sum("record_numbers") if self.int8 else 0
        return F32_BYTES * (self._sum("scratch_numbers") + records + given + _HEAD_NUMBERS + len(self.inputs) * LANES)

    def state_bytes(self, positions: int = 1) -> int:
        # A vector may be read that begins with the last number.
        numbers = [padded(math.prod(shape)) for shape in self.state_shapes().values()]
        return F32_BYTES * (sum(numbers) + LANES) if numbers else 0

    def _sum(self, answer: str) -> int:
        """Return the sum of what the operators answer of the values that they read."""
        shapes = self.shapes()
        return sum(getattr(each, answer)(*(shapes[name] for name in each.inputs)) for each in self.operators)

    @property
    def has_unbounded_state(self) -> bool:
        return bool(self.states)

    @property
    def has_poles(self) -> bool:
        return any(operator.has_poles for operator in self.operators)


def _ones_at(shape: Shape, axes: Collection[int]) -> Shape:
    """Return a shape with some of its axes of size 1."""
    return tuple(1 if axis in axes else size for axis, size in enumerate(shape))


def _add(shapes: dict[str, Shape], name: str, shape: Shape, most: int = MAX_SIZE) -> None:
    check_name(name)
    check_shape(f"value {name!r}", shape, most)
    if name in shapes:
        raise ModelError(f"the name {name!r} is used twice")
    if len(shapes) >= MAX_VALUES:
        raise ModelError(f"expected at most {MAX_VALUES} values")
    shapes[name] = shape
