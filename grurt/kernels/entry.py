"""The way from Python into the kernels, with nothing in between.

Numba's conversion of an array argument costs more than a small network's arithmetic, and does not check the dtype. So
the entry point takes its arguments as bare Python objects, and reads the fields of a NumPy array where NumPy's C ABI
puts them (see `fields`). What is not exactly the array that the kernels want is converted, if that is quick (see
`conversion`), and otherwise left to Python, by the status NOT_PLAIN.
"""

from grurt.kernels import codes
from grurt.kernels.advance import run
from grurt.kernels.beams import search
from grurt.kernels.conversion import convert_input
from grurt.kernels.decoding import decode, feed_back
from grurt.kernels.fields import BASE, DATA, N_DIMENSIONS, READABLE, TYPE, WRITEABLE
from grurt.kernels.objects import acquire_gil, address_of, entered_address, hold, integer_at, let_go, release_gil
from grurt.kernels.options import kernel
from grurt.kernels.plain import (
    are_as_many,
    bind_array,
    is_array,
    is_list,
    is_plain,
    item,
    length_of,
    size_along,
    type_of,
)
from grurt.kernels.simd import load_i32, load_i64, store_i64
from grurt.kernels.sizes import F32_BYTES, I64_BYTES
from grurt.kernels.stream_lists import bind_listed_streams
from grurt.kernels.tables import is_wanted_once, n_ports, port_slot, timesteps_of_call
from grurt.kernels.tensors import bind_tensors


def advance(context, x, y, streams):
    """Run some timesteps; return a status (see `codes`).

    Parameters
    ----------
    context
        The context array: see `codes`. It is not checked.
    x, y
        The model's inputs and outputs: of one, that itself, or the array in a tuple; of several a tuple. Outputs are
        plain NumPy arrays, float32, contiguous, aligned, of the shapes below, with the axes of the frame in the place
        of the last one, and writeable. So are inputs, or what `conversion` takes, for no more timesteps in all than
        there is room for. Tokens are int64 arrays without that axis, and one may be a Python integer. Anything else
        makes the status NOT_PLAIN. `BY_ADDRESS`: the context says where inputs and outputs are, how many timesteps,
        and which streams; with None as y, the inputs are only checked.
    streams
        `BY_ADDRESS`: x and y are one timestep of stream 0, ``(input_size,)`` and ``(output_size,)``. None: they are a
        block of timesteps of it, ``(n_steps, ...)``, for which there is room; or, in a context of tensors, tuples of
        the source's own: see `grurt.kernels.tensors`. Otherwise a plain array of streams, int64 ``(n_streams,)``, or a
        list or tuple of as many integers: then they are one timestep of each, ``(n_streams, input_size)`` and
        ``(n_streams, output_size)``, or a block of timesteps, ``(n_streams, n_steps, ...)``. Inputs and outputs do not
        overlap where they are more than one timestep.

    It is called with the GIL, and lets go of it while it runs, unless that takes less than some microseconds. Fields of
    arrays are read before, once, and their memory is held: it stays, whatever other threads do to them.

    A second thread in the same context is turned away with the status BUSY, before it touches anything: see
    `entered_address`. Who has claimed the context (see `fastcall`) goes on where it hands in nothing, or where nobody
    enters but who has.
    """
    entered = entered_address(context)
    was = entered & codes.BUSY_BITS
    c = entered - was
    x_address = address_of(x)
    by_address = x_address == load_i64(c, codes.CONTEXT_BY_ADDRESS)
    if was == codes.ENTERED:
        return codes.BUSY
    if was == codes.CLAIMED and not (by_address or load_i64(c, codes.CONTEXT_ENTERED_CLAIMED)):
        return codes.BUSY
    status = codes.OK
    if not by_address:
        status = _bind(c, x_address, address_of(y), address_of(streams))
    if status == codes.OK:
        releases = not _is_short(c)
        if releases and not by_address:
            _hold(c, address_of(streams))
        thread_state = release_gil() if releases else 0
        status = _run(c, by_address and address_of(y) != x_address)
        if releases:
            acquire_gil(thread_state)
            if status != codes.MEMBERS_SLEEP and status != codes.MEMBERS_WORK:
                _let_go(c)
    store_i64(c, codes.CONTEXT_BUSY, was)
    return status


