"""Programs before they are lowered: padding that operators do by themselves becomes an operator of its own.

What a value is padded with lies around it in memory, then, and whoever computes the value writes it where it belongs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from grurt.network import operators as op

if TYPE_CHECKING:
    from grurt.network.operators.base import Shape

PADDED = "\0padded "
"""What the names of values begin with that rewriting adds: no name of a model has such a character."""


def add_shapes(shapes: dict[str, Shape], operators: Iterable[op.Operator]) -> None:
    """Add the shapes of those values that operators write which are not yet known."""
    for operator in operators:
        if any(name and name not in shapes for name in operator.outputs):
            written = operator.shapes(*(shapes[name] for name in operator.inputs))
            shapes |= {name: shape for name, shape in zip(operator.outputs, written, strict=True) if name}


def with_padding(operators: Iterable[op.Operator], shapes: Mapping[str, Shape]) -> Iterator[op.Operator]:
    """Yield operators, in front of each that pads what it reads one that does so.

    A convolution is without padding then; of a transposed one, the padding is what `reach` says, and it is still to be
    known from its ``before`` and ``after``.
    """
    for operator in operators:
        x = shapes[operator.inputs[0]]
        if isinstance(operator, op.Conv):
            before, after = operator.before, operator.after
            none = (0,) * len(before)
            operator = replace(operator, before=none, after=none)
        elif isinstance(operator, op.ConvTranspose):
            before, after = reach(operator, x, shapes[operator.inputs[1]], shapes[operator.outputs[0]])
        else:
            yield operator
            continue
        if any(before + after):
            name = PADDED + operator.outputs[0]
            yield op.Pad(inputs=operator.inputs[:1], outputs=(name,), before=(0, 0, *before), after=(0, 0, *after))
            operator = replace(operator, inputs=(name, *operator.inputs[1:]))
        yield operator


def reach(operator: op.ConvTranspose, x: Shape, weight: Shape, out: Shape) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return how far a transposed convolution reads beyond its input, before and behind it, along each axis.

    The place o of the output is a sum over those taps a for which ``o + before - a * dilation`` is a place of the input
    times the stride.
    """
    reached = []
    for axis, (size, n_taps, n_places) in enumerate(zip(x[2:], weight[2:], out[2:], strict=True)):
        stride, dilation, before = operator.strides[axis], operator.dilations[axis], operator.before[axis]
        first = -(((n_taps - 1) * dilation - before) // stride)
        last = (n_places - 1 + before) // stride
        reached.append((max(0, -first), max(0, last - (size - 1))))
    return tuple(before for before, _ in reached), tuple(after for _, after in reached)
