"""Layers, as data: what a model is made of.

A layer reads one or more *values* and writes one value, which has the layer's name. A value is a vector of features for
every timestep of a sequence, or, behind `LastStep` and `FirstStep`, one vector for the whole sequence.

Grids
-----
Behind `Unflatten`, a value is a *grid*: at every timestep not one vector but ``positions`` of them, for example the
frequencies of a spectrum. Layers apply to every position with the same weights; a `GRU` scans either the timesteps,
with a state for each position, or the positions inside each timestep. `Flatten` joins the positions into one vector
again. Model inputs and outputs are vectors.

Sequences
---------
Values that a layer reads together belong to one sequence, and have one number of timesteps. A second sequence may
begin where the first one ended: a GRU with ``initial_state="value"`` reads its initial state from a value behind
`LastStep` or `FirstStep` of the other sequence, and any layer may read such a vector beside its own sequence: it is the
same vector at every timestep then. The model has *stages* in that case, see `Model.stages`.

Gate order
----------
GRU weights hold the three gates as consecutive blocks of ``hidden_size`` rows. grurt's order is ONNX's:

==================  ==================  ===========================  ==========================
                    blocks              rows or columns              a bias of ``3 * hidden_size``
==================  ==================  ===========================  ==========================
grurt, ONNX ``GRU``  z, r, n             rows of ``(3 * hidden, k)``  z, r, n
PyTorch ``nn.GRU``  r, z, n             rows of ``(3 * hidden, k)``  r, z, n
Keras ``GRU``       z, r, n             columns of ``(k, 3 * hidden)``  z, r, n
==================  ==================  ===========================  ==========================

z is the update gate, r the reset gate, n the candidate state (ONNX and Keras call it h).
"""

from collections.abc import Iterable, Mapping
from typing import ClassVar, Literal, TypeVar

import msgspec

from grurt.errors import ModelError
from grurt.functions import AnyFunction, ElementwiseFunction, Sigmoid, Tanh, _snake_case
from grurt.nibbles import packed_shape

T = TypeVar("T")

Shape = tuple[int, ...]

WeightFormat = Literal["float32", "float16", "int8", "int4"]


class Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="features", tag_field="kind"):
    """A model input of ``size`` float32 features per timestep."""

    name: str
    size: int


class TokenInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="tokens", tag_field="kind"):
    """A model input of one token id per timestep, an integer in ``[0, vocabulary_size)``."""

    name: str
    vocabulary_size: int


