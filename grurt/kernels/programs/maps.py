"""Functions of every number of one, two or three views."""

from typing import NamedTuple

from grurt.kernels import codes
from grurt.kernels.combining import of_two
from grurt.kernels.functions import apply
from grurt.kernels.mathematics import apply_mathematics
from grurt.kernels.options import kernel
from grurt.kernels.programs.tables import base_at, number_at, row_of, store_first, table_at, temporary_at
from grurt.kernels.rows import flush
from grurt.kernels.simd import load, load_f32, select_equal, select_less, splat, store, store_f32
from grurt.kernels.sizes import F32_BYTES, VECTOR_BYTES
from grurt.lanes import LANES


class Operand(NamedTuple):
    """Numbers of a row: the first one's address, and how many float32 apart they are."""

    address: int
    stride: int


@kernel
def run_map(bases, step):
    """``out[i] = f(a[i], b[i], c[i])``, row by row."""
    code, size = number_at(step, codes.STEP_CODE), number_at(step, codes.STEP_SIZE)
    parameters = table_at(bases, step, codes.STEP_WEIGHTS)
    out_base, a_base = base_at(bases, step, codes.STEP_OUT_BASE), base_at(bases, step, codes.STEP_A_BASE)
    out_rows, a_rows = table_at(bases, step, codes.STEP_OUT_ROWS), table_at(bases, step, codes.STEP_A_ROWS)
    out_stride, a_stride = number_at(step, codes.STEP_OUT_STRIDE), number_at(step, codes.STEP_A_STRIDE)
    n_rows = number_at(step, codes.STEP_N_ROWS)
    if code == codes.MAP_COPY:
        for row in range(n_rows):
            out = Operand(out_base + row_of(out_rows, row), out_stride)
            _copy(out, Operand(a_base + row_of(a_rows, row), a_stride), size)
        return
    b_base, c_base = base_at(bases, step, codes.STEP_B_BASE), base_at(bases, step, codes.STEP_C_BASE)
    b_rows, c_rows = table_at(bases, step, codes.STEP_B_ROWS), table_at(bases, step, codes.STEP_C_ROWS)
    b_stride, c_stride = number_at(step, codes.STEP_B_STRIDE), number_at(step, codes.STEP_C_STRIDE)
    are_dense = out_stride == 1 and (a_stride | b_stride | c_stride) >> 1 == 0
    for row in range(n_rows):
        out = Operand(out_base + row_of(out_rows, row), out_stride)
        a = Operand(a_base + row_of(a_rows, row), a_stride)
        b = Operand(b_base + row_of(b_rows, row), b_stride)
        c = Operand(c_base + row_of(c_rows, row), c_stride)
        if not are_dense:
            _map_strided(code, parameters, out, a, b, c, size, temporary_at(bases))
        elif code == codes.MAP_ADD:
            _add(out.address, a, b, size)
        elif code == codes.MAP_MUL:
            _mul(out.address, a, b, size)
        elif code == codes.MAP_BINARY + codes.SUB:
            _sub(out.address, a, b, size)
        else:
            _map_dense(code, parameters, out.address, a, b, c, size)


@kernel
def _copy(out, a, size):
    """A row of a copy."""
    if out.stride != 1 or a.stride >> 1:
        for i in range(size):
            store_f32(out.address, out.stride * i, load_f32(a.address, a.stride * i))
        return
    i = 0
    if a.stride:
        while i + LANES <= size:
            store(out.address, i, load(a.address, i))
            i += LANES
    while i < size:
        store_first(out.address + F32_BYTES * i, size - i, _at(a, i))
        i += LANES


def _dense_loop(combine):
    """Return the loop over a row whose numbers lie side by side; those of an input may also be one and the same."""

    @kernel
    def loop(out, a, b, size):
        i = 0
        if a.stride & b.stride:
            while i + LANES <= size:
                store(out, i, combine(load(a.address, i), load(b.address, i)))
                i += LANES
        while i < size:
            store_first(out + F32_BYTES * i, size - i, combine(_at(a, i), _at(b, i)))
            i += LANES

    return loop


@kernel
def _sum_of_two(a, b):
    return a + b


@kernel
def _product_of_two(a, b):
    return a * b


@kernel
def _difference_of_two(a, b):
    return a - b


@kernel
def _at(x, i):
    """The next numbers of an operand, from the one with number i on."""
    if x.stride:
        return load(x.address, i)
    return splat(load_f32(x.address, 0))


_add, _mul, _sub = map(_dense_loop, (_sum_of_two, _product_of_two, _difference_of_two))


@kernel
def _map_dense(code, parameters, out, a, b, c, size):
    """A row of any function whose numbers lie side by side; those of an input may also be one and the same."""
    for i in range(0, size, LANES):
        value = _evaluate(code, parameters, _at(a, i), _at(b, i), _at(c, i))
        store_first(out + F32_BYTES * i, size - i, value)


@kernel
def _map_strided(code, parameters, out, a, b, c, size, temporary):
    """A row whose numbers lie apart: brought together, sixteen at a time, in temporary memory."""
    for i in range(0, size, LANES):
        count = min(LANES, size - i)
        x = _gathered(a, i, count, temporary)
        y = _gathered(b, i, count, temporary + VECTOR_BYTES)
        z = _gathered(c, i, count, temporary + 2 * VECTOR_BYTES)
        value = _evaluate(code, parameters, x, y, z)
        if out.stride == 1:
            store_first(out.address + F32_BYTES * i, count, value)
        else:
            store(temporary, 0, value)
            for k in range(count):
                store_f32(out.address, out.stride * (i + k), load_f32(temporary, k))


@kernel
def _gathered(x, i, count, temporary):
    """The next numbers of an operand, which may lie apart; what is behind the last is not specified."""
    if x.stride >> 1 == 0:
        return _at(x, i)
    for k in range(count):
        store_f32(temporary, k, load_f32(x.address, x.stride * (i + k)))
    return load(temporary, 0)


@kernel
def _evaluate(code, parameters, a, b, c):
    """``f(a, b, c)`` for a code of a function, of an operation on two numbers, or of a map."""
    if code == codes.MAP_ADD:
        return a + b
    if code == codes.MAP_MUL:
        return a * b
    if code == codes.MAP_FLUSH:
        return flush(a)
    if code == codes.MAP_WHERE:
        return select_equal(a, splat(0.0), c, b)
    if code == codes.MAP_PRELU:
        return select_less(a, splat(0.0), a * b, a)
    if code >= codes.MAP_BINARY:
        return of_two(code - codes.MAP_BINARY, a, b)
    if code <= codes.CLIP:
        return apply(code, parameters, a)
    return apply_mathematics(code, parameters, a)
