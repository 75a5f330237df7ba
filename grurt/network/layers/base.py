"""What every layer answers about itself: those who check, lower, quantize and convert layers ask, and know no kinds."""

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Self

import msgspec
import numpy as np

from grurt.array_types import Array
from grurt.errors import ModelError
from grurt.network.functions import snake_case
from grurt.network.inputs import AnyInput, Input
from grurt.network.structs import fields_of
from grurt.network.vectors import panel_bytes, row_bytes

if TYPE_CHECKING:
    from grurt.network.operators import Operator

Shape = tuple[int, ...]

WeightFormat = Literal["float32", "float16", "int8", "int4"]
"""What weight matrices are kept in."""

QuantizedFormat = Literal["int8", "int4", "float16"]
"""What the matrices of a float32 model can be quantized to."""

MAX_INT8_INPUTS = 1 << 17
"""The most features that a product with int8 weights may have: more could overflow a sum of 32 bits."""


class Part(NamedTuple):
    """Weight matrices of a layer that are quantized together, or not at all."""

    names: tuple[str, ...]
    """What it is called where parts are chosen: the layer's name or, of a layer of many parts, those of its weights."""
    kind: str
    matrices: tuple[str, ...]
    """Parameter names."""

    @property
    def name(self) -> str:
        """The first of its names, under which it is shown."""
        return self.names[0]


