"""Lowers a model to a `Plan`: packs the weights and writes the table of operations."""

from __future__ import annotations

import numpy as np

from grurt.errors import ModelError, StreamingError
from grurt.kernels import codes
from grurt.kernels.sizes import F32_BYTES, VECTOR_BYTES
from grurt.lanes import LANES
from grurt.lowering.builder import PlanBuilder
from grurt.lowering.functions import function_code
from grurt.lowering.packing import pack_conv1d, pack_dense, pack_embedding, pack_gru, pack_rows
from grurt.lowering.plan import Plan
from grurt.network import functions as fn
from grurt.network import layers as ly
from grurt.network.network import Network, once_per_network
from grurt.network.vectors import padded

_BINARY = {
    "sub": codes.SUB,
    "div": codes.DIV,
    "pow": codes.BINARY_POW,
    "min": codes.MIN,
    "max": codes.MAX,
    "less": codes.LESS,
    "less_or_equal": codes.LESS_OR_EQUAL,
    "equal": codes.EQUAL,
}
_REDUCE = {
    "sum": codes.REDUCE_SUM,
    "mean": codes.REDUCE_MEAN,
    "l1": codes.REDUCE_L1,
    "l2": codes.REDUCE_L2,
    "log_sum_exp": codes.REDUCE_LOG_SUM_EXP,
    "prod": codes.REDUCE_PROD,
    "max": codes.REDUCE_MAX,
    "min": codes.REDUCE_MIN,
    "argmax": codes.REDUCE_ARGMAX,
    "argmin": codes.REDUCE_ARGMIN,
}


def lower(network: Network) -> Plan:
    """Lower a network of one stage."""
    lowering = _Lowering(network)
    lowering.run()
    return lowering.plan()


@once_per_network
def plan_of(network: Network) -> Plan:
    """Return a network lowered for the kernels: made when it is first needed, and kept.

    Raises
    ------
    StreamingError
        If the network has several stages: each has a plan of its own.
    """
    if any(value.stage for value in network.values.values()):
        raise StreamingError(f"the model cannot stream: {network.unstreamable_reason} one by one")
    return lower(network)


