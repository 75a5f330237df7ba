"""The way from Python into the kernels, with nothing in between.

Numba's conversion of an array argument costs more than a small network's arithmetic, and does not check the dtype. So
the entry point takes its arguments as bare Python objects, and reads the fields of a NumPy array where NumPy's C ABI
puts them (see `fields`). What is not exactly the array that the kernels want is left to Python, by the status
NOT_PLAIN.
"""

from grurt.kernels import codes
from grurt.kernels.advance import run
from grurt.kernels.fields import BASE, DATA, DIMENSIONS, DTYPE, FLAGS, N_DIMENSIONS, READABLE, TYPE, WRITEABLE
from grurt.kernels.objects import acquire_gil, address_of, entered_address, hold, let_go, release_gil
from grurt.kernels.options import kernel
from grurt.kernels.simd import load_i32, load_i64, store_i64
from grurt.kernels.sizes import F32_BYTES
from grurt.kernels.tables import timesteps_of_call


def advance(context, x, y, streams):
    """Run some timesteps; return a status (see `codes`).

    Parameters
    ----------
    context
        The context array: see `codes`. It is not checked.
    x, y
        For a model with one input, of features, and one output: these. If they are not plain NumPy arrays, float32,
        contiguous, aligned, of the shapes below, with two axes for a frame that has two, and y writeable, the status is
        NOT_PLAIN. `BY_ADDRESS`: the context
        says where inputs and outputs are, how many timesteps, and which streams; with None as y, the inputs are only
        checked.
    streams
        `BY_ADDRESS`: x and y are one timestep of stream 0, ``(input_size,)`` and ``(output_size,)``. Otherwise a plain
        array of streams, int64 ``(n_streams,)``: then they are one timestep of each, ``(n_streams, input_size)`` and
        ``(n_streams, output_size)``, or a block of timesteps, ``(n_streams, n_steps, ...)``, and do not overlap.

    It is called with the GIL, and lets go of it while it runs, unless that takes less than some microseconds. Fields of
    arrays are read before, once, and their memory is held: it stays, whatever other threads do to them.

    A second thread in the same context is turned away with the status BUSY, before it touches anything: see
    `entered_address`. Who has claimed the context (see `fastcall`) goes on where it hands in nothing, or leads a team.
    """
    entered = entered_address(context)
    was = entered & codes.BUSY_BITS
    c = entered - was
    x_address = address_of(x)
    by_address = x_address == load_i64(c, codes.CONTEXT_BY_ADDRESS)
    if was == codes.ENTERED:
        return codes.BUSY
    if was == codes.CLAIMED and not (by_address or load_i64(c, codes.CONTEXT_PHASE) == codes.LEAD):
        return codes.BUSY
    status = codes.OK
    if not by_address:
        status = _bind(c, x_address, address_of(y), address_of(streams))
    if status == codes.OK:
        releases = not _is_short(c)
        if releases and not by_address:
            _hold(c, x_address, address_of(y), address_of(streams))
        thread_state = release_gil() if releases else 0
        status = run(c, by_address and address_of(y) != x_address)
        if releases:
            acquire_gil(thread_state)
            if status != codes.MEMBERS_SLEEP and status != codes.MEMBERS_WORK:
                _let_go(c)
    store_i64(c, codes.CONTEXT_BUSY, was)
    return status


@kernel
def _hold(c, x, y, streams):
    """Keep the memory of a call's arrays where it is; ``streams`` may be none."""
    store_i64(c, codes.CONTEXT_HELD_X, hold(_owner(c, x)))
    store_i64(c, codes.CONTEXT_HELD_Y, hold(_owner(c, y)))
    if load_i64(c, codes.CONTEXT_STREAMS):
        store_i64(c, codes.CONTEXT_HELD_STREAMS, hold(_owner(c, streams)))


@kernel
def _let_go(c):
    for slot in (codes.CONTEXT_HELD_X, codes.CONTEXT_HELD_Y, codes.CONTEXT_HELD_STREAMS):
        held = load_i64(c, slot)
        store_i64(c, slot, 0)
        let_go(held)