class Layer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag=snake_case):
    """Base class of the layers.

    Parameters
    ----------
    name
        Names the layer, the value that it writes, its state if it has one, and (as ``name.parameter``) its weights.
    inputs
        Names of the values that it reads: model inputs or earlier layers. Left empty, the layer reads the value of the
        layer before it, or the model's first input.
    """

    name: str
    inputs: tuple[str, ...] = ()

    max_inputs: ClassVar[int] = 1
    reads_tokens: ClassVar[bool] = False
    needs_sequence: ClassVar[bool] = False
    """Whether what it reads first has to be a sequence, and not one vector in all."""
    begins_sequence: ClassVar[bool] = False
    """Whether it writes a sequence, though what it reads is one vector in all."""
    joins_sequences: ClassVar[bool] = False
    """Whether all that it reads have to be sequences, of one number of timesteps, also where it writes none."""
    passes_on: ClassVar[bool] = False
    """Whether what it writes at a timestep is what it reads there: there is nothing to compute."""
    resamples: ClassVar[bool] = False
    """Whether what it writes is another sequence than what it reads, with timesteps of its own."""
    rearranges: ClassVar[bool] = False
    """Whether it writes the numbers that it reads, in another number of positions."""
    silent_past_end: ClassVar[bool] = False
    """Whether the sources of models with padded sequences give zeros behind their ends, whatever the layer reads."""
    keeps_input: ClassVar[bool] = False
    """Whether its state is what it has read, as it was."""
    reads_all: ClassVar[bool] = False
    """Whether it goes through all the features that it reads, of which it may write fewer."""
    from_zero: ClassVar[tuple[str, ...]] = ()
    """Fields of whole numbers that may be 0; others are 1 at least."""
    positive: ClassVar[tuple[str, ...]] = ()
    """Fields that have to be above 0 in float32."""
    variances: ClassVar[tuple[str, ...]] = ()
    """Weights that must not be negative."""
    has_infinite_weights: ClassVar[bool] = False
    """Whether its weights may be infinite, as a mask of what is to be left out is."""
    file_version: ClassVar[int] = 1
    """The first version of the ``.grurt`` file that has layers of this kind."""
    later_fields: ClassVar[Mapping[str, int]] = {}
    """Fields that the kind did not have at first, with the first version of the file that has them."""

    @property
    def kind(self) -> str:
        """The layer's kind as it stands in files, e.g. ``"layer_norm"``."""
        return str(self.__struct_config__.tag)

    @property
    def first_file_version(self) -> int:
        """The first version of the ``.grurt`` file that can say this very layer, with its options."""
        used = [version for name, version in self.later_fields.items() if name not in self.unused_fields]
        return max([self.file_version, *used])

    @property
    def unused_fields(self) -> frozenset[str]:
        """Those of the later fields that have their defaults: files leave them out, for older releases."""
        return (
            frozenset(name for name, value, default in fields_of(self) if value == default) & self.later_fields.keys()
        )

    def weight_shapes(self) -> Mapping[str, Shape]:
        """Shapes of the layer's weights by parameter name; all of them are required."""
        return {}

    def float32_shapes(self) -> Mapping[str, Shape]:
        """Shapes that the layer's weights have in float32, whatever they are kept in."""
        return self.weight_shapes()

    def weight_dtypes(self) -> Mapping[str, str]:
        """Return the dtypes of those weights that are not float32, by parameter name."""
        return {name: "uint8" if form == "int4" else form for name, form in self.matrix_formats().items()}

    @property
    def parameter_count(self) -> int:
        """How many numbers the weights stand for, whatever they are kept in."""
        return sum(map(math.prod, self.float32_shapes().values()))

    def multiply_adds(self, positions: int = 1) -> int:
        """Multiplications of a timestep with matrices; what is done to each feature by itself is not counted."""
        return positions * sum(math.prod(shape) for shape in self.float32_shapes().values() if len(shape) > 1)

    def products(self, positions: int = 1) -> int:
        """Multiplications of a timestep as the engine makes them: of matrices that are padded to whole vectors."""
        return 0

    def packed_bytes(self) -> int:
        """Bytes that the engine keeps of the weights, at most."""
        return 0

    def scratch_bytes(self, positions: int = 1) -> int:
        """Bytes that a timestep needs beside the values that the layer reads and writes."""
        return 0

    def operation_count(self) -> int:
        """How many operations of the engine the layer is."""
        return 1

    def program(self) -> tuple[tuple["Operator", Shape, int], ...]:
        """Operators that the layer consists of, each with the shape of what it writes, and its multiplications."""
        return ()

    def passes(self) -> int:
        """How many times a timestep writes all of the layer's value."""
        return 1

    def state_shapes(self, positions: int = 1) -> Mapping[str, Shape]:
        """Shapes of the states that the layer carries from one timestep to the next, by their names in the model."""
        return {}

    def state_bytes(self, positions: int = 1) -> int:
        """Bytes that the engine keeps of the states of one stream, at most: vectors are padded."""
        shapes = self.state_shapes(positions).values()
        return sum(math.prod(shape[:-1]) * row_bytes(shape[-1] if shape else 1) for shape in shapes)

    def context_shapes(self) -> Mapping[str, Shape]:
        """Shapes of what a stream of the layer is given once, by their names in the model."""
        return {}

    def open_contexts(self) -> Mapping[str, tuple[int, str | None]]:
        """Return the axes along which contexts may be shorter than their shapes, and names of masks, by their names.

        A mask is a value that is 1 at the places that there are, and 0 behind them; None: the layer reads none.
        """
        return {}

    def given_shapes(self) -> Mapping[str, Shape]:
        """Shapes of the values that its contexts are: their own, filled up, and those of what says where they end."""
        return self.context_shapes()

    def context_size(self) -> int:
        """How many float32 its timesteps read of a context."""
        return 0

    def preparation(self) -> "Layer | None":
        """Return the layer that computes these, once, of the contexts as inputs; None: they are the contexts."""
        return None

    def input_counts(self) -> tuple[int, int]:
        """Fewest and most values that the layer reads."""
        return (2 if self.max_inputs > 1 else 1), self.max_inputs

    def value_shape(self, inputs: tuple[tuple[int, int], ...]) -> tuple[int, int]:
        """Positions and size of the value that the layer writes, from those that it reads; ModelError if they clash."""
        positions = inputs[0][0]
        for other, _ in inputs[1:]:
            if other != positions:
                raise ModelError(f"layer {self.name!r}: expected an input of {positions} positions, got {other}")
        return positions, self.value_size(tuple(size for _, size in inputs))

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        """Features of the value that the layer writes, from those that it reads; ModelError if they do not fit."""
        return input_sizes[0]

    def parts(self) -> tuple[Part, ...]:
        """Return what of its weights may be quantized."""
        return ()

    def matrix_formats(self) -> Mapping[str, WeightFormat]:
        """Return the formats of those matrices that are not float32, by parameter name."""
        return {}

    def in_format(self, matrices: Collection[str], weight_format: WeightFormat) -> Self:
        """Return the layer with matrices of its parts in a format that `nearest_format` has returned."""
        raise NotImplementedError

    def nearest_format(self, weight_format: WeightFormat) -> WeightFormat:
        """Return the format, or int8 where there are no kernels for it."""
        return "int8" if weight_format == "int4" else weight_format

    def summed_axes(self, matrix: str) -> tuple[int, ...]:
        """Return the axes of a matrix that products sum over: integers along them have one scale."""
        return tuple(range(1, len(self.float32_shapes()[matrix])))

    def scales(self) -> tuple[str, ...]:
        """Weights that have to be positive: the factors of integers."""
        integers = (name for name, form in self.matrix_formats().items() if form in ("int8", "int4"))
        return tuple(f"{name}_scale" for name in integers)

    def check_format(self) -> None:
        """Raise ModelError if there are no kernels for these weights in their format."""

    def check_together(self, weights: Mapping[str, Array]) -> None:
        """Raise ModelError if the layer's weights, each of them finite, make something that is not."""

    def first_input(self, name: str) -> AnyInput | None:
        """Return the input of a model whose first layer it is; None if the layer does not say its size."""
        size = getattr(self, "input_size", None) or getattr(self, "size", None)
        return None if size is None else Input(name, size)

    @property
    def selects_timestep(self) -> bool:
        """Whether it writes one vector for the whole sequence: that of one timestep, or of all of them."""
        return False

    @property
    def reads_single_first(self) -> bool:
        """Whether the first that it reads is one vector for the whole sequence, of which it reads others."""
        return False

    @property
    def reads_whole_sequences(self) -> bool:
        """Whether it reads all timesteps of a whole sequence at once, so that none is run in blocks."""
        return self.unstreamable_reason is not None

    @property
    def most_steps(self) -> int | None:
        """How many timesteps a stream may have since its last reset; None: any number."""
        return None

    @property
    def ahead(self) -> int:
        """How many timesteps later than its own the input is that it reads at a timestep."""
        return 0

    @property
    def unstreamable_reason(self) -> str | None:
        """Why the layer cannot run one timestep at a time; None if it can."""
        return None

    @property
    def has_unbounded_state(self) -> bool:
        """Whether what it computes has no bound, so that its state can become infinite, or NaN, of finite inputs."""
        return False

    @property
    def has_poles(self) -> bool:
        """Whether it makes infinities, or NaN, of numbers that are neither, and of no great size."""
        return False

    @property
    def final_state_at(self) -> Literal["first", "last"] | None:
        """Timestep at which it writes the state that it ends a sequence with; None if it never writes that."""
        return None

    @property
    def handed_state(self) -> str | None:
        """Name of the value that its state begins with; None if it begins by itself."""
        return None

    def without_handed_state(self) -> Self:
        """Return the layer as it is where its state is set from outside."""
        return self

    def _expect_float32(self, what: str, numbers: Array) -> None:
        if np.abs(numbers).max() > np.finfo(np.float32).max:
            raise ModelError(f"layer {self.name!r}: {what} is too large for float32")

    def _expect_input_size(self, expected: int, size: int) -> None:
        if size != expected:
            raise ModelError(f"layer {self.name!r}: expected an input of size {expected}, got {size}")


