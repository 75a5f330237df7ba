"""The walk over a program's steps."""

from grurt.kernels import codes
from grurt.kernels.options import kernel
from grurt.kernels.programs.contractions import run_contract, run_depthwise
from grurt.kernels.programs.maps import run_map
from grurt.kernels.programs.records import run_quantize
from grurt.kernels.programs.reductions import run_product, run_reduce, run_row_wise
from grurt.kernels.programs.scans import run_gru, run_lstm, run_rnn
from grurt.kernels.programs.tables import number_at
from grurt.kernels.sizes import F32_BYTES


@kernel
def run_steps(bases, steps, n_steps):
    """Run a program's steps, one after the other."""
    step = steps
    for _ in range(n_steps):
        kind = number_at(step, codes.STEP_KIND)
        if kind == codes.STEP_MAP:
            run_map(bases, step)
        elif kind == codes.STEP_CONTRACT:
            run_contract(bases, step)
        elif kind == codes.STEP_GRU:
            run_gru(bases, step)
        elif kind == codes.STEP_DEPTHWISE:
            run_depthwise(bases, step)
        elif kind == codes.STEP_REDUCE:
            run_reduce(bases, step)
        elif kind == codes.STEP_ROW_WISE:
            run_row_wise(bases, step)
        elif kind == codes.STEP_PRODUCT:
            run_product(bases, step)
        elif kind == codes.STEP_QUANTIZE:
            run_quantize(bases, step)
        elif kind == codes.STEP_LSTM:
            run_lstm(bases, step)
        else:
            run_rnn(bases, step)
        step += F32_BYTES * codes.STEP_SLOTS
