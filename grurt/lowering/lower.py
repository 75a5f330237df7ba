"""Lowers a model to a `Plan`: packs the weights and writes the table of operations."""

from __future__ import annotations

import math

import numpy as np

from grurt.kernels import codes
from grurt.kernels.sizes import F32_BYTES
from grurt.lanes import LANES
from grurt.lowering.builder import PlanBuilder
from grurt.lowering.functions import BINARY, function_code
from grurt.lowering.packing import Matrix, gru_bytes, pack_conv1d, pack_dense, pack_embedding, pack_gru, tap_by_tap
from grurt.lowering.plan import Plan
from grurt.network import functions as fn
from grurt.network import layers as ly
from grurt.network.network import Network, once_per_network
from grurt.network.streaming import streaming_error
from grurt.network.vectors import record_bytes, row_bytes

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

_POOLINGS = {
    "sum": codes.POOL_SUM,
    "mean": codes.POOL_MEAN,
    "max": codes.POOL_MAX,
    "softmax": codes.POOL_SOFTMAX,
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
        raise streaming_error(network)
    return lower(network)


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
        kind, slots = getattr(self, layer.kind)(layer)
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
        gate, *gate_parameters = function_code(layer.gate_activation)
        if gate == codes.SIGMOID:
            gate = codes.GATE_SIGMOID
        candidate, *candidate_parameters = function_code(layer.candidate_activation)
        parameters = [*gate_parameters, *candidate_parameters, layer.clip or 0.0]
        initial = self.bias(layer, "initial_state", layer.hidden_size)
        row = layer.sums_bytes
        positions = self.network.values[layer.name].positions
        if layer.scan == "positions":
            slots = {codes.OP_SCANS_POSITIONS: 1, codes.OP_INITIAL: self.add_rows(initial)}
        else:
            slots = {codes.OP_STATE: self.add_state(layer.name, positions, layer.hidden_size, initial, is_ring=False)}
        if weight_ih.format in (codes.INT8, codes.INT4):
            slots |= {codes.OP_RECORD: row, codes.OP_HIDDEN_RECORD: row + record_bytes(layer.input_size)}
            row += layer.records_bytes
        if layer.masked:
            slots |= {codes.OP_MASKED: 1, codes.OP_MASK: self.offsets[layer.inputs[1]]}
        if (factor := layer.state_factor) is not None:
            slots |= {
                codes.OP_FACTOR: self.offsets[factor],
                codes.OP_FACTOR_STRIDE: self.stride(factor),
                codes.OP_FACTOR_SIZE: self.network.values[factor].size,
            }
        is_linear = layer.linear_before_reset
        projection, recurrence = gru_bytes(weight_ih, weight_hh, linear_before_reset=is_linear)
        weights, out = self.reserve_weights(projection + recurrence)
        biases = self.bias(layer, "bias_ih", rows), self.bias(layer, "bias_hh", rows)
        pack_gru(out[:projection], out[projection:], weight_ih, weight_hh, *biases, linear_before_reset=is_linear)
        return codes.GRU if layer.linear_before_reset else codes.GRU_RESET_BEFORE, slots | {
            codes.OP_WEIGHTS: weights,
            codes.OP_RECURRENT_WEIGHTS: weights + projection,
            codes.OP_PARAMETERS: self.add_rows(parameters),
            codes.OP_TEMP: self.reserve(layer.scratch_bytes(positions)),
            codes.OP_TEMP_STRIDE: row,
            codes.OP_FORMAT: weight_ih.format,
            codes.OP_GATE: gate,
            codes.OP_CANDIDATE: candidate,
            codes.OP_CLIPPED: int(layer.clip is not None),
            codes.OP_REVERSE: int(layer.direction == "reverse"),
        }

    def linear(self, layer: ly.Linear) -> tuple[int, dict[int, int]]:
        weight = self.matrix(layer, "weight")
        weights, out = self.reserve_weights(layer.packed_bytes())
        pack_dense(out, weight, self.bias(layer, "bias", layer.output_size))
        slots = {codes.OP_WEIGHTS: weights, codes.OP_FORMAT: weight.format}
        if weight.format == codes.INT8:
            scratch = self.reserve(layer.scratch_bytes(self.network.values[layer.name].positions))
            slots |= {codes.OP_TEMP: scratch, codes.OP_TEMP_STRIDE: record_bytes(layer.input_size)}
        return codes.DENSE, slots

    def embedding(self, layer: ly.Embedding) -> tuple[int, dict[int, int]]:
        weight = self.matrix(layer, "weight")
        weights, out = self.reserve_weights(layer.packed_bytes())
        pack_embedding(out, weight)
        return codes.EMBEDDING, {
            codes.OP_WEIGHTS: weights,
            codes.OP_FORMAT: weight.format,
            codes.OP_INPUT: self._input_index(layer),
        }

    def layer_norm(self, layer: ly.LayerNorm) -> tuple[int, dict[int, int]]:
        weight = self.weight(layer, "weight") if layer.weight else np.ones(layer.size, np.float32)
        return codes.LAYER_NORM, {
            codes.OP_WEIGHTS: self.add_rows(weight, self.bias(layer, "bias", layer.size)),
            codes.OP_PARAMETERS: self.add_rows([layer.epsilon]),
        }

    def rms_norm(self, layer: ly.RMSNorm) -> tuple[int, dict[int, int]]:
        weight = self.weight(layer, "weight") if layer.weight else np.ones(layer.size, np.float32)
        return codes.RMS_NORM, {
            codes.OP_WEIGHTS: self.add_rows(weight),
            codes.OP_PARAMETERS: self.add_rows([layer.epsilon]),
        }

    def batch_norm(self, layer: ly.BatchNorm) -> tuple[int, dict[int, int]]:
        factor = layer.factor(self.weight(layer, "weight"), self.weight(layer, "variance"))
        rows = self.weight(layer, "mean"), factor, self.weight(layer, "bias")
        return codes.BATCH_NORM, {codes.OP_WEIGHTS: self.add_rows(*rows)}

    def conv1d(self, layer: ly.Conv1d) -> tuple[int, dict[int, int]]:
        weight, bias = self.weight(layer, "weight"), self.bias(layer, "bias", layer.output_size)
        slots = {codes.OP_TAPS: layer.kernel_size, codes.OP_DILATION: layer.dilation, codes.OP_GROUPS: layer.groups}
        history = (layer.kernel_size - 1) * layer.dilation
        if history:
            slots[codes.OP_STATE] = self.add_state(layer.name, history, layer.input_size, None, is_ring=True)
        if layer.is_depthwise:
            return codes.DEPTHWISE_CONV1D, slots | {codes.OP_WEIGHTS: self.add_rows(bias, weight[:, 0].T)}
        matrix = Matrix(tap_by_tap(weight), layer.weight_format, self.scale(layer, "weight"))
        features, outputs = row_bytes(layer.features_per_output), row_bytes(layer.outputs_per_group)
        if matrix.format == codes.INT8:
            slots[codes.OP_RECORD] = features + outputs
        weights, out = self.reserve_weights(layer.packed_bytes())
        pack_conv1d(out, matrix, bias, layer.groups)
        return codes.CONV1D, slots | {
            codes.OP_WEIGHTS: weights,
            codes.OP_FORMAT: matrix.format,
            codes.OP_TEMP: self.reserve(layer.scratch_bytes()),
            codes.OP_TEMP_STRIDE: layer.scratch_bytes(),
            codes.OP_GROUP_STRIDE: outputs,
            codes.OP_GROUP_OUT: features,
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
        return self._from_left_to_right(codes.BINARY, layer, {codes.OP_FUNCTION: BINARY[layer.operation]})

    def where(self, layer: ly.Where) -> tuple[None, dict[int, int]]:
        condition, then, otherwise = layer.inputs
        self.add_operation(codes.COPY, layer, otherwise, {})
        slots = {codes.OP_OTHER: self.offsets[condition], codes.OP_OTHER_STRIDE: self.stride(condition)}
        self.add_operation(codes.SELECT, layer, then, slots)
        return None, {}

    def constant(self, layer: ly.Constant) -> tuple[int, dict[int, int]]:
        return codes.CONSTANT, {codes.OP_WEIGHTS: self.add_rows(self.weight(layer, "weight"))}

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
        return codes.FEATURE_MASK, {codes.OP_PARAMETERS: self.add_rows([layer.mask_value])}

    def token_mask(self, layer: ly.TokenMask) -> tuple[int, dict[int, int]]:
        return codes.TOKEN_MASK, {codes.OP_INPUT: self._input_index(layer), codes.OP_TOKEN: layer.token}

    def _input_index(self, layer: ly.Layer) -> int:
        return self.input_numbers[layer.inputs[0]]

    def activation(self, layer: ly.Activation) -> tuple[int, dict[int, int]]:
        if isinstance(layer.function, fn.Softmax):
            return codes.SOFTMAX, {}
        if isinstance(layer.function, fn.LogSoftmax):
            return codes.LOG_SOFTMAX, {}
        code, *parameters = function_code(layer.function)
        return codes.FUNCTION, {
            codes.OP_FUNCTION: code,
            codes.OP_PARAMETERS: self.add_rows(parameters),
        }

    def program(self, layer: ly.Program) -> tuple[int, dict[int, int]]:
        from grurt.lowering.programs.plan import add_program  # which other models do not wait for

        return add_program(self, layer)

    def prelu(self, layer: ly.PRelu) -> tuple[int, dict[int, int]]:
        return codes.PRELU, {codes.OP_WEIGHTS: self.add_rows(self.weight(layer, "weight"))}

    def time_pooling(self, layer: ly.TimePooling) -> tuple[int, dict[int, int]]:
        slots = {codes.OP_FUNCTION: _POOLINGS[layer.operation], codes.OP_SCORE_SIZE: layer.score_size}
        offsets = [
            self.add_state(name, math.prod(shape[:-1]), shape[-1], None, is_ring=False)
            for name, shape in self.network.states_of(layer).items()
        ]
        slots[codes.OP_STATE] = offsets[0]  # behind which are the others
        if layer.has_scores:
            scores = layer.inputs[1]
            slots |= {
                codes.OP_OTHER: self.offsets[scores],
                codes.OP_OTHER_STRIDE: self.stride(scores),
                codes.OP_TEMP: self.reserve(layer.scratch_bytes()),
            }
        if layer.masked:
            slots |= {codes.OP_MASKED: 1, codes.OP_MASK: self.offsets[layer.inputs[-1]]}
        return codes.TIME_POOLING, slots

    def attention(self, layer: ly.Attention) -> tuple[int, dict[int, int]]:
        _, keys, values = layer.inputs[:3]
        is_dot = layer.score == "dot"
        slots = {
            codes.OP_FUNCTION: codes.ATTEND_DOT if is_dot else codes.ATTEND_ADDITIVE,
            codes.OP_WEIGHTS: self.add_rows([layer.scale] if is_dot else self.weight(layer, "weight")),
            codes.OP_OTHER: self.offsets[keys],
            codes.OP_OTHER_STRIDE: self.stride(keys),
            codes.OP_VALUES: self.offsets[values],
            codes.OP_VALUES_STRIDE: self.stride(values),
            codes.OP_KEY_SIZE: layer.key_size,
            codes.OP_HEADS: layer.heads,
            codes.OP_CAUSAL: int(layer.causal),
            codes.OP_MAX_STEPS: layer.max_steps,
            codes.OP_SHARES_MEMORY: int(layer.shares_memory),
            codes.OP_TEMP: self.reserve(layer.scratch_bytes()),
        }
        offsets = [
            self.add_state(name, math.prod(shape[:-1]), shape[-1], None, is_ring=False)
            for name, shape in self.network.states_of(layer).items()
        ]
        if offsets:
            slots[codes.OP_STATE] = offsets[0]  # behind which are the others
        if layer.biased:
            slots |= {codes.OP_MASKED: 1, codes.OP_MASK: self.offsets[layer.inputs[3]]}
        return codes.ATTENTION, slots

    def first_step(self, layer: ly.FirstStep) -> tuple[int, dict[int, int]]:
        return codes.COPY_FIRST_ROW, {}