class SizedLayer(Layer, frozen=True, kw_only=True):
    """Base class of the layers that write as many features as they read, and say how many: ``size``."""

    size: int

    def packed_bytes(self) -> int:
        # A normalization without weights and biases has ones and zeros in their place.
        return row_bytes(self.size) * max(2, len(self.weight_shapes()))

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        self._expect_input_size(self.size, input_sizes[0])
        return self.size


class MatrixLayer(Layer, frozen=True, kw_only=True):
    """Base class of the layers whose weight matrices may be quantized.

    Parameters
    ----------
    weight_format
        How the matrices are kept, in files and in memory. ``"float32"``; ``"float16"``, half as large, computed with
        in float32; or ``"int8"``, a quarter as large. With int8, a matrix ``W`` has the dtype int8 and comes with
        ``W_scale (rows,)``, float32 and positive: it stands for ``W * W_scale[:, None]``. A product with it rounds the
        features of each timestep to int8 too, scaled by the largest of them. Biases stay float32. A `GRU` may also be
        ``"int4"``: the same with weights from -8 to 7, two to a byte as `grurt.network.nibbles` packs them.
    """

    weight_format: WeightFormat = "float32"

    matrices: ClassVar[tuple[str, ...]] = ("weight",)
    weight_formats: ClassVar[tuple[WeightFormat, ...]] = ("float32", "float16", "int8")
    """The formats that there are kernels for."""
    input_bias: ClassVar[str] = "bias"
    """The parameter that is added to the product of the input, where the layer has biases."""

    @property
    def is_quantizable(self) -> bool:
        """Whether its matrices may be anything but float32."""
        return True

    def packed_shapes(self) -> tuple[Shape, ...]:
        """Shapes ``(outputs, inputs)`` of the matrices as the engine reads them: outputs padded to whole vectors."""
        raise NotImplementedError

    def products(self, positions: int = 1) -> int:
        return positions * sum(map(math.prod, self.packed_shapes()))

    def packed_bytes(self) -> int:
        # Beside the weights, each output has a bias.
        return sum(
            row_bytes(outputs) + panel_bytes(outputs, inputs, self.weight_format)
            for outputs, inputs in self.packed_shapes()
        )

    def matrix_inputs(self) -> Mapping[str, str]:
        """Return the value whose vectors, as they are, each matrix is multiplied with, by the matrix's name."""
        return {}

    def parts(self) -> tuple[Part, ...]:
        return (Part((self.name,), self.kind, self.matrices),) if self.is_quantizable else ()

    def matrix_formats(self) -> Mapping[str, WeightFormat]:
        return {} if self.weight_format == "float32" else dict.fromkeys(self.matrices, self.weight_format)

    def in_format(self, matrices: Collection[str], weight_format: WeightFormat) -> Self:
        return msgspec.structs.replace(self, weight_format=weight_format)

    def nearest_format(self, weight_format: WeightFormat) -> WeightFormat:
        return weight_format if weight_format in self.weight_formats else "int8"

    def check_format(self) -> None:
        if self.weight_format not in self.weight_formats:
            raise ModelError(
                f"layer {self.name!r}: expected int8 or another format, got {self.weight_format}, "
                f"which only GRU layers have"
            )
        if self.weight_format not in ("int8", "int4"):
            return
        shapes = self.float32_shapes()
        inputs = max(math.prod(shapes[name][1:]) for name in self.matrices)
        if self.multiply_adds() and inputs > MAX_INT8_INPUTS:
            raise ModelError(
                f"layer {self.name!r}: {self.weight_format} weights may have {MAX_INT8_INPUTS} inputs, got {inputs}"
            )

    def float32_shapes(self) -> Mapping[str, Shape]:
        return msgspec.structs.replace(self, weight_format="float32").weight_shapes()

    def _in_format(self, shapes: dict[str, Shape]) -> dict[str, Shape]:
        """Return the shapes of float32 weights as they are in the layer's format, the scales among them."""
        shapes |= {scale: shapes[name][:1] for name, scale in zip(self.matrices, self.scales(), strict=False)}
        if self.weight_format == "int4":
            from grurt.network.nibbles import packed_shape

            shapes |= {name: packed_shape(shapes[name]) for name in self.matrices}
        return shapes


def with_bias(bias: bool, size: int, shapes: dict[str, Shape]) -> dict[str, Shape]:
    """Return shapes of weights, those of a bias among them if there is one."""
    return shapes | {"bias": (size,)} if bias else shapes