@kernel
def _run(c, only_checks):
    """Do what the context is for; return a status."""
    phase = load_i64(c, codes.CONTEXT_PHASE)
    if only_checks or phase < codes.DECODE:
        return run(c, only_checks)
    if phase == codes.SEARCH:
        return search(c)
    return decode(c) if phase == codes.DECODE else feed_back(c)


@kernel
def _hold(c, streams):
    """Keep the memory of a call's arrays where it is; ``streams`` may be none."""
    for i in range(n_ports(c)):
        port = port_slot(i)
        array = load_i64(c, port + codes.PORT_OBJECT)
        if array:
            store_i64(c, port + codes.PORT_HELD, hold(_owner(c, array)))
    if load_i64(c, codes.CONTEXT_STREAMS) and type_of(streams) == load_i64(c, codes.CONTEXT_ARRAY_TYPE):
        store_i64(c, codes.CONTEXT_HELD_STREAMS, hold(_owner(c, streams)))


@kernel
def _let_go(c):
    _let_go_of(c, codes.CONTEXT_HELD_STREAMS)
    for i in range(n_ports(c)):
        _let_go_of(c, port_slot(i) + codes.PORT_HELD)


@kernel
def _let_go_of(c, slot):
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
    """Take a call's inputs, outputs and streams from Python objects; return NOT_PLAIN if they are not what they are."""
    if load_i64(c, codes.CONTEXT_TENSORS_IN):
        return bind_tensors(c, x, y)
    n_inputs, n_outputs = load_i64(c, codes.CONTEXT_N_INPUTS), load_i64(c, codes.CONTEXT_N_OUTPUTS)
    if not (are_as_many(c, x, n_inputs) and are_as_many(c, y, n_outputs)):
        return codes.NOT_PLAIN
    n_lead = _bind_lead(c, streams, item(c, x, 0, n_inputs))
    if n_lead < 0:
        return codes.NOT_PLAIN
    for i in range(n_inputs):
        port = port_slot(i)
        array = item(c, x, i, n_inputs)
        if load_i64(c, port + codes.PORT_IS_TOKENS):
            fits = _bind_tokens(c, port, array, n_lead)
        else:
            fits = _bind_frames(c, port, array, n_lead, READABLE)
        if not (fits or _converts(c, i, array, n_lead)):
            return codes.NOT_PLAIN
    for i in range(n_outputs):
        port = port_slot(n_inputs + i)
        if not _bind_frames(c, port, item(c, y, i, n_outputs), 0 if is_wanted_once(c, port) else n_lead, WRITEABLE):
            return codes.NOT_PLAIN
    if n_lead > 0 and _overlap(c):
        return codes.NOT_PLAIN
    return codes.OK


