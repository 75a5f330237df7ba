"""Steps as the kernels read them: records of int32, tables, and packed weights."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from grurt.kernels import codes
from grurt.kernels.sizes import F32_BYTES
from grurt.lowering.functions import function_code
from grurt.lowering.packing import gru_bytes, pack_dense, pack_gru, pack_scan, scan_bytes
from grurt.lowering.programs.iteration import Iteration, iterate
from grurt.lowering.programs.scans import work_row
from grurt.lowering.programs.steps import Contract, Depthwise, Map, Product, Quantize, Reduce, RowWise, Scan, Step
from grurt.lowering.programs.views import View, certain, merged_digits, offsets, padded_row
from grurt.network import operators as op
from grurt.network.vectors import padded, record_bytes, row_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.array_types import Floats
    from grurt.lowering.builder import PlanBuilder
    from grurt.lowering.programs.views import Digit

Slots = dict[int, int]


class StepTables:
    """Writes steps into the packed weights of a plan."""

    def __init__(self, builder: PlanBuilder) -> None:
        self._builder = builder
        self._kept: dict[bytes, int] = {}

    def write(self, steps: Sequence[Step]) -> int:
        """Write the records of some steps, and return their offset in bytes."""
        records = np.zeros((len(steps), codes.STEP_SLOTS), np.int32)
        for record, step in zip(records, steps, strict=True):
            if not isinstance(step, Map):
                self._place_constants(step)
            kind, slots = getattr(self, f"_{type(step).__name__.lower()}")(step)
            record[codes.STEP_KIND] = kind
            for slot, number in slots.items():
                record[slot] = number
        return F32_BYTES * self._numbers(records)

    def _numbers(self, numbers: NDArray[np.int32 | np.int64] | Floats) -> int:
        """Return the offset, in float32, of some numbers among the weights, where equal ones stand once."""
        content = numbers.tobytes()
        key = numbers.dtype.str.encode() + content
        if key not in self._kept:
            # A vector may be read that begins with the last number.
            offset, out = self._builder.reserve_weights(len(content) + row_bytes(1))
            out[: len(content)] = np.frombuffer(content, np.uint8)
            self._kept[key] = offset // F32_BYTES
        return self._kept[key]

    def _table(self, numbers: Sequence[int] | NDArray[np.int64]) -> int:
        return self._numbers(np.asarray(numbers, np.int32))

    def _parameters(self, *numbers: float) -> int:
        return self._numbers(np.asarray(numbers, np.float32))

    def _view(self, view: View, base_slot: int) -> Slots:
        return {base_slot: view.storage.base, base_slot + 1: view.address}

    def _place_constants(self, step: Step) -> None:
        """Put what a step reads among the weights, if it is constant."""
        for storage in step.storages:
            if storage.numbers is not None:
                storage.offset = self._numbers(storage.numbers)

    def _map(self, step: Map) -> tuple[int, Slots]:
        (out,) = step.outputs
        iteration = iterate(out, step.inputs)
        slots = {
            codes.STEP_CODE: step.code,
            codes.STEP_N_ROWS: iteration.n_rows,
            codes.STEP_SIZE: iteration.size,
            codes.STEP_WEIGHTS: self._parameters(*step.parameters),
        }
        operands = list(iteration.operands)
        operands += [operands[-1]] * (4 - len(operands))
        for number, operand in enumerate(operands):
            stride, rows = operand.stride, operand.rows + operand.view.offset
            numbers = operand.view.storage.numbers
            if numbers is not None and stride not in (0, 1):  # brought into the order in which they are read
                numbers = numbers[rows[:, np.newaxis] + stride * np.arange(iteration.size)].ravel()
                stride, rows = 1, iteration.size * np.arange(len(rows))
            start = operand.view.storage.offset if numbers is None else self._numbers(numbers)
            slots[codes.STEP_OUT_BASE + 2 * number] = operand.view.storage.base
            slots[codes.STEP_OUT_STRIDE + number] = stride
            slots[codes.STEP_OUT_ROWS + number] = self._table(rows + start)
        return codes.STEP_MAP, slots

    def _contract(self, step: Contract) -> tuple[int, Slots]:
        outputs = padded(len(step.weights.values))
        offset, packed = self._builder.reserve_weights(step.weights.dense_bytes(outputs))
        pack_dense(packed, step.weights, step.bias)
        return codes.STEP_CONTRACT, self._rows(step) | self._inputs(step.places) | {
            codes.STEP_WEIGHTS: offset // F32_BYTES,
            codes.STEP_SIZE: len(step.weights.values),
            codes.STEP_FORMAT: step.weights.format,
        }

    def _quantize(self, step: Quantize) -> tuple[int, Slots]:
        slots = {codes.STEP_WORK: step.work[0].offset}
        return codes.STEP_QUANTIZE, self._rows(step) | self._inputs(step.places) | slots

    def _inputs(self, places: NDArray[np.int64]) -> Slots:
        runs = _runs(places)
        return {
            codes.STEP_N_INPUTS: len(places),
            codes.STEP_TABLE: self._table(np.ravel(runs)),
            codes.STEP_N_TABLE: len(runs),
        }

    def _depthwise(self, step: Depthwise) -> tuple[int, Slots]:
        n_taps, channels = step.weights.shape
        packed = np.zeros((1 + n_taps, padded(channels)), np.float32)
        packed[0, :channels], packed[1:, :channels] = step.bias, step.weights
        return codes.STEP_DEPTHWISE, self._rows(step) | {
            codes.STEP_WEIGHTS: self._numbers(packed),
            codes.STEP_SIZE: channels,
            codes.STEP_N_INPUTS: n_taps,
            codes.STEP_TABLE: self._table(step.taps),
        }

    def _rows(self, step: Contract | Depthwise | Quantize) -> Slots:
        x, out = step.inputs[0].storage, step.outputs[0].storage
        segments = _segments(step.rows + x.offset, step.out_rows + out.offset)
        return {
            codes.STEP_A_BASE: x.base,
            codes.STEP_OUT_BASE: out.base,
            codes.STEP_SEGMENTS: self._table(np.ravel(segments)),
            codes.STEP_N_SEGMENTS: len(segments),
        }

    def _scan(self, step: Scan) -> tuple[int, Slots]:
        slots = {
            **self._view(step.inputs[0], codes.STEP_A_BASE),
            **self._view(step.outputs[0], codes.STEP_OUT_BASE),
            codes.STEP_A_STRIDE: step.x_stride,
            codes.STEP_OUT_STRIDE: step.out_stride,
            codes.STEP_STATE_STRIDE: padded_row(step.operator.hidden_size),
            codes.STEP_N_ROWS: step.length,
            codes.STEP_BATCH: step.batch,
            codes.STEP_STATE: step.states[0].address,
            codes.STEP_CELL: step.states[-1].address,
            codes.STEP_WORK: step.work[0].offset,
            codes.STEP_WORK_STRIDE: work_row(step.operator, step.weight_ih),
            codes.STEP_N_INPUTS: step.weight_ih.inputs,
            codes.STEP_HIDDEN_SIZE: step.operator.hidden_size,
            codes.STEP_REVERSE: int(step.is_reversed),
        }
        if isinstance(step.operator, op.GRU):
            return codes.STEP_GRU, slots | {codes.STEP_OPERATION: self._gru(step, step.operator)}
        if isinstance(step.operator, op.RNN):
            code, *parameters = function_code(step.operator.activation)
            slots |= {codes.STEP_CODE: code, codes.STEP_PARAMETERS: self._parameters(*parameters)}
        kind = codes.STEP_LSTM if isinstance(step.operator, op.LSTM) else codes.STEP_RNN
        return kind, slots | self._gates(step)

    def _gru(self, step: Scan, operator: op.GRU) -> int:
        """Return the offset of the operation that a GRU's kernels read."""
        is_linear = operator.linear_before_reset
        projection, recurrence = gru_bytes(step.weight_ih, step.weight_hh, linear_before_reset=is_linear)
        offset, out = self._builder.reserve_weights(projection + recurrence)
        weights = step.weight_ih, step.weight_hh, step.bias_ih, step.bias_hh
        pack_gru(out[:projection], out[projection:], *weights, linear_before_reset=is_linear)
        gate, *gate_parameters = function_code(operator.gate_activation)
        candidate, *candidate_parameters = function_code(operator.candidate_activation)
        table = np.zeros(codes.OP_SLOTS, np.int64)
        for slot, number in {
            codes.OP_KIND: codes.GRU if is_linear else codes.GRU_RESET_BEFORE,
            codes.OP_POSITIONS: step.batch,
            codes.OP_IN_SIZE: step.weight_ih.inputs,
            codes.OP_OUT_SIZE: operator.hidden_size,
            codes.OP_OUT_STRIDE: row_bytes(operator.hidden_size),
            codes.OP_WEIGHTS: offset,
            codes.OP_RECURRENT_WEIGHTS: offset + projection,
            codes.OP_FORMAT: step.weight_ih.format,
            codes.OP_RECORD: F32_BYTES * work_row(operator),
            codes.OP_HIDDEN_RECORD: F32_BYTES * work_row(operator) + record_bytes(step.weight_ih.inputs),
            codes.OP_PARAMETERS: F32_BYTES * self._parameters(*gate_parameters, *candidate_parameters, 0.0),
            codes.OP_GATE: codes.GATE_SIGMOID if gate == codes.SIGMOID else gate,
            codes.OP_CANDIDATE: candidate,
            codes.OP_REVERSE: int(step.is_reversed),
        }.items():
            table[slot] = number
        return self._numbers(table)

    def _gates(self, step: Scan) -> Slots:
        """Return the slots of the weights of an LSTM or RNN."""
        gates, records = step.operator.gates, work_row(step.operator)
        projection, recurrence = scan_bytes(step.weight_ih, step.weight_hh, gates)
        offset, out = self._builder.reserve_weights(projection + recurrence)
        bias = step.bias_ih.astype(np.float64) + step.bias_hh
        pack_scan(out[:projection], out[projection:], step.weight_ih, step.weight_hh, bias, gates)
        return {
            codes.STEP_FORMAT: step.weight_ih.format,
            codes.STEP_WEIGHTS: offset // F32_BYTES,
            codes.STEP_RECURRENT_WEIGHTS: (offset + projection) // F32_BYTES,
            codes.STEP_RECORD: records,
            codes.STEP_HIDDEN_RECORD: records + record_bytes(step.weight_ih.inputs) // F32_BYTES,
        }

    def _reduce(self, step: Reduce) -> tuple[int, Slots]:
        iteration, lanes, places = reduction(step)
        x, out = iteration.operands[1], iteration.operands[0]
        return codes.STEP_REDUCE, {
            codes.STEP_CODE: step.code,
            codes.STEP_A_BASE: x.view.storage.base,
            codes.STEP_OUT_BASE: out.view.storage.base,
            codes.STEP_A_ROWS: self._table(x.rows + x.view.address),
            codes.STEP_OUT_ROWS: self._table(out.rows + out.view.address),
            codes.STEP_N_ROWS: iteration.n_rows,
            codes.STEP_SIZE: iteration.size,
            codes.STEP_TABLE: self._table(places),
            codes.STEP_N_INPUTS: len(places),
            codes.STEP_LANES: lanes,
            codes.STEP_PARAMETERS: self._parameters(step.scale),
        }

    def _rowwise(self, step: RowWise) -> tuple[int, Slots]:
        weights = np.zeros((2, padded_row(step.size)), np.float32)
        weights[0, : step.size] = 1.0
        return codes.STEP_ROW_WISE, {
            **self._view(step.inputs[0], codes.STEP_A_BASE),
            **self._view(step.outputs[0], codes.STEP_OUT_BASE),
            codes.STEP_CODE: step.code,
            codes.STEP_N_ROWS: step.n_rows,
            codes.STEP_SIZE: step.size,
            codes.STEP_A_STRIDE: padded_row(step.size),
            codes.STEP_WEIGHTS: self._numbers(weights),
            codes.STEP_PARAMETERS: self._parameters(step.epsilon),
        }

    def _product(self, step: Product) -> tuple[int, Slots]:
        a, b = step.inputs
        (out,) = step.outputs
        n_rows, inputs, columns = out.shape[-2], a.shape[-1], out.shape[-1]
        of_b = np.repeat(offsets([digit for axis in b.axes[:-2] for digit in axis]), n_rows)
        return codes.STEP_PRODUCT, {
            codes.STEP_A_BASE: a.storage.base,
            codes.STEP_B_BASE: b.storage.base,
            codes.STEP_OUT_BASE: out.storage.base,
            codes.STEP_A_ROWS: self._table(a.rows() + a.storage.offset),
            codes.STEP_B_ROWS: self._table(of_b + b.address),
            codes.STEP_OUT_ROWS: self._table(out.rows() + out.storage.offset),
            codes.STEP_N_ROWS: len(of_b),
            codes.STEP_SIZE: columns,
            codes.STEP_N_INPUTS: inputs,
            codes.STEP_A_STRIDE: stride_of(a.axes[-1]),
            codes.STEP_B_STRIDE: stride_of(b.axes[-2]),
            codes.STEP_C_STRIDE: stride_of(b.axes[-1]),
            codes.STEP_OUT_STRIDE: stride_of(out.axes[-1]),
        }


