"""Whole sequences in the source's own tensors, states among them: from Python's arrays, and back into them.

Such a tensor lies in memory as the kernels read it, sequence by sequence or timestep by timestep, wherever its axes of
size 1 are. A tensor of states may hold those of several layers, one after the other: each layer's is a port.
"""

from grurt.kernels import codes
from grurt.kernels.checks import first_nonfinite
from grurt.kernels.fields import READABLE, WRITEABLE
from grurt.kernels.options import kernel
from grurt.kernels.plain import are_as_many, bind_array, is_plain, item, size_along
from grurt.kernels.rows import Rows, copy_padded, copy_rows, rows_from
from grurt.kernels.simd import load_f32, load_i64, store_f32, store_i64
from grurt.kernels.sizes import F32_BYTES, I64_BYTES
from grurt.kernels.tables import n_ports, port_slot


@kernel
def bind_tensors(c, x, y):
    """Take a call's tensors from tuples; return NOT_PLAIN if they are not what they are.

    Parameters
    ----------
    c
        The context. It says how many timesteps there are, and how many sequences, if it has streams for them.
    x
        Those that are read, in the source's order; `BY_ADDRESS` in place of a state is the model's own initial one.
    y
        Those that are written. They overlap with no others.
    """
    if not are_as_many(c, x, load_i64(c, codes.CONTEXT_TENSORS_IN)):
        return codes.NOT_PLAIN
    if not are_as_many(c, y, load_i64(c, codes.CONTEXT_TENSORS_OUT)):
        return codes.NOT_PLAIN
    n_inputs = load_i64(c, codes.CONTEXT_N_INPUTS)
    first_state = n_inputs + load_i64(c, codes.CONTEXT_N_OUTPUTS)
    first_final = first_state + load_i64(c, codes.CONTEXT_N_INITIAL)
    for i in range(n_ports(c)):
        port = port_slot(i)
        is_read = i < n_inputs or first_state <= i < first_final
        count = load_i64(c, codes.CONTEXT_TENSORS_IN if is_read else codes.CONTEXT_TENSORS_OUT)
        tensor = item(c, x if is_read else y, load_i64(c, port + codes.PORT_TENSOR), count)
        if is_read and i >= n_inputs and tensor == load_i64(c, codes.CONTEXT_BY_ADDRESS):
            store_i64(c, port + codes.PORT_OBJECT, 0)
        elif _fits(c, port, tensor, READABLE if is_read else WRITEABLE):
            bind_array(c, port, tensor)
        else:
            return codes.NOT_PLAIN
    return codes.OK


@kernel
def _fits(c, port, tensor, flags):
    """Whether an object is an array of a port's dtype and shape."""
    shape = load_i64(c, port + codes.PORT_SHAPE)
    n_axes = load_i64(c, port + codes.PORT_AXES)
    dtype = codes.CONTEXT_INT64 if load_i64(c, port + codes.PORT_IS_TOKENS) else codes.CONTEXT_FLOAT32
    if not is_plain(c, tensor, dtype, n_axes, flags):
        return False
    fits = True
    for axis in range(n_axes):
        fits = fits and size_along(tensor, axis) == _size_in_call(c, load_i64(shape, axis))
    return fits


@kernel
def _size_in_call(c, size):
    if size >= 0:
        return size
    if size == codes.TIMESTEPS:
        return load_i64(c, codes.CONTEXT_N_STEPS)
    return (codes.SEQUENCES + 1 - size) * n_sequences(c)


@kernel
def n_sequences(c):
    """How many sequences a call has."""
    return load_i64(c, codes.CONTEXT_N_STREAMS) if load_i64(c, codes.CONTEXT_STREAMS) else 1


@kernel
def check_initial_states(c):
    """Whether the initial states of a call are finite, where that is asked for."""
    if not load_i64(c, codes.CONTEXT_REFUSE_NONFINITE):
        return codes.OK
    first = load_i64(c, codes.CONTEXT_N_INPUTS) + load_i64(c, codes.CONTEXT_N_OUTPUTS)
    for i in range(first, first + load_i64(c, codes.CONTEXT_N_INITIAL)):
        port = port_slot(i)
        size = n_sequences(c) * load_i64(c, port + codes.PORT_ROWS) * load_i64(c, port + codes.PORT_SIZE)
        if load_i64(c, port + codes.PORT_OBJECT) and first_nonfinite(_in_tensor(c, port, 0).address, size) >= 0:
            return codes.NONFINITE
    return codes.OK


