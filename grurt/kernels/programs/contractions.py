"""Rows times constant weights: convolutions, transposed or not, and products with constant matrices.

Weights are packed as for `grurt.kernels.dense`. The inputs of a row lie in *runs*, side by side, and rows in
*segments*, evenly spaced: so a product is made run by run, several rows to a read of the weights. A row's sum begins
with its bias, and goes through the inputs in the order of the runs.
"""

from typing import NamedTuple

from grurt.kernels import codes
from grurt.kernels.options import kernel
from grurt.kernels.panels import Panels, weights_bytes
from grurt.kernels.products import (
    PANEL_VECTORS,
    eight_rows_times_vector,
    four_rows_times_panel,
    row_times_panel,
    row_times_two_panels,
    row_times_vector,
)
from grurt.kernels.programs.tables import base_at, number_at, store_first, table_at
from grurt.kernels.rows import Rows, row_at
from grurt.kernels.simd import fma, load, store
from grurt.kernels.sizes import F32_BYTES, VECTOR_BYTES
from grurt.lanes import LANES


class Contraction(NamedTuple):
    """What all outputs of a contraction have in common: addresses of the bases, and tables."""

    x: int
    out: int
    segments: int
    n_segments: int
    runs: int
    n_runs: int
    format: int
    n_inputs: int


class Segment(NamedTuple):
    """Rows that are evenly spaced, and those of their outputs."""

    x: Rows
    out: Rows
    n_rows: int


