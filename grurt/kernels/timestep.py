"""One timestep of one stream, in pieces: for programs in which the plan's tables are constants, known to the compiler.

Called one after the other, with the operations in between, they do what `advance.run` does in one timestep.
"""

from grurt.kernels import codes
from grurt.kernels.checks import check_inputs
from grurt.kernels.operations import run_operation
from grurt.kernels.options import kernel
from grurt.kernels.simd import load_i64, store_i64
from grurt.kernels.tables import Block
from grurt.kernels.transfers import read_inputs, write_outputs


@kernel
def check(c):
    """Return whether the inputs are what the plan can compute with, as a status of `codes`."""
    return check_inputs(c)


@kernel
def begin(c):
    """Read the inputs."""
    read_inputs(c, Block(0, 1, 1, False, 0))
    return codes.OK


@kernel
def operate(c, op):
    """Run one operation, whose table is at the address ``op``."""
    run_operation(c, op, Block(0, 1, 1, False, 0))
    return codes.OK


@kernel
def end(c):
    """Write the outputs, and count the timestep."""
    write_outputs(c, Block(0, 1, 1, False, 0))
    steps_done = load_i64(c, codes.CONTEXT_STEPS_DONE)
    store_i64(steps_done, 0, load_i64(steps_done, 0) + 1)
    return codes.OK