@kernel
def begin_sequences(c):
    """Set the states to that which every call begins from, and to the initial states of this one."""
    stride = load_i64(c, codes.CONTEXT_STATE_STRIDE)
    for sequence in range(n_sequences(c)):
        store_i64(load_i64(c, codes.CONTEXT_STEPS_DONE), sequence, 0)
        copy_padded(load_i64(c, codes.CONTEXT_BEGINNING), load_i64(c, codes.CONTEXT_STATES) + stride * sequence, stride)
    first = load_i64(c, codes.CONTEXT_N_INPUTS) + load_i64(c, codes.CONTEXT_N_OUTPUTS)
    for i in range(first, first + load_i64(c, codes.CONTEXT_N_INITIAL)):
        port = port_slot(i)
        if load_i64(c, port + codes.PORT_OBJECT):
            for sequence in range(n_sequences(c)):
                _copy_state(c, port, sequence, False)


@kernel
def end_sequences(c):
    """Write the final states of a call."""
    end = n_ports(c)
    for i in range(end - load_i64(c, codes.CONTEXT_N_FINAL), end):
        port = port_slot(i)
        for sequence in range(n_sequences(c)):
            _copy_state(c, port, sequence, True)


@kernel
def _copy_state(c, port, sequence, is_final):
    """Copy a state of a sequence from its tensor to where the kernels have it, or a final one from there."""
    tensor, state = _in_tensor(c, port, sequence), _in_states(c, port, sequence)
    if load_i64(c, port + codes.PORT_STATE_AXES):
        _copy_strided(c, port, tensor.address, state.address, is_final)
    else:
        source, target = (state, tensor) if is_final else (tensor, state)
        copy_rows(source, target, load_i64(c, port + codes.PORT_SIZE), load_i64(c, port + codes.PORT_ROWS))


@kernel
def _copy_strided(c, port, tensor, state, is_final):
    """Copy a state, whose axes are not in their order where the kernels have it, from a tensor or to one."""
    axes, n_axes = load_i64(c, port + codes.PORT_STATE), load_i64(c, port + codes.PORT_STATE_AXES)
    strides, steps = axes + I64_BYTES * n_axes, axes + 2 * I64_BYTES * n_axes
    last = n_axes - 1
    size, stride, step = load_i64(axes, last), load_i64(strides, last), load_i64(steps, last)
    for row in range(load_i64(c, port + codes.PORT_ROWS)):
        own = state + F32_BYTES * _first_of_row(axes, strides, last, row)
        given = tensor + F32_BYTES * _first_of_row(axes, steps, last, row)
        if is_final:
            _copy_one_by_one(own, stride, given, step, size)
        else:
            _copy_one_by_one(given, step, own, stride, size)


@kernel
def _copy_one_by_one(source, source_stride, target, target_stride, count):
    for i in range(count):
        store_f32(target, target_stride * i, load_f32(source, source_stride * i))


@kernel
def _first_of_row(axes, strides, last, row):
    """Where the numbers along the last axis begin, of a row that is counted over all axes before it."""
    first = 0
    for axis in range(last - 1, -1, -1):
        size = load_i64(axes, axis)
        first += load_i64(strides, axis) * (row % size)
        row //= size
    return first


@kernel
def _in_tensor(c, port, sequence):
    """A layer's state of a sequence, in the tensor that holds those of all."""
    row = load_i64(c, port + codes.PORT_ROWS) * (n_sequences(c) * load_i64(c, port + codes.PORT_LAYER) + sequence)
    rows = Rows(load_i64(c, port + codes.PORT_ADDRESS), F32_BYTES * load_i64(c, port + codes.PORT_SIZE))
    return rows_from(rows, row)


@kernel
def _in_states(c, port, sequence):
    """A layer's state of a sequence, where the kernels have it."""
    address = load_i64(c, codes.CONTEXT_STATES) + load_i64(c, codes.CONTEXT_STATE_STRIDE) * sequence
    return Rows(address + load_i64(c, port + codes.PORT_VALUE), load_i64(c, port + codes.PORT_STRIDE))
