"""Operators that move or select data, and those that make constants."""

from __future__ import annotations

import numpy as np

from grurt.array_types import Array
from grurt.converters.pt2.emitter import Emitter, Size
from grurt.converters.pt2.handlers import translates
from grurt.converters.pt2.program import Call, Ref
from grurt.converters.pt2.scalar_types import DTYPES, element_of, is_integer
from grurt.errors import DesignReason

MAX_PARTS = 4096


@translates("clone", "contiguous", "detach", "alias", "lift_fresh_copy", "lift_fresh")
def identity(call: Call, em: Emitter) -> None:
    """Translate what only copies."""
    x = em.tensor("self") or em.required("input")
    if x in em.constants:
        em.constants[call.outputs[0]] = em.constants[x]
        return
    em.emit("Identity", x, into=call.outputs[0])


@translates("dropout", "feature_dropout", "alpha_dropout")
def dropout(call: Call, em: Emitter) -> None:
    """Translate dropout, which does nothing in evaluation."""
    if call.get("train") and call.get("p", 0.5) > 0:
        raise call.unsupported(
            "it drops values at random", "call model.eval() before the export", DesignReason.TRAINING
        )
    identity(call, em)


@translates("to", "_to_copy")
def cast(call: Call, em: Emitter) -> None:
    """Translate conversions; those to another device or memory layout change nothing."""
    x, dtype = em.required("self"), call.get("dtype")
    if dtype is None:
        em.emit("Identity", x, into=call.outputs[0])
        return
    if dtype not in DTYPES:
        raise call.unsupported(f"it converts to the dtype number {dtype}", "compute in float32")
    em.emit("Cast", x, into=call.outputs[0], to=int(element_of(dtype)))


@translates("transpose", "permute", "t", "numpy_T")
def permute(call: Call, em: Emitter) -> None:
    """Translate permute, transpose and t; constants at once."""
    x = em.required("self")
    if call.op == "permute":
        perm = [em.axis(x, axis) for axis in call.arguments["dims"]]
    else:
        perm = list(range(em.rank(x)))
        first, second = (call.get("dim0", 0), call.get("dim1", 1)) if call.op == "transpose" else (0, -1)
        if perm:
            first, second = em.axis(x, first), em.axis(x, second)
            perm[first], perm[second] = perm[second], perm[first]
    if x in em.constants and len(perm) == em.constants[x].ndim and sorted(perm) == list(range(len(perm))):
        em.constants[call.outputs[0]] = em.constants[x].transpose(perm)
    else:
        em.emit("Transpose", x, into=call.outputs[0], perm=tuple(perm))


@translates("view", "reshape", "_unsafe_view", "_reshape_copy")
def reshape(call: Call, em: Emitter) -> None:
    """Translate view and reshape."""
    sizes: list[Size] = call.get("size") or call.get("shape") or []
    em.emit("Reshape", em.required("self"), em.sizes(sizes), into=call.outputs[0], allowzero=1)


@translates("flatten")
def flatten(call: Call, em: Emitter) -> None:
    """Translate flatten: axes from one to another become one."""
    x = em.required("self")
    start, end = em.axis(x, call.get("start_dim", 0)), em.axis(x, call.get("end_dim", -1))
    after = [em.size(x, axis) for axis in range(end + 1, em.rank(x))]
    before: list[Size] = [em.size(x, axis) for axis in range(start)]
    em.emit("Reshape", x, em.sizes([*before, -1, *after]), into=call.outputs[0])


@translates("unflatten")
def unflatten(call: Call, em: Emitter) -> None:
    """Translate unflatten: one axis becomes several."""
    x = em.required("self")
    axis = em.axis(x, call.arguments["dim"])
    sizes = [em.size(x, index) for index in range(em.rank(x))]
    em.emit("Reshape", x, em.sizes([*sizes[:axis], *call.arguments["sizes"], *sizes[axis + 1 :]]), into=call.outputs[0])