@kernel
def _bind_lead(c, streams, first):
    """Set the streams and timesteps of the call; return how many axes arrays have before their frames, or -1."""
    store_i64(c, codes.CONTEXT_N_STEPS, 1)
    if streams == load_i64(c, codes.CONTEXT_BY_ADDRESS):
        return 0
    if streams == load_i64(c, codes.CONTEXT_NONE):
        n_steps = _steps_of(c, first)
        if not 0 < n_steps <= load_i64(c, codes.CONTEXT_CAPACITY):
            return -1
        store_i64(c, codes.CONTEXT_N_STEPS, n_steps)
        return 1
    if not is_array(c, first):
        return -1
    n_lead = load_i32(first, N_DIMENSIONS // 4) - load_i64(c, port_slot(0) + codes.PORT_AXES)
    if not 0 < n_lead < 3:
        return -1
    if is_plain(c, streams, codes.CONTEXT_INT64, 1, READABLE):
        store_i64(c, codes.CONTEXT_STREAMS, load_i64(streams, DATA // 8))
        store_i64(c, codes.CONTEXT_N_STREAMS, size_along(streams, 0))
    elif not bind_listed_streams(c, streams):
        return -1
    store_i64(c, codes.CONTEXT_CALL, load_i64(c, codes.CONTEXT_CALL) + 1)
    if n_lead == 2:
        store_i64(c, codes.CONTEXT_N_STEPS, size_along(first, 1))
    return n_lead


@kernel
def _steps_of(c, first):
    """The timesteps of a block, from its first input; 0 if that is none."""
    if is_list(c, first):
        return length_of(first)
    if is_array(c, first) and load_i32(first, N_DIMENSIONS // 4) - load_i64(c, port_slot(0) + codes.PORT_AXES) == 1:
        return size_along(first, 0)
    return 0


@kernel
def _has_lead(c, array, n_lead):
    """Whether an array's first axes are the call's streams and timesteps."""
    n_steps = load_i64(c, codes.CONTEXT_N_STEPS)
    if not load_i64(c, codes.CONTEXT_STREAMS):
        return n_lead == 0 or size_along(array, 0) == n_steps
    if size_along(array, 0) != load_i64(c, codes.CONTEXT_N_STREAMS):
        return False
    return n_lead == 1 or size_along(array, 1) == n_steps


@kernel
def _bind_tokens(c, port, tokens, n_lead):
    """Whether an object is as many tokens as the call wants, or one integer for one; if so, set the port's address."""
    if n_lead == 0 and type_of(tokens) == load_i64(c, codes.CONTEXT_INTEGER):
        store_i64(c, port + codes.PORT_OBJECT, 0)
        store_i64(c, port + codes.PORT_TOKEN, integer_at(tokens))
        store_i64(c, port + codes.PORT_ADDRESS, c + I64_BYTES * (port + codes.PORT_TOKEN))
        return True
    if not (is_plain(c, tokens, codes.CONTEXT_INT64, n_lead, READABLE) and _has_lead(c, tokens, n_lead)):
        return False
    bind_array(c, port, tokens)
    return True


@kernel
def _bind_frames(c, port, array, n_lead, flags):
    """Whether an object is an array of a port's frames behind ``n_lead`` axes; if so, set the port's address."""
    if not is_plain(c, array, codes.CONTEXT_FLOAT32, n_lead + load_i64(c, port + codes.PORT_AXES), flags):
        return False
    if not _has_frames(c, port, array, n_lead):
        return False
    bind_array(c, port, array)
    return True


@kernel
def _has_frames(c, port, array, n_lead):
    """Whether an array of the right number of axes has the sizes of a port's frames."""
    if not _has_lead(c, array, n_lead):
        return False
    shape = load_i64(c, port + codes.PORT_SHAPE)
    if not shape:
        return size_along(array, n_lead) == load_i64(c, port + codes.PORT_SIZE)
    for axis in range(load_i64(c, port + codes.PORT_AXES)):
        if size_along(array, n_lead + axis) != load_i64(shape, axis):
            return False
    return True


@kernel
def _converts(c, i, x, n_lead):
    """Whether what is not plain can be converted on the spot; if so, set the port's address."""
    port = port_slot(i)
    if load_i64(c, port + codes.PORT_IS_TOKENS):  # whose arrays may have no axes, and no place where sizes are
        return False
    if is_array(c, x):
        n_axes = n_lead + load_i64(c, port + codes.PORT_AXES)
        if load_i32(x, N_DIMENSIONS // 4) != n_axes or not _has_frames(c, port, x, n_lead):
            return False
    return convert_input(c, i, x, n_lead)


@kernel
def _overlap(c):
    """Whether an output shares memory with another array of the call."""
    n_inputs = load_i64(c, codes.CONTEXT_N_INPUTS)
    n_ports = n_inputs + load_i64(c, codes.CONTEXT_N_OUTPUTS)
    for i in range(n_inputs, n_ports):
        begin, end = _extent(c, port_slot(i))
        for k in range(i):
            other_begin, other_end = _extent(c, port_slot(k))
            if begin < other_end and other_begin < end:
                return True
    return False


@kernel
def _extent(c, port):
    """The addresses where the array of a port begins and ends."""
    begin = load_i64(c, port + codes.PORT_ADDRESS)
    rows = 1 if is_wanted_once(c, port) else timesteps_of_call(c)
    if load_i64(c, port + codes.PORT_IS_TOKENS):
        return begin, begin + I64_BYTES * rows
    return begin, begin + F32_BYTES * rows * load_i64(c, port + codes.PORT_SIZE)