class Output(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model output: its public name, and the name of the value that it shows."""

    name: str
    value: str


class Layer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag=_snake_case):
    """Base class of the layers.

    Parameters
    ----------
    name
        Names the layer, the value that it writes, its state, and (as ``name.parameter``) its weights.
    inputs
        Names of the values that it reads: model inputs or earlier layers. Left empty, the layer reads the value of the
        layer before it, or the model's first input.
    """

    name: str
    inputs: tuple[str, ...] = ()

    max_inputs: ClassVar[int] = 1
    reads_tokens: ClassVar[bool] = False

    @property
    def kind(self) -> str:
        """The layer's kind as it stands in files, e.g. ``"layer_norm"``."""
        return str(self.__struct_config__.tag)

    def weight_shapes(self) -> Mapping[str, Shape]:
        """Shapes of the layer's weights by parameter name; all of them are required."""
        return {}

    def weight_dtypes(self) -> Mapping[str, str]:
        """Return the dtypes of those weights that are not float32, by parameter name."""
        return {}

    def state_shape(self, positions: int = 1) -> Shape | None:
        """Shape of the state that the layer carries from one timestep to the next; None if it carries none."""
        return None

    def input_counts(self) -> tuple[int, int]:
        """Fewest and most values that the layer reads."""
        return (2 if self.max_inputs > 1 else 1), self.max_inputs

    def value_shape(self, inputs: tuple[tuple[int, int], ...]) -> tuple[int, int]:
        """Positions and size of the value that the layer writes, from those that it reads; ModelError if they clash."""
        positions = inputs[0][0]
        for found, _ in inputs[1:]:
            if found != positions:
                raise ModelError(f"layer {self.name!r}: expected an input of {positions} positions, got {found}")
        return positions, self.value_size(tuple(size for _, size in inputs))

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        """Features of the value that the layer writes, from those that it reads; ModelError if they do not fit."""
        return input_sizes[0]

    def _expect_input_size(self, expected: int, found: int) -> None:
        if found != expected:
            raise ModelError(f"layer {self.name!r}: expected an input of size {expected}, got {found}")


class MatrixLayer(Layer, frozen=True, kw_only=True):
    """Base class of the layers whose weight matrices may be quantized.

    Parameters
    ----------
    weight_format
        How the matrices are kept, in files and in memory. ``"float32"``; ``"float16"``, half as large, computed with
        in float32; or ``"int8"``, a quarter as large. With int8, a matrix ``W`` has the dtype int8 and comes with
        ``W_scale (rows,)``, float32 and positive: it stands for ``W * W_scale[:, None]``. A product with it rounds the
        features of each timestep to int8 too, scaled by the largest of them. Biases stay float32. A `GRU` may also be
        ``"int4"``: the same with weights from -8 to 7, two to a byte as `grurt.nibbles` packs them.
    """

    weight_format: WeightFormat = "float32"

    matrices: ClassVar[tuple[str, ...]] = ("weight",)

    def weight_dtypes(self) -> Mapping[str, str]:
        if self.weight_format == "float32":
            return {}
        return dict.fromkeys(self.matrices, "uint8" if self.weight_format == "int4" else self.weight_format)

    def _in_format(self, shapes: dict[str, Shape]) -> dict[str, Shape]:
        """Return the shapes of float32 weights as they are in the layer's format, the scales among them."""
        if self.weight_format in ("int8", "int4"):
            shapes |= {f"{name}_scale": shapes[name][:1] for name in self.matrices}
        if self.weight_format == "int4":
            shapes |= {name: packed_shape(shapes[name]) for name in self.matrices}
        return shapes


def float32_shapes(layer: Layer) -> Mapping[str, Shape]:
    """Return the shapes that the layer's weights have in float32, whatever they are kept in."""
    plain = msgspec.structs.replace(layer, weight_format="float32") if isinstance(layer, MatrixLayer) else layer
    return plain.weight_shapes()


def weights_of(layers: Iterable[Layer], weights: Mapping[str, T]) -> dict[str, T]:
    """Return the weights of some layers, out of those of a model."""
    names = (f"{layer.name}.{parameter}" for layer in layers for parameter in layer.weight_shapes())
    return {name: weights[name] for name in names}


class GRU(MatrixLayer, frozen=True, kw_only=True, tag="gru"):
    """A gated recurrent unit scanning the timesteps in one direction (Cho et al. 2014, arXiv:1406.1078).

    With ``linear_before_reset`` (ONNX; Keras ``reset_after=True``; always in PyTorch)::

        z = f(W_z x + b_z + R_z h + c_z)
        r = f(W_r x + b_r + R_r h + c_r)
        n = g(W_n x + b_n + r * (R_n h + c_n))
        h' = (1 - z) * n + z * h

    and without it ``n = g(W_n x + b_n + R_n (r * h) + c_n)``. f is ``gate_activation``, g ``candidate_activation``.
    With ``clip``, the arguments of f and g are first limited to ``[-clip, clip]`` (ONNX ``clip``).

    Weights: ``weight_ih (3 * hidden_size, input_size)`` is W, ``weight_hh (3 * hidden_size, hidden_size)`` is R, with
    ``bias`` also ``bias_ih (3 * hidden_size,)``, b, and ``bias_hh (3 * hidden_size,)``, c; with a learned initial state
    also ``initial_state (hidden_size,)``.

    A bidirectional GRU is two of these, one of them with ``direction="reverse"``, and a `Concat`.

    Parameters
    ----------
    initial_state
        The state before the first timestep: ``"zeros"``; ``"learned"``, the weight; or ``"value"``, the last value that
        the layer reads, of ``hidden_size`` features: a vector behind `LastStep` or `FirstStep` of another sequence, as
        a decoder is handed the state of an encoder.
    masked
        Whether the layer reads a mask behind its input, a value of size 1. Where it is 0 the timestep is skipped: the
        state stays as it is, and is what the layer writes (Keras ``mask``). `FeatureMask` and `TokenMask` write masks.
    scan
        On a grid: ``"time"``, with a state for each position ``(positions, hidden_size)`` and the same weights for all;
        or ``"positions"``: in every timestep from the initial state, over the positions from the first to the last, or
        in reverse. Then nothing is carried from one timestep to the next, and either direction can stream.
    """

    matrices: ClassVar[tuple[str, ...]] = ("weight_ih", "weight_hh")

    input_size: int
    hidden_size: int
    direction: Literal["forward", "reverse"] = "forward"
    linear_before_reset: bool = True
    bias: bool = True
    initial_state: Literal["zeros", "learned", "value"] = "zeros"
    masked: bool = False
    scan: Literal["time", "positions"] = "time"
    gate_activation: ElementwiseFunction = Sigmoid()
    candidate_activation: ElementwiseFunction = Tanh()
    clip: float | None = None

    def weight_shapes(self) -> Mapping[str, Shape]:
        rows = 3 * self.hidden_size
        shapes: dict[str, Shape] = {"weight_ih": (rows, self.input_size), "weight_hh": (rows, self.hidden_size)}
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if self.initial_state == "learned":
            shapes["initial_state"] = (self.hidden_size,)
        return self._in_format(shapes)

    def state_shape(self, positions: int = 1) -> Shape | None:
        if self.scan == "positions":
            return None
        return (self.hidden_size,) if positions == 1 else (positions, self.hidden_size)

    def input_counts(self) -> tuple[int, int]:
        count = 1 + self.masked + (self.initial_state == "value")
        return count, count

    def value_shape(self, inputs: tuple[tuple[int, int], ...]) -> tuple[int, int]:
        if self.initial_state == "value" and (inputs[0][0] > 1 or self.scan == "positions"):
            raise ModelError(
                f"layer {self.name!r}: initial_state='value' is for a GRU that scans the time of single vectors, "
                f"got scan={self.scan!r} over {inputs[0][0]} positions: hand the state to such a GRU as a state port"
            )
        return super().value_shape(inputs)

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        self._expect_input_size(self.input_size, input_sizes[0])
        if self.masked and input_sizes[1] != 1:
            raise ModelError(f"layer {self.name!r}: expected a mask of size 1, got {input_sizes[1]}")
        if self.initial_state == "value" and input_sizes[-1] != self.hidden_size:
            raise ModelError(
                f"layer {self.name!r}: expected an initial state of size {self.hidden_size}, got {input_sizes[-1]}"
            )
        return self.hidden_size


class Linear(MatrixLayer, frozen=True, kw_only=True):
    """``y = W x + b``: ``weight (output_size, input_size)`` is W and, with ``bias``, ``bias (output_size,)`` is b."""

    input_size: int
    output_size: int
    bias: bool = True

    def weight_shapes(self) -> Mapping[str, Shape]:
        shapes = _with_bias(self.bias, self.output_size, {"weight": (self.output_size, self.input_size)})
        return self._in_format(shapes)

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        self._expect_input_size(self.input_size, input_sizes[0])
        return self.output_size


class Embedding(MatrixLayer, frozen=True, kw_only=True):
    """Row ``token`` of ``weight (vocabulary_size, size)``. Reads a token input."""

    reads_tokens: ClassVar[bool] = True

    vocabulary_size: int
    size: int

    def weight_shapes(self) -> Mapping[str, Shape]:
        return self._in_format({"weight": (self.vocabulary_size, self.size)})

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        return self.size


class LayerNorm(Layer, frozen=True, kw_only=True):
    """``(x - mean) / sqrt(variance + epsilon) * weight + bias``, over the features of a timestep (Ba et al. 2016).

    The variance is the biased one, as in PyTorch, ONNX and Keras. ``weight (size,)`` and ``bias (size,)`` are optional.
    """

    size: int
    epsilon: float = 1e-5
    weight: bool = True
    bias: bool = True

    def weight_shapes(self) -> Mapping[str, Shape]:
        return _with_bias(self.bias, self.size, {"weight": (self.size,)} if self.weight else {})

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        self._expect_input_size(self.size, input_sizes[0])
        return self.size


class BatchNorm(Layer, frozen=True, kw_only=True):
    """``(x - mean) / sqrt(variance + epsilon) * weight + bias`` with stored statistics (Ioffe and Szegedy 2015).

    ``mean``, ``variance``, ``weight`` and ``bias`` are all ``(size,)``; the variance is not negative.
    """

    size: int
    epsilon: float = 1e-5

    def weight_shapes(self) -> Mapping[str, Shape]:
        return dict.fromkeys(("mean", "variance", "weight", "bias"), (self.size,))

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        self._expect_input_size(self.size, input_sizes[0])
        return self.size


class Conv1d(MatrixLayer, frozen=True, kw_only=True):
    """Causal convolution over the timesteps, stride 1.

    ``y_t = b + sum_k W[:, :, k] x_{t - (kernel_size - 1 - k) * dilation}``. Timesteps before the first
    are zero. The state is the last ``(kernel_size - 1) * dilation`` inputs, oldest first. Weights, laid out as in
    PyTorch and ONNX: ``weight (output_size, input_size / groups, kernel_size)`` and, if there is
    one, ``bias (output_size,)``.
    """

    input_size: int
    output_size: int
    kernel_size: int
    dilation: int = 1
    groups: int = 1
    bias: bool = True

    def weight_shapes(self) -> Mapping[str, Shape]:
        weight = (self.output_size, self.input_size // self.groups, self.kernel_size)
        return self._in_format(_with_bias(self.bias, self.output_size, {"weight": weight}))

    @property
    def is_depthwise(self) -> bool:
        """Whether every feature has a group and an output of its own."""
        return self.groups == self.input_size == self.output_size

    def state_shape(self, positions: int = 1) -> Shape | None:
        history = (self.kernel_size - 1) * self.dilation
        return (history, self.input_size) if history else None

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        self._expect_input_size(self.input_size, input_sizes[0])
        if self.input_size % self.groups or self.output_size % self.groups:
            raise ModelError(
                f"layer {self.name!r}: groups={self.groups} must divide input_size={self.input_size} "
                f"and output_size={self.output_size}"
            )
        return self.output_size


class Add(Layer, frozen=True, kw_only=True):
    """Element-wise sum of two or more values of one size, added from left to right."""

    max_inputs: ClassVar[int] = 64

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        for size in input_sizes[1:]:
            self._expect_input_size(input_sizes[0], size)
        return input_sizes[0]


class Mul(Add, frozen=True, kw_only=True):
    """Element-wise product of two or more values of one size, multiplied from left to right."""


class Concat(Layer, frozen=True, kw_only=True):
    """The features of two or more values, one after the other."""

    max_inputs: ClassVar[int] = 64

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        return sum(input_sizes)


class Slice(Layer, frozen=True, kw_only=True):
    """Features ``start`` to ``stop - 1`` of a value (ONNX ``Slice``, ``Split``; PyTorch ``narrow``, ``chunk``)."""

    start: int
    stop: int

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        if not self.start < self.stop <= input_sizes[0]:
            raise ModelError(
                f"layer {self.name!r}: expected start < stop <= {input_sizes[0]}, the size of its input, "
                f"got start={self.start}, stop={self.stop}"
            )
        return self.stop - self.start


class Unflatten(Layer, frozen=True, kw_only=True):
    """Split a vector of ``positions * size`` features into a grid: ``positions`` vectors, one after the other."""

    positions: int

    def value_shape(self, inputs: tuple[tuple[int, int], ...]) -> tuple[int, int]:
        positions, size = inputs[0]
        if positions != 1:
            raise ModelError(f"layer {self.name!r}: expected single vectors, got {positions} positions: Flatten first")
        if size % self.positions:
            raise ModelError(f"layer {self.name!r}: positions={self.positions} must divide the input's size, {size}")
        return self.positions, size // self.positions


class Flatten(Layer, frozen=True, kw_only=True):
    """Join the positions of a grid into one vector, one after the other: what `Unflatten` split."""

    def value_shape(self, inputs: tuple[tuple[int, int], ...]) -> tuple[int, int]:
        positions, size = inputs[0]
        return 1, positions * size


class FeatureMask(Layer, frozen=True, kw_only=True):
    """0 where all features of a timestep equal ``mask_value``, otherwise 1: a mask for a `GRU` (Keras ``Masking``)."""

    mask_value: float = 0.0

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        return 1


class TokenMask(Layer, frozen=True, kw_only=True):
    """0 where the token is ``token``, otherwise 1: a mask for a `GRU` (Keras ``Embedding`` with ``mask_zero``).

    Reads a token input.
    """

    reads_tokens: ClassVar[bool] = True

    token: int = 0

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        if self.token >= input_sizes[0]:
            raise ModelError(
                f"layer {self.name!r}: expected a token of the vocabulary of {input_sizes[0]}, got {self.token}"
            )
        return 1


class Activation(Layer, frozen=True, kw_only=True):
    """A function of `grurt.functions`, applied to every timestep."""

    function: AnyFunction


class PRelu(Layer, frozen=True, kw_only=True, tag="prelu"):
    """``x if x >= 0 else weight * x``, with a ``weight (size,)`` learned for each feature."""

    size: int

    def weight_shapes(self) -> Mapping[str, Shape]:
        return {"weight": (self.size,)}

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        self._expect_input_size(self.size, input_sizes[0])
        return self.size


class LastStep(Layer, frozen=True, kw_only=True):
    """The value at the last timestep of a sequence. In a stream: at the latest, the answer so far."""


class FirstStep(Layer, frozen=True, kw_only=True):
    """The value at the first timestep of a sequence: of a reverse GRU, its final state. Cannot stream."""


AnyInput = Input | TokenInput

AnyLayer = (
    GRU
    | Linear
    | Embedding
    | LayerNorm
    | BatchNorm
    | Conv1d
    | Add
    | Mul
    | Concat
    | Slice
    | Unflatten
    | Flatten
    | FeatureMask
    | TokenMask
    | Activation
    | PRelu
    | LastStep
    | FirstStep
)


def _with_bias(bias: bool, size: int, shapes: dict[str, Shape]) -> dict[str, Shape]:
    return shapes | {"bias": (size,)} if bias else shapes