@translates("squeeze")
def squeeze(call: Call, em: Emitter) -> None:
    """Translate squeeze: torch leaves axes alone that are not of size 1."""
    x, dims = em.required("self"), call.get("dim")
    given = range(em.rank(x)) if dims is None else [dims] if isinstance(dims, int) else dims
    axes = tuple(axis for axis in (em.axis(x, dim) for dim in given) if em.shape(x)[axis] == 1)
    if axes:
        em.emit("Squeeze", x, into=call.outputs[0], axes=axes)
    else:
        em.emit("Identity", x, into=call.outputs[0])


@translates("unsqueeze")
def unsqueeze(call: Call, em: Emitter) -> None:
    """Translate unsqueeze."""
    em.emit("Unsqueeze", em.required("self"), into=call.outputs[0], axes=(call.arguments["dim"],))


@translates("select")
def select(call: Call, em: Emitter) -> None:
    """Translate select: one position of an axis."""
    position = em.constant(_number(call, "index"), np.int64)
    em.emit("Gather", em.required("self"), position, into=call.outputs[0], axis=call.arguments["dim"])


@translates("slice")
def slice_(call: Call, em: Emitter) -> None:
    """Translate slice."""
    bounds = [_bound(call, em, "start", 0), _bound(call, em, "end", 2**63 - 1)]
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


@translates("split", "split_with_sizes", "chunk", "unbind")
def split(call: Call, em: Emitter) -> None:
    """Translate split, chunk and unbind."""
    x = em.required("self")
    axis = em.axis(x, call.get("dim", 0))
    size = em.shape(x)[axis]
    sizes = call.get("split_sizes", call.get("split_size"))
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


@translates("cat", "concat", "stack")
def concatenate(call: Call, em: Emitter) -> None:
    """Translate cat and stack."""
    names = [item.name for item in call.arguments["tensors"]]
    axis = call.get("dim", 0)
    if call.op == "stack":
        axis = axis % (em.rank(names[0]) + 1)
        names = [em.emit("Unsqueeze", name, axes=(axis,)) for name in names]
    em.emit("Concat", *names, into=call.outputs[0], axis=axis)


@translates("expand")
def expand(call: Call, em: Emitter) -> None:
    """Translate expand; -1 keeps a size."""
    sizes: list[Size] = [1 if size == -1 else size for size in call.arguments["size"]]
    em.emit("Expand", em.required("self"), em.sizes(sizes), into=call.outputs[0])


@translates("repeat")
def repeat(call: Call, em: Emitter) -> None:
    """Translate repeat."""
    x = em.required("self")
    repeats = call.arguments["repeats"]
    grown = [1] * (len(repeats) - em.rank(x))
    if grown:
        x = em.emit("Unsqueeze", x, axes=tuple(range(len(grown))))
    em.emit("Tile", x, em.sizes(repeats), into=call.outputs[0])


@translates("zeros", "ones", "full", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full")
def fill(call: Call, em: Emitter) -> None:
    """Translate what makes a tensor of one number: zeros, full, ones_like ..."""
    kind = call.op.removeprefix("new_").removesuffix("_like")
    value = {"zeros": 0.0, "ones": 1.0}.get(kind, call.get("fill_value", 0.0))
    if isinstance(value, Ref):
        raise call.unsupported("its value is computed", "fill with a number")
    content: Array = np.asarray([value], np.int64 if is_integer(call.get("dtype")) else np.float32)
    shape = em.emit("Shape", em.required("self")) if call.op.endswith("_like") else em.sizes(call.arguments["size"])
    em.emit("ConstantOfShape", shape, into=call.outputs[0], value=content)


@translates("sym_size")
def symbolic_size(call: Call, em: Emitter) -> None:
    """Translate sym_size: the size of an axis."""
    axis = em.constant(call.arguments["dim"], np.int64)
    em.emit("Gather", em.emit("Shape", em.required("self")), axis, into=call.outputs[0], axis=0)


@translates(*(f"_operator.{name}" for name in ("ge", "le", "gt", "lt", "eq", "ne", "and_")))
@translates(
    "_assert_scalar", "_assert_tensor_metadata", "_assert_async", "sym_constrain_range", "sym_constrain_range_for_size"
)
def nothing(call: Call, em: Emitter) -> None:
    """Leave out what only checks sizes."""
