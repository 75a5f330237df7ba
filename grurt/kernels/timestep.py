"""One timestep of one stream: what `advance` does with a block, without all that one row has no use for.

It is also here in pieces, for programs in which the tables are constants, known to the compiler: `check`, `admit` for
each operation that remembers timesteps, `begin`, `operate` for each operation, and `end` are together a call of one.
"""

from grurt.kernels import codes
from grurt.kernels.checks import check_inputs, check_memory
from grurt.kernels.operations import run_on_timestep
from grurt.kernels.options import inlined_kernel, kernel
from grurt.kernels.rows import copy, read, transpose
from grurt.kernels.simd import load_i64, store_i64
from grurt.kernels.sizes import F32_BYTES, I64_BYTES
from grurt.kernels.tables import is_wanted_once, port_slot, value_rows


@inlined_kernel
def run_timestep(c, timestep, is_last):
    """Run all operations over one of the call's timesteps, perhaps the last, and count it."""
    _read_inputs(c, timestep)
    store_i64(c, codes.CONTEXT_BACKWARD, 1 - load_i64(c, codes.CONTEXT_BACKWARD))
    for i in range(load_i64(c, codes.CONTEXT_N_OPS)):
        run_on_timestep(c, load_i64(c, codes.CONTEXT_OPS) + I64_BYTES * codes.OP_SLOTS * i, timestep, is_last)
    _write_outputs(c, timestep, is_last)
    _count(c)


@kernel
def check(c):
    """Return whether the inputs are what the plan can compute with, as a status of `codes`."""
    return check_inputs(c)


@kernel
def admit(c, op):
    """Return whether the stream may have the timesteps of the call, by an operation that remembers them."""
    return check_memory(c, op)


@kernel
def begin(c):
    """Read the inputs."""
    _read_inputs(c, 0)
    return codes.OK


@kernel
def operate(c, op):
    """Run one operation, whose table is at the address ``op``."""
    run_on_timestep(c, op, 0, False)
    return codes.OK


@kernel
def end(c):
    """Write the outputs, and count the timestep."""
    _write_outputs(c, 0, False)
    _count(c)
    return codes.OK


@inlined_kernel
def _read_inputs(c, timestep):
    for i in range(load_i64(c, codes.CONTEXT_N_INPUTS)):
        port = port_slot(i)
        if not load_i64(c, port + codes.PORT_IS_TOKENS):
            size = load_i64(c, port + codes.PORT_SIZE)
            frame = load_i64(c, port + codes.PORT_ADDRESS) + F32_BYTES * size * timestep
            value = _value(c, port)
            if load_i64(c, port + codes.PORT_TRANSPOSED):
                n_rows = load_i64(c, port + codes.PORT_ROWS)
                transpose(frame, value, n_rows, size // n_rows)
                frame = value
            read(frame, value, size)


@inlined_kernel
def _write_outputs(c, timestep, is_last):
    """Write the outputs; one that is wanted once, in the last timestep."""
    n_inputs = load_i64(c, codes.CONTEXT_N_INPUTS)
    for i in range(n_inputs, n_inputs + load_i64(c, codes.CONTEXT_N_OUTPUTS)):
        port = port_slot(i)
        size = load_i64(c, port + codes.PORT_SIZE)
        frame = load_i64(c, port + codes.PORT_ADDRESS)
        if not is_wanted_once(c, port):
            frame += F32_BYTES * size * timestep
        elif not is_last:
            continue
        if load_i64(c, port + codes.PORT_TRANSPOSED):
            n_rows = load_i64(c, port + codes.PORT_ROWS)
            transpose(_value(c, port), frame, size // n_rows, n_rows)
        else:
            copy(_value(c, port), frame, size)


@kernel
def _value(c, port):
    """The address of a port's row in scratch memory."""
    return value_rows(c, load_i64(c, port + codes.PORT_VALUE), 0).address


@kernel
def _count(c):
    steps_done = load_i64(c, codes.CONTEXT_STEPS_DONE)
    store_i64(steps_done, 0, load_i64(steps_done, 0) + 1)
