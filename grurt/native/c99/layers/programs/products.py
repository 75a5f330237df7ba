"""Rows times constant weights, and products of two views."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from grurt.lowering.programs.tables import stride_of
from grurt.lowering.programs.views import offsets
from grurt.native.c99.layers.products import DOTS, ELEMENTS, LEAST_INPUT, loop
from grurt.native.c99.text import literal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.array_types import Array
    from grurt.lowering.programs.steps import Contract, Depthwise, Product
    from grurt.native.c99.layers.programs.routine import Routine


class _Blocks(NamedTuple):
    """A matrix whose outputs fall into groups, each of inputs of its own."""

    values: Array
    """``(groups, outputs, inputs)``."""
    places: NDArray[np.int64]
    """Where the inputs of the first group lie."""
    shift: int
    """How far those of the next group are from them."""


def gathers(step: Contract) -> bool:
    """Return whether the inputs of a row have to be brought together before they become integers."""
    return not _lie_together(_of_all(_blocks(step.weights.values, step.places)))


def _of_all(blocks: _Blocks) -> NDArray[np.int64]:
    """Return where the inputs of all groups lie."""
    return (blocks.places + blocks.shift * np.arange(len(blocks.values))[:, np.newaxis]).ravel()


def _lie_together(places: NDArray[np.int64]) -> bool:
    return np.array_equal(places, places[0] + np.arange(len(places)))


def write_contract(routine: Routine, step: Contract) -> None:
    """Write ``out[r, m] = bias[m] + sum_k weights[m, k] x[r, k]``."""
    write = _of_floats if step.weights.scale is None else _of_integers
    write(routine, step, _blocks(step.weights.values, step.places))


def _of_floats(routine: Routine, step: Contract, blocks: _Blocks) -> None:
    (row, to), wrap_rows = routine.loops(step.rows, step.out_rows)
    groups, outputs, inputs = blocks.values.shape
    group, own, which = _output(routine, groups, outputs)
    (place, k), wrap = routine.loops(blocks.places, np.arange(inputs))
    weights = routine.constant("weight", blocks.values if groups > 1 else blocks.values[0])
    element = ELEMENTS[step.weights.weight_format].format(row=f"{weights}{which}", k=k)
    x = routine.element(step.inputs[0].storage, _joined(row, f"{blocks.shift} * {group}" if group else "", place))
    target = routine.element(step.outputs[0].storage, _joined(to, own), writes=True)
    sums = wrap([f"sum = grurt_fma({element}, {x}, sum);"])
    statements = [f"float sum = {_bias(routine, step.bias, own)};", sums, f"{target} = sum;"]
    routine.add(wrap_rows([_over_outputs((group, groups), (own, outputs), statements)]))


def _of_integers(routine: Routine, step: Contract, blocks: _Blocks) -> None:
    (row, to), wrap_rows = routine.loops(step.rows, step.out_rows)
    groups, outputs, inputs = blocks.values.shape
    size = groups * inputs
    features = routine.features(size)
    places = _of_all(blocks)
    x = step.inputs[0].storage
    gather = []
    if _lie_together(places):
        source = routine.at(x, _joined(row, str(places[0])))
    else:
        (place, k), wrap = routine.loops(places, np.arange(size))
        source = routine.pointer(step.work[0], writes=True)
        gather = [wrap([f"{source}[{k}] = {routine.element(x, _joined(row, place))};"])]
    group, own, which = _output(routine, groups, outputs)
    weights = routine.constant("weight", blocks.values if groups > 1 else blocks.values[0])
    assert step.weights.scale is not None  # noqa: S101 - no file can cause it
    scale = f"{routine.constant('weight_scale', step.weights.scale)}[{own}] * scale"
    q = f"{features} + {inputs} * {group}" if group else features
    dot = f"(float){DOTS['int8']}({weights}{which}, {q}, {inputs})"
    target = routine.element(step.outputs[0].storage, _joined(to, own), writes=True)
    statements = [f"{target} = grurt_fma({dot}, {scale}, {_bias(routine, step.bias, own)});"]
    quantized = f"const float scale = grurt_quantize({source}, {size}, {literal(LEAST_INPUT)}, {features});"
    outer = _over_outputs((group, groups), (own, outputs), statements)
    routine.add(wrap_rows([*gather, quantized, outer]))


def _output(routine: Routine, groups: int, outputs: int) -> tuple[str, str, str]:
    """Return the letter of the group, if there is one, the number of an output, and its row among the weights."""
    group = routine.index() if groups > 1 else ""
    m = routine.index() if outputs > 1 else "0"
    own = _joined(f"{outputs} * {group}" if outputs > 1 else group, m) if group else m
    return group, own, f"[{group}][{m}]" if group else f"[{m}]"


def _over_outputs(group: tuple[str, int], output: tuple[str, int], statements: list[str]) -> str:
    """Put the loops over groups and over their outputs, whose letters are given with how many there are, around."""
    found = statements
    if output[1] > 1:
        found = [loop(output[0].split()[-1], output[1], found)]
    return loop(*group, found) if group[0] else "\n".join(found)


def _bias(routine: Routine, bias: Array, own: str) -> str:
    return f"{routine.constant('bias', bias)}[{own}]" if bias.any() else "0.0f"


def _joined(*parts: str) -> str:
    return " + ".join(part for part in parts if part not in ("", "0")) or "0"


def _blocks(values: Array, places: NDArray[np.int64]) -> _Blocks:
    """Return a matrix by its groups: as many as there are whose inputs have nothing in common, and lie alike."""
    outputs, inputs = values.shape
    is_used = values != 0
    for groups in range(min(outputs, inputs), 1, -1):
        if outputs % groups or inputs % groups:
            continue
        of_groups = is_used.reshape(groups, -1, inputs).any(axis=1)
        if not (of_groups.sum(axis=0) == 1).all() or not (of_groups.sum(axis=1) == inputs // groups).all():
            continue
        columns = np.array([np.flatnonzero(row) for row in of_groups])
        shift = int(places[columns[1, 0]] - places[columns[0, 0]])
        if np.array_equal(places[columns], places[columns[0]] + shift * np.arange(groups)[:, np.newaxis]):
            rows = values.reshape(groups, -1, inputs)
            own = np.stack([rows[group][:, columns[group]] for group in range(groups)])
            return _Blocks(own, places[columns[0]], shift)
    return _Blocks(values[np.newaxis], places, 0)


def write_depthwise(routine: Routine, step: Depthwise) -> None:
    """Write ``out[r, c] = bias[c] + sum_t weights[t, c] x[r, taps[t] + c]``."""
    (row, to), wrap_rows = routine.loops(step.rows, step.out_rows)
    n_taps, channels = step.weights.shape
    c = routine.index() if channels > 1 else "0"
    (place, tap), wrap = routine.loops(step.taps, np.arange(n_taps))
    weight = f"{routine.constant('weight', np.ascontiguousarray(step.weights))}[{tap}][{c}]"
    x = routine.element(step.inputs[0].storage, _joined(row, place, c))
    target = routine.element(step.outputs[0].storage, _joined(to, c), writes=True)
    sums = wrap([f"sum = grurt_fma({weight}, {x}, sum);"])
    statements = [f"float sum = {_bias(routine, step.bias, c)};", sums, f"{target} = sum;"]
    routine.add(wrap_rows([loop(c, channels, statements)] if channels > 1 else statements))


def write_product(routine: Routine, step: Product) -> None:
    """Write ``out[r, n] = sum_k a[r, k] b[r, k, n]``."""
    a, b = step.inputs
    (out,) = step.outputs
    columns, inputs = out.shape[-1], a.shape[-1]
    of_b = np.repeat(offsets([digit for axis in b.axes[:-2] for digit in axis]), out.shape[-2]) + b.offset
    (a_row, b_row, to), wrap_rows = routine.loops(a.rows(), of_b, out.rows())
    n, k = (np.arange(columns), np.arange(inputs))
    out_stride, column_stride = stride_of(out.axes[-1]), stride_of(b.axes[-1])
    (b_column, to_column), wrap_columns = routine.loops(column_stride * n, out_stride * n)
    (a_place, b_place), wrap = routine.loops(stride_of(a.axes[-1]) * k, stride_of(b.axes[-2]) * k)
    x = routine.element(a.storage, _joined(a_row, a_place))
    y = routine.element(b.storage, _joined(b_row, b_column, b_place))
    is_fused = column_stride == 1 and out_stride == 1
    turn = f"sum = grurt_fma({x}, {y}, sum);" if is_fused else f"sum += {x} * {y};"
    target = routine.element(out.storage, _joined(to, to_column), writes=True)
    routine.add(wrap_rows([wrap_columns(["float sum = 0.0f;", wrap([turn]), f"{target} = sum;"])]))