def _record_bytes(size: int) -> int:
    """Return the room for so many features as bytes (see `grurt.kernels.quantize`), in whole vectors."""
    return VECTOR_BYTES + -(-size // VECTOR_BYTES) * VECTOR_BYTES


class _Lowering(PlanBuilder):
    """Lowers the layers: one method for each kind, of its name, which returns the operation and its slots."""

    def run(self) -> None:
        """Lower all layers."""
        for port in self.network.inputs:
            if not port.tokens:
                self.offsets[port.name] = self.reserve(self.timestep_stride(port.name))
        for layer in self.network.layers:
            self._lower(layer)

    def _lower(self, layer: ly.Layer) -> None:
        source = layer.inputs[0]
        # What is behind LastStep the kernel runs at the last row, or at every row: there is nothing to compute.
        if self._is_same_memory(layer):
            self.offsets[layer.name] = self.offsets[source]
            return
        self.offsets[layer.name] = self.reserve(self.timestep_stride(layer.name))
        try:
            kind, slots = getattr(self, layer.kind)(layer)
        except ModelError as error:
            raise ModelError(f"layer {layer.name!r}: {error}") from None
        if kind is not None:
            self.add_operation(kind, layer, None if layer.reads_tokens else source, slots)

    def _is_same_memory(self, layer: ly.Layer) -> bool:
        """Return whether a layer writes just what it reads, and where."""
        if not layer.rearranges:
            return layer.passes_on
        # A vector and a grid lie in memory alike if no position ends in the middle of a SIMD vector.
        ends = (self.network.values[name] for name in (layer.name, layer.inputs[0]))
        return all(value.positions == 1 or value.size % LANES == 0 for value in ends)

    def gru(self, layer: ly.GRU) -> tuple[int, dict[int, int]]:
        rows = 3 * layer.hidden_size
        weight_ih = self.matrix(layer, "weight_ih", layer.input_size)
        weight_hh = self.matrix(layer, "weight_hh", layer.hidden_size)
        packed, projection_bytes = pack_gru(
            weight_ih,
            weight_hh,
            self.bias(layer, "bias_ih", rows),
            self.bias(layer, "bias_hh", rows),
            linear_before_reset=layer.linear_before_reset,
        )
        gate, *gate_parameters = function_code(layer.gate_activation)
        if gate == codes.SIGMOID:
            gate = codes.GATE_SIGMOID
        candidate, *candidate_parameters = function_code(layer.candidate_activation)
        parameters = np.array([*gate_parameters, *candidate_parameters, layer.clip or 0.0])
        initial = self.bias(layer, "initial_state", layer.hidden_size)
        row = (4 if layer.linear_before_reset else 5) * self.stride(layer.name)
        positions = self.network.values[layer.name].positions
        if layer.scan == "positions":
            slots = {codes.OP_SCANS_POSITIONS: 1, codes.OP_INITIAL: self.add_weights(pack_rows(initial))}
        else:
            slots = {codes.OP_STATE: self.add_state(layer.name, positions, layer.hidden_size, initial, is_ring=False)}
        if weight_ih.format in (codes.INT8, codes.INT4):
            slots |= {codes.OP_RECORD: row, codes.OP_HIDDEN_RECORD: row + _record_bytes(layer.input_size)}
            row += _record_bytes(layer.input_size) + _record_bytes(layer.hidden_size)
        if layer.masked:
            slots |= {codes.OP_MASKED: 1, codes.OP_MASK: self.offsets[layer.inputs[1]]}
        weights = self.add_weights(packed)
        return codes.GRU if layer.linear_before_reset else codes.GRU_RESET_BEFORE, slots | {
            codes.OP_WEIGHTS: weights,
            codes.OP_RECURRENT_WEIGHTS: weights + projection_bytes,
            codes.OP_PARAMETERS: self.add_weights(parameters),
            codes.OP_TEMP: self.reserve(positions * row),
            codes.OP_TEMP_STRIDE: row,
            codes.OP_FORMAT: weight_ih.format,
            codes.OP_GATE: gate,
            codes.OP_CANDIDATE: candidate,
            codes.OP_CLIPPED: int(layer.clip is not None),
            codes.OP_REVERSE: int(layer.direction == "reverse"),
        }

    def linear(self, layer: ly.Linear) -> tuple[int, dict[int, int]]:
        weight = self.matrix(layer, "weight")
        packed = pack_dense(weight, self.bias(layer, "bias", layer.output_size))
        slots = {codes.OP_WEIGHTS: self.add_weights(packed), codes.OP_FORMAT: weight.format}
        if weight.format == codes.INT8:
            stride = _record_bytes(layer.input_size)
            positions = self.network.values[layer.name].positions
            slots |= {codes.OP_TEMP: self.reserve(positions * stride), codes.OP_TEMP_STRIDE: stride}
        return codes.DENSE, slots

    def embedding(self, layer: ly.Embedding) -> tuple[int, dict[int, int]]:
        weight = self.matrix(layer, "weight")
        return codes.EMBEDDING, {
            codes.OP_WEIGHTS: self.add_weights(pack_embedding(weight)),
            codes.OP_FORMAT: weight.format,
            codes.OP_INPUT: self._input_index(layer),
        }

    def layer_norm(self, layer: ly.LayerNorm) -> tuple[int, dict[int, int]]:
        weight = self.weight(layer, "weight") if layer.weight else np.ones(layer.size, np.float32)
        return codes.LAYER_NORM, {
            codes.OP_WEIGHTS: self.add_weights(pack_rows(weight, self.bias(layer, "bias", layer.size))),
            codes.OP_PARAMETERS: self.add_weights(np.array([layer.epsilon])),
        }

    def rms_norm(self, layer: ly.RMSNorm) -> tuple[int, dict[int, int]]:
        weight = self.weight(layer, "weight") if layer.weight else np.ones(layer.size, np.float32)
        return codes.RMS_NORM, {
            codes.OP_WEIGHTS: self.add_weights(pack_rows(weight)),
            codes.OP_PARAMETERS: self.add_weights(np.array([layer.epsilon])),
        }

    def batch_norm(self, layer: ly.BatchNorm) -> tuple[int, dict[int, int]]:
        variance = self.weight(layer, "variance").astype(np.float64) + layer.epsilon
        scale = self.weight(layer, "weight") / np.sqrt(variance)
        packed = pack_rows(self.weight(layer, "mean"), scale, self.weight(layer, "bias"))
        return codes.BATCH_NORM, {codes.OP_WEIGHTS: self.add_weights(packed)}

    def conv1d(self, layer: ly.Conv1d) -> tuple[int, dict[int, int]]:
        weight, bias = self.matrix(layer, "weight"), self.bias(layer, "bias", layer.output_size)
        slots = {codes.OP_TAPS: layer.kernel_size, codes.OP_DILATION: layer.dilation, codes.OP_GROUPS: layer.groups}
        history = (layer.kernel_size - 1) * layer.dilation
        if history:
            slots[codes.OP_STATE] = self.add_state(layer.name, history, layer.input_size, None, is_ring=True)
        if layer.is_depthwise:
            packed = pack_rows(bias, self.weight(layer, "weight")[:, 0].T)
            return codes.DEPTHWISE_CONV1D, slots | {codes.OP_WEIGHTS: self.add_weights(packed)}
        features = layer.kernel_size * layer.input_size // layer.groups
        outputs = F32_BYTES * padded(layer.output_size // layer.groups)
        row = F32_BYTES * padded(features) + outputs
        if weight.format == codes.INT8:
            slots[codes.OP_RECORD] = row
            row += _record_bytes(features)
        return codes.CONV1D, slots | {
            codes.OP_WEIGHTS: self.add_weights(pack_conv1d(weight, bias, layer.groups)),
            codes.OP_FORMAT: weight.format,
            codes.OP_TEMP: self.reserve(row),
            codes.OP_TEMP_STRIDE: row,
            codes.OP_GROUP_STRIDE: outputs,
            codes.OP_GROUP_OUT: F32_BYTES * padded(features),
        }

    def add(self, layer: ly.Add) -> tuple[None, dict[int, int]]:
        return self._from_left_to_right(codes.ADD, layer)

    def mul(self, layer: ly.Mul) -> tuple[None, dict[int, int]]:
        return self._from_left_to_right(codes.MUL, layer)

    def _from_left_to_right(
        self, kind: int, layer: ly.Layer, slots: dict[int, int] | None = None
    ) -> tuple[None, dict[int, int]]:
        """Add operations, of which the second and later ones read what the one before wrote."""
        left = layer.inputs[0]
        for right in layer.inputs[1:]:
            other = {codes.OP_OTHER: self.offsets[right], codes.OP_OTHER_STRIDE: self.stride(right)}
            self.add_operation(kind, layer, left, other | (slots or {}))
            left = layer.name
        return None, {}

    def binary(self, layer: ly.Binary) -> tuple[None, dict[int, int]]:
        return self._from_left_to_right(codes.BINARY, layer, {codes.OP_FUNCTION: _BINARY[layer.operation]})

    def where(self, layer: ly.Where) -> tuple[None, dict[int, int]]:
        condition, then, otherwise = layer.inputs
        self.add_operation(codes.COPY, layer, otherwise, {})
        slots = {codes.OP_OTHER: self.offsets[condition], codes.OP_OTHER_STRIDE: self.stride(condition)}
        self.add_operation(codes.SELECT, layer, then, slots)
        return None, {}

    def constant(self, layer: ly.Constant) -> tuple[int, dict[int, int]]:
        return codes.CONSTANT, {codes.OP_WEIGHTS: self.add_weights(pack_rows(self.weight(layer, "weight")))}

    def reduce(self, layer: ly.Reduce) -> tuple[int, dict[int, int]]:
        return codes.REDUCE, {codes.OP_FUNCTION: _REDUCE[layer.operation]}

    def concat(self, layer: ly.Concat) -> tuple[None, dict[int, int]]:
        column = 0
        for source in layer.inputs:
            self.add_operation(codes.COPY, layer, source, {codes.OP_COLUMN: column})
            column += self.network.values[source].size
        return None, {}

    def slice(self, layer: ly.Slice) -> tuple[int, dict[int, int]]:
        return codes.COPY, {codes.OP_IN_SIZE: layer.stop - layer.start, codes.OP_SOURCE_COLUMN: layer.start}

    def unflatten(self, layer: ly.Unflatten) -> tuple[int, dict[int, int]]:
        size = self.network.values[layer.name].size
        return codes.COPY_POSITIONS, {codes.OP_IN_SIZE: size, codes.OP_IN_STRIDE: F32_BYTES * size}

    def flatten(self, layer: ly.Flatten) -> tuple[int, dict[int, int]]:
        grid = self.network.values[layer.inputs[0]]
        return codes.COPY_POSITIONS, {codes.OP_OUT_STRIDE: F32_BYTES * grid.size, codes.OP_POSITIONS: grid.positions}

    def feature_mask(self, layer: ly.FeatureMask) -> tuple[int, dict[int, int]]:
        return codes.FEATURE_MASK, {codes.OP_PARAMETERS: self.add_weights(np.array([layer.mask_value]))}

    def token_mask(self, layer: ly.TokenMask) -> tuple[int, dict[int, int]]:
        return codes.TOKEN_MASK, {codes.OP_INPUT: self._input_index(layer), codes.OP_TOKEN: layer.token}

    def _input_index(self, layer: ly.Layer) -> int:
        return [port.name for port in self.network.inputs].index(layer.inputs[0])

    def activation(self, layer: ly.Activation) -> tuple[int, dict[int, int]]:
        if isinstance(layer.function, fn.Softmax):
            return codes.SOFTMAX, {}
        if isinstance(layer.function, fn.LogSoftmax):
            return codes.LOG_SOFTMAX, {}
        code, *parameters = function_code(layer.function)
        return codes.FUNCTION, {
            codes.OP_FUNCTION: code,
            codes.OP_PARAMETERS: self.add_weights(np.array(parameters)),
        }

    def prelu(self, layer: ly.PRelu) -> tuple[int, dict[int, int]]:
        return codes.PRELU, {codes.OP_WEIGHTS: self.add_weights(pack_rows(self.weight(layer, "weight")))}

    def first_step(self, layer: ly.FirstStep) -> tuple[int, dict[int, int]]:
        return codes.COPY_FIRST_ROW, {}
