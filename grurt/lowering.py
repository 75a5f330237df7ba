"""Lowers a model to a `Plan`: packs the weights and writes the table of operations."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from grurt import functions as fn
from grurt import layers as ly
from grurt.errors import ModelError
from grurt.kernels import codes
from grurt.kernels.sizes import F32_BYTES, VECTOR_BYTES
from grurt.lanes import LANES
from grurt.nibbles import unpack_nibbles
from grurt.packing import Floats, Matrix, pack_conv1d, pack_dense, pack_embedding, pack_gru, pack_rows
from grurt.plan import Plan, PlanPort, PlanState, aligned_zeros, padded

if TYPE_CHECKING:
    from grurt.model import Model

_CACHE_LINE = 16

_L = TypeVar("_L", bound=ly.Layer)


def lower(model: Model) -> Plan:
    """Lower a model."""
    return _Lowering(model).plan()


def function_code(function: fn.Function) -> tuple[int, float, float]:
    """Return a function's code in `codes`, and its two parameters."""
    match function:
        case fn.Relu():
            return codes.RELU, 0.0, 0.0
        case fn.LeakyRelu(negative_slope):
            return codes.LEAKY_RELU, negative_slope, 0.0
        case fn.ThresholdedRelu(threshold):
            return codes.THRESHOLDED_RELU, threshold, 0.0
        case fn.Elu(alpha):
            return codes.ELU, alpha, 0.0
        case fn.Gelu("none"):
            return codes.GELU, 0.0, 0.0
        case fn.Gelu():
            return codes.GELU_TANH, 0.0, 0.0
        case fn.Sigmoid():
            return codes.SIGMOID, 0.0, 0.0
        case fn.HardSigmoid(slope, offset):
            return codes.HARD_SIGMOID, slope, offset
        case fn.Tanh():
            return codes.TANH, 0.0, 0.0
        case fn.ScaledTanh(alpha, beta):
            return codes.SCALED_TANH, alpha, beta
        case fn.Softsign():
            return codes.SOFTSIGN, 0.0, 0.0
        case fn.Softplus():
            return codes.SOFTPLUS, 0.0, 0.0
        case fn.Affine(scale, offset):
            return codes.AFFINE, scale, offset
        case fn.Clip(minimum, maximum):
            return codes.CLIP, minimum, maximum
    raise NotImplementedError(f"no kernel for the function {function!r}")