@kernel
def run_contract(bases, step):
    """``out[r, m] = bias[m] + sum_k weights[m, k] x[r, k]``."""
    task = Contraction(
        base_at(bases, step, codes.STEP_A_BASE),
        base_at(bases, step, codes.STEP_OUT_BASE),
        table_at(bases, step, codes.STEP_SEGMENTS),
        number_at(step, codes.STEP_N_SEGMENTS),
        table_at(bases, step, codes.STEP_TABLE),
        number_at(step, codes.STEP_N_TABLE),
        number_at(step, codes.STEP_FORMAT),
        number_at(step, codes.STEP_N_INPUTS),
    )
    weights = table_at(bases, step, codes.STEP_WEIGHTS)
    left = number_at(step, codes.STEP_SIZE)
    column = 0
    vectors = (left + LANES - 1) // LANES
    panels = vectors // PANEL_VECTORS
    panel_bytes = PANEL_VECTORS * VECTOR_BYTES + weights_bytes(task.format, task.n_inputs, PANEL_VECTORS)
    if task.n_segments == 1 and _segment(task, 0, 0).n_rows < 4:
        for _ in range(panels // 2):
            _contract_two_panels(task, weights, panel_bytes, column, left)
            weights += 2 * panel_bytes
            column += 2 * PANEL_VECTORS * VECTOR_BYTES
            left -= 2 * PANEL_VECTORS * LANES
        panels %= 2
    for _ in range(panels):
        _contract_panel(task, weights, column, left)
        weights += panel_bytes
        column += PANEL_VECTORS * VECTOR_BYTES
        left -= PANEL_VECTORS * LANES
    for _ in range(vectors % PANEL_VECTORS):
        _contract_vector(task, weights, column, left)
        weights += VECTOR_BYTES + weights_bytes(task.format, task.n_inputs, 1)
        column += VECTOR_BYTES
        left -= LANES


@kernel
def _segment(task, i, column):
    """A segment, its outputs from some bytes on."""
    entry = task.segments + F32_BYTES * codes.SEGMENT_SLOTS * i
    x = Rows(task.x + F32_BYTES * number_at(entry, 0), F32_BYTES * number_at(entry, 3))
    out = Rows(task.out + F32_BYTES * number_at(entry, 1) + column, F32_BYTES * number_at(entry, 4))
    return Segment(x, out, number_at(entry, 2))


@kernel
def _contract_two_panels(task, weights, stride, column, left):
    """96 outputs of a few rows: one row is too few to keep the CPU busy with one panel."""
    a, b = weights, weights + stride
    weights += PANEL_VECTORS * VECTOR_BYTES
    segment = _segment(task, 0, column)
    for row in range(segment.n_rows):
        x, out = row_at(segment.x, row), row_at(segment.out, row)
        sums = (load(a, 0), load(a, LANES), load(a, 2 * LANES), load(b, 0), load(b, LANES), load(b, 2 * LANES))
        panels = weights
        for run in range(task.n_runs):
            start, count = F32_BYTES * number_at(task.runs, 2 * run), number_at(task.runs, 2 * run + 1)
            sums = row_times_two_panels(Panels(task.format, panels, stride, count), Rows(x + start, 0), sums)
            panels += weights_bytes(task.format, count, PANEL_VECTORS)
        _store_panel(out, left, sums[0], sums[1], sums[2])
        behind = out + PANEL_VECTORS * VECTOR_BYTES
        _store_panel(behind, left - PANEL_VECTORS * LANES, sums[3], sums[4], sums[5])


@kernel
def _contract_panel(task, weights, column, left):
    """48 outputs of every row, or those of them that there are."""
    a, b, c = load(weights, 0), load(weights, LANES), load(weights, 2 * LANES)
    weights += PANEL_VECTORS * VECTOR_BYTES
    for i in range(task.n_segments):
        segment = _segment(task, i, column)
        row = 0
        while row < segment.n_rows and segment.n_rows >= 4:
            # The last block begins before the end, and makes some rows once more.
            row = min(row, segment.n_rows - 4)
            x, out = row_at(segment.x, row), row_at(segment.out, row)
            sums = (a, b, c, a, b, c, a, b, c, a, b, c)
            panel = weights
            for run in range(task.n_runs):
                start, count = F32_BYTES * number_at(task.runs, 2 * run), number_at(task.runs, 2 * run + 1)
                sums = four_rows_times_panel(
                    Panels(task.format, panel, 0, count), Rows(x + start, segment.x.stride), sums
                )
                panel += weights_bytes(task.format, count, PANEL_VECTORS)
            _store_panel(out, left, sums[0], sums[1], sums[2])
            _store_panel(out + segment.out.stride, left, sums[3], sums[4], sums[5])
            _store_panel(out + 2 * segment.out.stride, left, sums[6], sums[7], sums[8])
            _store_panel(out + 3 * segment.out.stride, left, sums[9], sums[10], sums[11])
            row += 4
        while row < segment.n_rows:
            x, out = row_at(segment.x, row), row_at(segment.out, row)
            one = (a, b, c)
            panel = weights
            for run in range(task.n_runs):
                start, count = F32_BYTES * number_at(task.runs, 2 * run), number_at(task.runs, 2 * run + 1)
                one = row_times_panel(Panels(task.format, panel, 0, count), Rows(x + start, 0), one)
                panel += weights_bytes(task.format, count, PANEL_VECTORS)
            _store_panel(out, left, one[0], one[1], one[2])
            row += 1


@kernel
def _store_panel(out, left, a, b, c):
    store(out, 0, a)
    store(out, LANES, b)
    store_first(out + 2 * VECTOR_BYTES, left - 2 * LANES, c)


@kernel
def _contract_vector(task, weights, column, left):
    """16 outputs of every row, or those of them that there are."""
    bias = load(weights, 0)
    weights += VECTOR_BYTES
    for i in range(task.n_segments):
        segment = _segment(task, i, column)
        row = 0
        while row < segment.n_rows and segment.n_rows >= 8:
            row = min(row, segment.n_rows - 8)
            x, out = row_at(segment.x, row), row_at(segment.out, row)
            sums = (bias, bias, bias, bias, bias, bias, bias, bias)
            panel = weights
            for run in range(task.n_runs):
                start, count = F32_BYTES * number_at(task.runs, 2 * run), number_at(task.runs, 2 * run + 1)
                panels = Panels(task.format, panel, 0, count)
                sums = eight_rows_times_vector(panels, Rows(x + start, segment.x.stride), sums)
                panel += weights_bytes(task.format, count, 1)
            _store_rows(out, segment.out.stride, left, sums)
            row += 8
        while row < segment.n_rows:
            x, out = row_at(segment.x, row), row_at(segment.out, row)
            one = (bias,)
            panel = weights
            for run in range(task.n_runs):
                start, count = F32_BYTES * number_at(task.runs, 2 * run), number_at(task.runs, 2 * run + 1)
                one = row_times_vector(Panels(task.format, panel, 0, count), Rows(x + start, 0), one)
                panel += weights_bytes(task.format, count, 1)
            store_first(out, left, one[0])
            row += 1


@kernel
def _store_rows(out, stride, left, sums):
    """The outputs of eight rows."""
    store_first(out, left, sums[0])
    store_first(out + stride, left, sums[1])
    store_first(out + 2 * stride, left, sums[2])
    store_first(out + 3 * stride, left, sums[3])
    store_first(out + 4 * stride, left, sums[4])
    store_first(out + 5 * stride, left, sums[5])
    store_first(out + 6 * stride, left, sums[6])
    store_first(out + 7 * stride, left, sums[7])


@kernel
def run_depthwise(bases, step):
    """``out[r, c] = bias[c] + sum_t weights[t, c] x[r, taps[t] + c]``: channels lie side by side."""
    x_base, out_base = base_at(bases, step, codes.STEP_A_BASE), base_at(bases, step, codes.STEP_OUT_BASE)
    segments, taps = table_at(bases, step, codes.STEP_SEGMENTS), table_at(bases, step, codes.STEP_TABLE)
    n_taps, channels = number_at(step, codes.STEP_N_INPUTS), number_at(step, codes.STEP_SIZE)
    weights = table_at(bases, step, codes.STEP_WEIGHTS)
    padded = (channels + LANES - 1) // LANES * LANES
    for i in range(number_at(step, codes.STEP_N_SEGMENTS)):
        entry = segments + F32_BYTES * codes.SEGMENT_SLOTS * i
        x, out = x_base + F32_BYTES * number_at(entry, 0), out_base + F32_BYTES * number_at(entry, 1)
        x_stride, out_stride = F32_BYTES * number_at(entry, 3), F32_BYTES * number_at(entry, 4)
        for _ in range(number_at(entry, 2)):
            for channel in range(0, channels, LANES):
                total = load(weights, channel)
                for tap in range(n_taps):
                    weight = load(weights, (1 + tap) * padded + channel)
                    total = fma(weight, load(x, number_at(taps, tap) + channel), total)
                store_first(out + F32_BYTES * channel, channels - channel, total)
            x, out = x + x_stride, out + out_stride
