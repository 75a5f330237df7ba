"""Rows of features as records of bytes, for contractions with integer weights: see `grurt.kernels.quantize`."""

from grurt.kernels import codes
from grurt.kernels.options import kernel
from grurt.kernels.programs.tables import arena_at, base_at, number_at, table_at
from grurt.kernels.quantize import LEAST_INPUT, quantize_rows
from grurt.kernels.rows import Rows, copy, row_at
from grurt.kernels.sizes import F32_BYTES


@kernel
def run_quantize(bases, step):
    """``out[r] = record of x[r, k]``: the inputs k of a row are in runs, and brought together unless there is one."""
    x_base, out_base = base_at(bases, step, codes.STEP_A_BASE), base_at(bases, step, codes.STEP_OUT_BASE)
    segments, runs = table_at(bases, step, codes.STEP_SEGMENTS), table_at(bases, step, codes.STEP_TABLE)
    n_runs, n_inputs = number_at(step, codes.STEP_N_TABLE), number_at(step, codes.STEP_N_INPUTS)
    gathered = arena_at(bases, step, codes.STEP_WORK)
    for i in range(number_at(step, codes.STEP_N_SEGMENTS)):
        entry = segments + F32_BYTES * codes.SEGMENT_SLOTS * i
        x = Rows(x_base + F32_BYTES * number_at(entry, 0), F32_BYTES * number_at(entry, 3))
        records = Rows(out_base + F32_BYTES * number_at(entry, 1), F32_BYTES * number_at(entry, 4))
        n_rows = number_at(entry, 2)
        if n_runs == 1:
            first = Rows(x.address + F32_BYTES * number_at(runs, 0), x.stride)
            quantize_rows(first, n_inputs, LEAST_INPUT, records, n_rows)
        for row in range(n_rows if n_runs > 1 else 0):
            _gather(row_at(x, row), runs, n_runs, gathered)
            quantize_rows(Rows(gathered, 0), n_inputs, LEAST_INPUT, Rows(row_at(records, row), 0), 1)


@kernel
def _gather(x, runs, n_runs, out):
    """Copy the runs of a row, one behind the other."""
    for run in range(n_runs):
        count = number_at(runs, 2 * run + 1)
        copy(x + F32_BYTES * number_at(runs, 2 * run), out, count)
        out += F32_BYTES * count