def _record_bytes(size: int) -> int:
    """Return the room for so many features as bytes (see `grurt.kernels.quantize`), in whole vectors."""
    return VECTOR_BYTES + -(-size // VECTOR_BYTES) * VECTOR_BYTES


class _Lowering:
    """A plan in the making: one method for each kind of layer."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._operations: list[dict[int, int]] = []
        self._weights: list[Floats] = []
        self._weights_size = 0
        self._row_bytes = 0
        self._offsets: dict[str, int] = {}
        self._states: dict[str, PlanState] = {}
        self._initial_state: list[Floats] = []
        self._state_size = 0

    def plan(self) -> Plan:
        for port in self._model.inputs:
            if not self._model.values[port.name].tokens:
                self._offsets[port.name] = self._reserve(self._timestep_stride(port.name))
        for layer in self._model.layers:
            self._lower(layer)
        weights = aligned_zeros(self._weights_size)
        weights[:] = np.concatenate([*self._weights, np.zeros(0, np.float32)])
        initial_state = np.concatenate([*self._initial_state, np.zeros(0, np.float32)])
        operations = np.zeros((len(self._operations), codes.OP_SLOTS), np.int64)
        for row, operation in zip(operations, self._operations, strict=True):
            row[list(operation)] = list(operation.values())
        for array in (weights, initial_state, operations):
            array.flags.writeable = False
        return Plan(
            operations=operations,
            weights=weights,
            initial_state=initial_state,
            row_size=self._row_bytes // F32_BYTES,
            inputs=tuple(self._port(port.name, port.name) for port in self._model.inputs),
            outputs=tuple(self._port(output.name, output.value) for output in self._model.outputs),
            states=MappingProxyType(self._states),
        )

    def _port(self, name: str, value: str) -> PlanPort:
        info = self._model.values[value]
        return PlanPort(
            name=name,
            size=info.size,
            tokens=info.tokens,
            offset=self._offsets.get(value, 0),
            stride=0 if info.tokens else self._stride(value),
            single=not info.per_step,
        )

    def _stride(self, value: str) -> int:
        """Return the bytes of a row of a value, which is padded to whole vectors."""
        return F32_BYTES * padded(self._model.values[value].size)

    def _timestep_stride(self, value: str) -> int:
        """Return what a timestep of a value takes: the rows of all its positions."""
        return self._model.values[value].positions * self._stride(value)

    def _reserve(self, timestep_stride: int) -> int:
        """Reserve scratch memory for a value, and return its offset."""
        offset = self._row_bytes
        self._row_bytes += timestep_stride
        return offset

    def _weight(self, layer: ly.Layer, name: str) -> Floats:
        return self._model.weights[f"{layer.name}.{name}"]

    def _matrix(self, layer: ly.MatrixLayer, name: str, inputs: int = 0) -> Matrix:
        """Return a matrix; the number of its inputs is needed for int4, which is unpacked."""
        values = self._model.weights[f"{layer.name}.{name}"]
        scale = self._model.weights.get(f"{layer.name}.{name}_scale")
        if layer.weight_format == "int4":
            return Matrix(unpack_nibbles(values, inputs), scale, is_int4=True)
        return Matrix(values, scale)

    def _bias(self, layer: ly.Layer, name: str, size: int) -> Floats:
        """Return a bias, or zeros where the layer has none."""
        return self._model.weights.get(f"{layer.name}.{name}", np.zeros(size, np.float32))

    def _add_weights(self, packed: NDArray[np.floating[Any]]) -> int:
        """Add packed weights at the next cache line, and return their offset."""
        offset = F32_BYTES * self._weights_size
        filled = np.zeros(-(-packed.size // _CACHE_LINE) * _CACHE_LINE, np.float32)
        filled[: packed.size] = packed
        self._weights.append(filled)
        self._weights_size += filled.size
        return offset

    def _add_state(self, name: str, rows: int, size: int, initial: Floats | None, *, is_ring: bool) -> int:
        """Reserve a layer's state, and return its offset."""
        stride = padded(size)
        buffer = np.zeros((rows, stride), np.float32)
        if initial is not None:
            buffer[:, :size] = initial
        self._states[name] = PlanState(self._state_size, rows, size, stride, is_ring)
        self._initial_state.append(buffer.ravel())
        self._state_size += buffer.size
        return F32_BYTES * self._states[name].offset

    def _add_operation(self, kind: int, layer: ly.Layer, source: str | None, slots: dict[int, int]) -> None:
        """Add an operation that reads the value ``source`` and writes the value of ``layer``."""
        operation = {
            codes.OP_KIND: kind,
            codes.OP_SINGLE: int(not self._model.values[layer.name].per_step),
            codes.OP_OUT: self._offsets[layer.name],
            codes.OP_OUT_STRIDE: self._stride(layer.name),
            codes.OP_OUT_TIMESTEP_STRIDE: self._timestep_stride(layer.name),
            codes.OP_OUT_SIZE: self._model.values[layer.name].size,
            codes.OP_POSITIONS: self._model.values[layer.name].positions,
        }
        if source is not None:
            operation |= {
                codes.OP_IN: self._offsets[source],
                codes.OP_IN_STRIDE: self._stride(source),
                codes.OP_IN_TIMESTEP_STRIDE: self._timestep_stride(source),
                codes.OP_IN_SIZE: self._model.values[source].size,
            }
        self._operations.append(operation | slots)

    def _lower(self, layer: ly.Layer) -> None:
        source = layer.inputs[0]
        # What is behind LastStep the kernel runs at the last row, or at every row: there is nothing to compute.
        if isinstance(layer, ly.LastStep) or self._is_same_memory(layer):
            self._offsets[layer.name] = self._offsets[source]
            return
        self._offsets[layer.name] = self._reserve(self._timestep_stride(layer.name))
        try:
            kind, slots = _LOWER[type(layer)](self, layer)
        except ModelError as error:
            raise ModelError(f"layer {layer.name!r}: {error}") from None
        if kind is not None:
            self._add_operation(kind, layer, None if layer.reads_tokens else source, slots)

    def _is_same_memory(self, layer: ly.Layer) -> bool:
        """Return whether a vector and a grid lie in memory alike: no position ends in the middle of a SIMD vector."""
        if not isinstance(layer, ly.Flatten | ly.Unflatten):
            return False
        ends = (self._model.values[name] for name in (layer.name, layer.inputs[0]))
        return all(value.positions == 1 or value.size % LANES == 0 for value in ends)

    def gru(self, layer: ly.GRU) -> tuple[int, dict[int, int]]:
        rows = 3 * layer.hidden_size
        weight_ih = self._matrix(layer, "weight_ih", layer.input_size)
        weight_hh = self._matrix(layer, "weight_hh", layer.hidden_size)
        packed, projection_bytes = pack_gru(
            weight_ih,
            weight_hh,
            self._bias(layer, "bias_ih", rows),
            self._bias(layer, "bias_hh", rows),
            linear_before_reset=layer.linear_before_reset,
        )
        gate, *gate_parameters = function_code(layer.gate_activation)
        if gate == codes.SIGMOID:
            gate = codes.GATE_SIGMOID
        candidate, *candidate_parameters = function_code(layer.candidate_activation)
        parameters = np.array([*gate_parameters, *candidate_parameters, layer.clip or 0.0])
        initial = self._bias(layer, "initial_state", layer.hidden_size)
        row = (4 if layer.linear_before_reset else 5) * self._stride(layer.name)
        positions = self._model.values[layer.name].positions
        if layer.scan == "positions":
            slots = {codes.OP_SCANS_POSITIONS: 1, codes.OP_INITIAL: self._add_weights(pack_rows(initial))}
        else:
            slots = {codes.OP_STATE: self._add_state(layer.name, positions, layer.hidden_size, initial, is_ring=False)}
        if weight_ih.format in (codes.INT8, codes.INT4):
            slots |= {codes.OP_RECORD: row, codes.OP_HIDDEN_RECORD: row + _record_bytes(layer.input_size)}
            row += _record_bytes(layer.input_size) + _record_bytes(layer.hidden_size)
        if layer.masked:
            slots |= {codes.OP_MASKED: 1, codes.OP_MASK: self._offsets[layer.inputs[1]]}
        weights = self._add_weights(packed)
        return codes.GRU if layer.linear_before_reset else codes.GRU_RESET_BEFORE, slots | {
            codes.OP_WEIGHTS: weights,
            codes.OP_RECURRENT_WEIGHTS: weights + projection_bytes,
            codes.OP_PARAMETERS: self._add_weights(parameters),
            codes.OP_TEMP: self._reserve(positions * row),
            codes.OP_TEMP_STRIDE: row,
            codes.OP_FORMAT: weight_ih.format,
            codes.OP_GATE: gate,
            codes.OP_CANDIDATE: candidate,
            codes.OP_CLIPPED: int(layer.clip is not None),
            codes.OP_REVERSE: int(layer.direction == "reverse"),
        }

    def linear(self, layer: ly.Linear) -> tuple[int, dict[int, int]]:
        weight = self._matrix(layer, "weight")
        packed = pack_dense(weight, self._bias(layer, "bias", layer.output_size))
        slots = {codes.OP_WEIGHTS: self._add_weights(packed), codes.OP_FORMAT: weight.format}
        if weight.format == codes.INT8:
            stride = _record_bytes(layer.input_size)
            positions = self._model.values[layer.name].positions
            slots |= {codes.OP_TEMP: self._reserve(positions * stride), codes.OP_TEMP_STRIDE: stride}
        return codes.DENSE, slots

    def embedding(self, layer: ly.Embedding) -> tuple[int, dict[int, int]]:
        weight = self._matrix(layer, "weight")
        return codes.EMBEDDING, {
            codes.OP_WEIGHTS: self._add_weights(pack_embedding(weight)),
            codes.OP_FORMAT: weight.format,
            codes.OP_INPUT: self._input_index(layer),
        }

    def layer_norm(self, layer: ly.LayerNorm) -> tuple[int, dict[int, int]]:
        weight = self._weight(layer, "weight") if layer.weight else np.ones(layer.size, np.float32)
        return codes.LAYER_NORM, {
            codes.OP_WEIGHTS: self._add_weights(pack_rows(weight, self._bias(layer, "bias", layer.size))),
            codes.OP_PARAMETERS: self._add_weights(np.array([layer.epsilon])),
        }

    def batch_norm(self, layer: ly.BatchNorm) -> tuple[int, dict[int, int]]:
        variance = self._weight(layer, "variance").astype(np.float64) + layer.epsilon
        scale = self._weight(layer, "weight") / np.sqrt(variance)
        packed = pack_rows(self._weight(layer, "mean"), scale, self._weight(layer, "bias"))
        return codes.BATCH_NORM, {codes.OP_WEIGHTS: self._add_weights(packed)}

    def conv1d(self, layer: ly.Conv1d) -> tuple[int, dict[int, int]]:
        weight, bias = self._matrix(layer, "weight"), self._bias(layer, "bias", layer.output_size)
        slots = {codes.OP_TAPS: layer.kernel_size, codes.OP_DILATION: layer.dilation, codes.OP_GROUPS: layer.groups}
        history = (layer.kernel_size - 1) * layer.dilation
        if history:
            slots[codes.OP_STATE] = self._add_state(layer.name, history, layer.input_size, None, is_ring=True)
        if layer.is_depthwise:
            packed = pack_rows(bias, self._weight(layer, "weight")[:, 0].T)
            return codes.DEPTHWISE_CONV1D, slots | {codes.OP_WEIGHTS: self._add_weights(packed)}
        features = layer.kernel_size * layer.input_size // layer.groups
        outputs = F32_BYTES * padded(layer.output_size // layer.groups)
        row = F32_BYTES * padded(features) + outputs
        if weight.format == codes.INT8:
            slots[codes.OP_RECORD] = row
            row += _record_bytes(features)
        return codes.CONV1D, slots | {
            codes.OP_WEIGHTS: self._add_weights(pack_conv1d(weight, bias, layer.groups)),
            codes.OP_FORMAT: weight.format,
            codes.OP_TEMP: self._reserve(row),
            codes.OP_TEMP_STRIDE: row,
            codes.OP_GROUP_STRIDE: outputs,
            codes.OP_GROUP_OUT: F32_BYTES * padded(features),
        }

    def arithmetic(self, layer: ly.Add) -> tuple[None, dict[int, int]]:
        """Add or Mul: from left to right, the second and later operations reading what the one before wrote."""
        kind = codes.MUL if isinstance(layer, ly.Mul) else codes.ADD
        left = layer.inputs[0]
        for right in layer.inputs[1:]:
            other = {codes.OP_OTHER: self._offsets[right], codes.OP_OTHER_STRIDE: self._stride(right)}
            self._add_operation(kind, layer, left, other)
            left = layer.name
        return None, {}

    def concat(self, layer: ly.Concat) -> tuple[None, dict[int, int]]:
        column = 0
        for source in layer.inputs:
            self._add_operation(codes.COPY, layer, source, {codes.OP_COLUMN: column})
            column += self._model.values[source].size
        return None, {}

    def slice(self, layer: ly.Slice) -> tuple[int, dict[int, int]]:
        return codes.COPY, {codes.OP_IN_SIZE: layer.stop - layer.start, codes.OP_SOURCE_COLUMN: layer.start}

    def unflatten(self, layer: ly.Unflatten) -> tuple[int, dict[int, int]]:
        size = self._model.values[layer.name].size
        return codes.COPY_POSITIONS, {codes.OP_IN_SIZE: size, codes.OP_IN_STRIDE: F32_BYTES * size}

    def flatten(self, layer: ly.Flatten) -> tuple[int, dict[int, int]]:
        grid = self._model.values[layer.inputs[0]]
        return codes.COPY_POSITIONS, {codes.OP_OUT_STRIDE: F32_BYTES * grid.size, codes.OP_POSITIONS: grid.positions}

    def feature_mask(self, layer: ly.FeatureMask) -> tuple[int, dict[int, int]]:
        return codes.FEATURE_MASK, {codes.OP_PARAMETERS: self._add_weights(np.array([layer.mask_value]))}

    def token_mask(self, layer: ly.TokenMask) -> tuple[int, dict[int, int]]:
        return codes.TOKEN_MASK, {codes.OP_INPUT: self._input_index(layer), codes.OP_TOKEN: layer.token}

    def _input_index(self, layer: ly.Layer) -> int:
        return [port.name for port in self._model.inputs].index(layer.inputs[0])

    def activation(self, layer: ly.Activation) -> tuple[int, dict[int, int]]:
        if isinstance(layer.function, fn.Softmax):
            return codes.SOFTMAX, {}
        if isinstance(layer.function, fn.LogSoftmax):
            return codes.LOG_SOFTMAX, {}
        code, *parameters = function_code(layer.function)
        return codes.FUNCTION, {
            codes.OP_FUNCTION: code,
            codes.OP_PARAMETERS: self._add_weights(np.array(parameters)),
        }

    def prelu(self, layer: ly.PRelu) -> tuple[int, dict[int, int]]:
        return codes.PRELU, {codes.OP_WEIGHTS: self._add_weights(pack_rows(self._weight(layer, "weight")))}

    def first_step(self, layer: ly.FirstStep) -> tuple[int, dict[int, int]]:
        return codes.COPY_FIRST_ROW, {}


_LOWER: dict[type[ly.Layer], Callable[[_Lowering, Any], tuple[int | None, dict[int, int]]]] = {
    ly.GRU: _Lowering.gru,
    ly.Linear: _Lowering.linear,
    ly.Embedding: _Lowering.embedding,
    ly.LayerNorm: _Lowering.layer_norm,
    ly.BatchNorm: _Lowering.batch_norm,
    ly.Conv1d: _Lowering.conv1d,
    ly.Add: _Lowering.arithmetic,
    ly.Mul: _Lowering.arithmetic,
    ly.Concat: _Lowering.concat,
    ly.Slice: _Lowering.slice,
    ly.Unflatten: _Lowering.unflatten,
    ly.Flatten: _Lowering.flatten,
    ly.FeatureMask: _Lowering.feature_mask,
    ly.TokenMask: _Lowering.token_mask,
    ly.Activation: _Lowering.activation,
    ly.PRelu: _Lowering.prelu,
    ly.FirstStep: _Lowering.first_step,
}