@kernel
def _owner(c, array):
    """The object that the memory of an array belongs to: itself, or the last of those that it is a view of."""
    owner = array
    while load_i64(owner, TYPE // 8) == load_i64(c, codes.CONTEXT_ARRAY_TYPE) and load_i64(owner, BASE // 8):
        owner = load_i64(owner, BASE // 8)
    return owner


@kernel
def _is_short(c):
    """Whether a call takes less time than handing the GIL over and back would, where another thread wants it."""
    if load_i64(c, codes.CONTEXT_TEAM):
        return False
    return timesteps_of_call(c) * load_i64(c, codes.CONTEXT_STEP_WORK) < codes.SHORT_WORK


@kernel
def _bind(c, x, y, streams):
    """Take a call's inputs, outputs and streams from NumPy arrays; return NOT_PLAIN if that is not what they are."""
    if streams == load_i64(c, codes.CONTEXT_BY_ADDRESS):
        n_lead = 0
        store_i64(c, codes.CONTEXT_N_STEPS, 1)
    else:
        if not _is_array(c, streams, codes.CONTEXT_INT64, 1, READABLE):
            return codes.NOT_PLAIN
        n_lead = _bind_streams(c, streams, x)
    first_output = codes.CONTEXT_PORTS + codes.PORT_SLOTS
    if not (_is_port(c, codes.CONTEXT_PORTS, x, n_lead, READABLE) and _is_port(c, first_output, y, n_lead, WRITEABLE)):
        return codes.NOT_PLAIN
    if n_lead > 0 and _overlap(c, codes.CONTEXT_PORTS, first_output):
        return codes.NOT_PLAIN
    return codes.OK


@kernel
def _is_array(c, array, dtype_slot, n_dimensions, flags):
    """Whether an object is an array of a dtype and some dimensions; False wherever the context knows no array type."""
    return (
        load_i64(array, TYPE // 8) == load_i64(c, codes.CONTEXT_ARRAY_TYPE)
        and load_i64(array, DTYPE // 8) == load_i64(c, dtype_slot)
        and load_i32(array, N_DIMENSIONS // 4) == n_dimensions
        and (load_i32(array, FLAGS // 4) & flags) == flags
    )


@kernel
def _bind_streams(c, streams, x):
    """Set the streams, the timesteps and the number of the call, and return how many axes x has before its frame."""
    store_i64(c, codes.CONTEXT_STREAMS, load_i64(streams, DATA // 8))
    store_i64(c, codes.CONTEXT_N_STREAMS, load_i64(load_i64(streams, DIMENSIONS // 8), 0))
    store_i64(c, codes.CONTEXT_CALL, load_i64(c, codes.CONTEXT_CALL) + 1)
    store_i64(c, codes.CONTEXT_N_STEPS, 1)
    frame_axes = 2 if load_i64(c, codes.CONTEXT_PORTS + codes.PORT_FRAME_ROWS) else 1
    if not _is_array(c, x, codes.CONTEXT_FLOAT32, 2 + frame_axes, READABLE):
        return 1
    store_i64(c, codes.CONTEXT_N_STEPS, load_i64(load_i64(x, DIMENSIONS // 8), 1))
    return 2


@kernel
def _is_port(c, port, array, n_lead, flags):
    """Whether an object is an array of a port's frames behind ``n_lead`` axes; if so, set the port's address."""
    frame_rows = load_i64(c, port + codes.PORT_FRAME_ROWS)
    if not _is_array(c, array, codes.CONTEXT_FLOAT32, n_lead + (2 if frame_rows else 1), flags):
        return False
    shape = load_i64(array, DIMENSIONS // 8)
    if n_lead > 0 and load_i64(shape, 0) != load_i64(c, codes.CONTEXT_N_STREAMS):
        return False
    if n_lead > 1 and load_i64(shape, 1) != load_i64(c, codes.CONTEXT_N_STEPS):
        return False
    size = load_i64(c, port + codes.PORT_SIZE)
    if frame_rows:
        if load_i64(shape, n_lead) != frame_rows or frame_rows * load_i64(shape, n_lead + 1) != size:
            return False
    elif load_i64(shape, n_lead) != size:
        return False
    store_i64(c, port + codes.PORT_ADDRESS, load_i64(array, DATA // 8))
    return True


@kernel
def _overlap(c, a, b):
    """Whether the arrays of two ports share memory."""
    rows = load_i64(c, codes.CONTEXT_N_STREAMS) * load_i64(c, codes.CONTEXT_N_STEPS)
    a_begin = load_i64(c, a + codes.PORT_ADDRESS)
    b_begin = load_i64(c, b + codes.PORT_ADDRESS)
    a_end = a_begin + F32_BYTES * rows * load_i64(c, a + codes.PORT_SIZE)
    b_end = b_begin + F32_BYTES * rows * load_i64(c, b + codes.PORT_SIZE)
    return a_begin < b_end and b_begin < a_end