def stride_of(axis: tuple[Digit, ...]) -> int:
    """Return how far the places of an axis are apart that has one stride, or none."""
    digits = merged_digits(axis)
    return digits[0][1] if digits else 1


def _runs(places: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return where inputs that lie side by side begin, and how many they are."""
    ends = [0, *(np.flatnonzero(np.diff(places) != 1) + 1).tolist(), len(places)]
    return [(int(places[begin]), end - begin) for begin, end in pairwise(ends)]


def _segments(rows: NDArray[np.int64], out_rows: NDArray[np.int64]) -> list[tuple[int, int, int, int, int]]:
    """Return evenly spaced rows as begin, begin of the outputs, how many, and the strides of both."""
    segments = []
    begin = 0
    while begin < len(rows):
        end = begin + 1
        strides = (0, 0)
        if end < len(rows):
            strides = int(rows[end] - rows[begin]), int(out_rows[end] - out_rows[begin])
            while end < len(rows) and (rows[end] - rows[end - 1], out_rows[end] - out_rows[end - 1]) == strides:
                end += 1
        segments.append((int(rows[begin]), int(out_rows[begin]), end - begin, *strides))
        begin = end
    return segments


def reduction(step: Reduce) -> tuple[Iteration, int, NDArray[np.int64]]:
    """Return how a reduction goes through its numbers, and where those of one result lie."""
    (x,), (out,) = step.inputs, step.outputs
    kept = View(x.storage, x.offset, tuple((digit,) for digit in step.kept))
    results = certain(out.reshaped(kept.shape))
    places = offsets(step.along)
    iteration = iterate(results, (kept,))
    strides = [operand.stride for operand in iteration.operands]
    if iteration.size > 1 and strides == [1, 1]:
        return iteration, codes.SIDE_BY_SIDE, np.sort(places)
    single = iterate(results, (kept,), in_rows=False)
    in_order = np.sort(places)
    is_sum = step.code not in (codes.REDUCE_MAX, codes.REDUCE_MIN)
    if is_sum and np.array_equal(in_order, np.arange(len(in_order))):
        return single, codes.IN_A_ROW, in_order
    return single, codes.ONE_BY_ONE, in_order
