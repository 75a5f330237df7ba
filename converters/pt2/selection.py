"""Operators that select a part of a tensor, or put its parts in another order."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from grurt.converters.pt2.emitter import Emitter
from grurt.converters.pt2.handlers import translates
from grurt.converters.pt2.program import Call

MAX_PARTS = 4096

_END = 2**63 - 1
"""Where a slice ends that has no end."""


@translates("select")
def select(call: Call, em: Emitter) -> None:
    """Translate select: one position of an axis."""
    position = em.constant(_number(call, "index"), np.int64)
    em.emit("Gather", em.required("self"), position, into=call.outputs[0], axis=call.arguments["dim"])


@translates("select_scatter")
def select_scatter(call: Call, em: Emitter) -> None:
    """Translate select_scatter: a tensor with another one in place of one position of an axis."""
    x = em.required("self")
    axis, shape, index = em.axis(x, call.arguments["dim"]), em.shape(x), _number(call, "index")
    sizes = [size for size in shape if isinstance(size, int)]
    if len(sizes) < len(shape) or not -sizes[axis] <= index < sizes[axis]:
        raise call.unsupported(
            "it writes into a tensor of open size", "collect what a loop gives in a list, and stack it"
        )
    position = np.broadcast_to(np.int64(index % sizes[axis]), (*sizes[:axis], 1, *sizes[axis + 1 :]))
    part = em.emit("Unsqueeze", em.required("src"), axes=(axis,))
    em.emit("ScatterElements", x, em.constant(position, np.int64), part, into=call.outputs[0], axis=axis)


@translates("copy")
def copy(call: Call, em: Emitter) -> None:
    """Translate copy: what is written over another tensor, of the same shape."""
    source = em.required("src")
    if em.shape(source) != em.shape(em.required("self")):
        raise call.unsupported("it repeats what it writes over another tensor", "write a tensor of the same shape")
    em.emit("Identity", source, into=call.outputs[0])


@translates("slice")
def slice_(call: Call, em: Emitter) -> None:
    """Translate slice; of everything, as ``x[:, :8]`` begins, it is the same."""
    if call.get("start", 0) in (None, 0) and call.get("end", None) in (None, _END) and call.get("step", 1) == 1:
        em.emit("Identity", em.required("self"), into=call.outputs[0])
        return
    bounds = [_bound(call, em, "start", 0), _bound(call, em, "end", _END)]
    axis = em.constant([call.get("dim", 0)], np.int64)
    step = em.constant([call.get("step", 1)], np.int64)
    em.emit("Slice", em.required("self"), *bounds, axis, step, into=call.outputs[0])


@translates("flip")
def flip(call: Call, em: Emitter) -> None:
    """Translate flip: axes from their end to their beginning."""
    x = em.required("self")
    axes = [em.axis(x, axis) for axis in call.arguments["dims"]]
    bounds = [em.constant([bound] * len(axes), np.int64) for bound in (-1, -(2**63))]
    steps = em.constant([-1] * len(axes), np.int64)
    em.emit("Slice", x, *bounds, em.constant(axes, np.int64), steps, into=call.outputs[0])


def _bound(call: Call, em: Emitter, name: str, default: int) -> str:
    value = call.get(name)
    return em.sizes([default if value is None else value])


def _number(call: Call, name: str) -> int:
    value = call.arguments[name]
    if not isinstance(value, int):
        raise call.unsupported(f"its argument {name!r} depends on the inputs' sizes", "use a number")
    return value


@translates("split", "split_with_sizes", "chunk", "unbind", "tensor_split")
def split(call: Call, em: Emitter) -> None:
    """Translate split and its kin."""
    x = em.required("self")
    axis = em.axis(x, call.get("dim", 0))
    size = em.shape(x)[axis]
    sizes = call.get("split_sizes", call.get("split_size"))
    if call.op == "tensor_split" and isinstance(size, int):
        sizes = _sizes_between(call, size)
    if not isinstance(sizes, list) and isinstance(size, int):
        step = {"chunk": -(-size // max(call.get("chunks", 1), 1)), "unbind": 1}.get(call.op, sizes)
        count = -(-size // max(step, 1))
        if count > MAX_PARTS:
            raise call.unsupported(f"it splits into {count} parts", f"at most {MAX_PARTS} are supported")
        if count != len(call.outputs):
            raise call.unsupported(f"it splits into {count} parts for {len(call.outputs)} outputs", "export it again")
        sizes = [min(step, size - start) for start in range(0, size, max(step, 1))]
    if not isinstance(sizes, list) or any(not isinstance(part, int) for part in sizes):
        raise call.unsupported("it splits an axis of open size", "whole sequences must be kept")
    parts = [em.fresh() for _ in call.outputs] if call.op == "unbind" else list(call.outputs)
    em.emit("Split", x, em.constant(sizes, np.int64), into=parts, axis=axis)
    for part, output in zip(parts, call.outputs, strict=True):
        if part != output:
            em.emit("Squeeze", part, into=output, axes=(axis,))


def _sizes_between(call: Call, size: int) -> list[int]:
    """Return the sizes of the parts of an axis that tensor_split makes: as many, or between the places given."""
    places = call.get("indices")
    if places is None:
        sections = call.arguments["sections"]
        if not 0 < sections <= MAX_PARTS:
            raise call.unsupported(f"it splits into {sections} parts", f"at most {MAX_PARTS} are supported")
        return [size // sections + (index < size % sections) for index in range(sections)]
    bounds = [0, *(range(size)[:place].stop for place in places), size]
    return [stop - start for start, stop in pairwise(bounds)]


@translates("narrow")
def narrow(call: Call, em: Emitter) -> None:
    """Translate narrow: positions of an axis from a first one on."""
    start, length = _number(call, "start"), _number(call, "length")
    size = em.shape(em.required("self"))[em.axis(em.required("self"), call.arguments["dim"])]
    if start < 0 and not isinstance(size, int):
        raise call.unsupported("it counts from the end of an axis of open size", "use a slice")
    start = start + size if start < 0 else start  # type: ignore[operator]
    bounds = [em.constant([bound], np.int64) for bound in (start, start + length, call.arguments["dim"])]
    em.emit("Slice", em.required("self"), *bounds, into=call.outputs[0])


@translates("index_select")
def index_select(call: Call, em: Emitter) -> None:
    """Translate index_select: positions of an axis."""
    x = em.required("self")
    em.emit("Gather", x, em.required("index"), into=call.outputs[0], axis=em.axis(x, call.arguments["dim"]))


@translates("roll")
def roll(call: Call, em: Emitter) -> None:
    """Translate roll: positions of an axis moved on, those at its end to its beginning."""
    x, dims = em.required("self"), call.get("dims") or []
    if not dims:
        raise call.unsupported("it rolls all axes as one", "roll the features, with dims=-1")
    for shift, dim in zip(call.arguments["shifts"], dims, strict=True):
        axis = em.axis(x if x in em.constants else em.required("self"), dim)
        at = em.constant([-shift], np.int64)
        end, start, axes = (em.constant([number], np.int64) for number in (2**63 - 1, 0, axis))
        x = em.emit("Concat", em.emit("Slice", x, at, end, axes), em.emit("Slice", x, start, at, axes), axis=axis)
    em.emit("Identity", x, into=call.outputs[0])


@translates("repeat_interleave")
def repeat_interleave(call: Call, em: Emitter) -> None:
    """Translate repeat_interleave: each position of an axis as often."""
    x, repeats, dim = em.required("self"), call.get("repeats"), call.get("dim")
    size = em.shape(x)[em.axis(x, dim)] if isinstance(dim, int) else None
    if not isinstance(size, int) or not isinstance(repeats, int) or not 0 < size * repeats <= MAX_PARTS:
        raise call.unsupported("it repeats something else than the features", "repeat each as often, with dim=-1")
    places = em.constant(np.repeat(np.arange(size), repeats), np.int64)
    em.emit("Gather", x, places, into=call.outputs[0], axis=em.axis(x, dim))


@translates("unfold")
def unfold(call: Call, em: Emitter) -> None:
    """Translate unfold: windows of an axis, whose numbers lie along a new last one."""
    x, size, step = em.required("self"), call.arguments["size"], call.arguments["step"]
    axis = em.axis(x, call.arguments["dimension"])
    extent = em.shape(x)[axis]
    if not isinstance(extent, int) or not 0 < size <= extent <= MAX_PARTS:
        raise call.unsupported("it cuts windows out of an axis of open size", "cut them out of the features")
    last = (extent - size) // max(step, 1) * step
    numbers = em.constant([axis], np.int64), em.constant([step], np.int64)
    parts = []
    for offset in range(size):
        bounds = (em.constant([bound], np.int64) for bound in (offset, offset + last + 1))
        parts.append(em.emit("Unsqueeze", em.emit("Slice", x, *bounds, *numbers), axes=(em.rank(x),)))
    em.emit("Concat", *parts, into=call.outputs[0], axis=em.rank(x))


@translates("index_fill")
def index_fill(call: Call, em: Emitter) -> None:
    """Translate index_fill: a number at some places of the last axis."""
    x, size = em.required("self"), em.shape(em.required("self"))[-1]
    if em.axis(x, call.arguments["dim"]) != em.rank(x) - 1 or not isinstance(size, int) or size > MAX_PARTS:
        raise call.unsupported("it fills another axis than that of the features", "fill features, with dim=-1")
    places = np.isin(np.arange(size), em.array(em.required("index")))
    em.emit("Where", em.constant(places, np.bool_), em.operand("value"), x, into=call.outputs[0])
