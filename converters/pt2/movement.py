"""Operators that move or select data, and those that make constants."""

from __future__ import annotations

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.elements import Element
from grurt.converters.pt2.conditions import as_condition
from grurt.converters.pt2.emitter import Emitter, Size
from grurt.converters.pt2.handlers import translates
from grurt.converters.pt2.program import Call, Ref
from grurt.converters.pt2.scalar_types import DTYPES, element_of, is_integer
from grurt.converters.pt2.selection import MAX_PARTS
from grurt.errors import DesignReason


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


@translates("to", "_to_copy", "type_as")
def cast(call: Call, em: Emitter) -> None:
    """Translate conversions; those to another device or memory layout change nothing."""
    x, dtype = em.required("self"), call.get("dtype")
    if other := em.tensor("other"):
        dtype = next((number for number, name in DTYPES.items() if name == em.dtype(other)), None)
    if dtype is None:
        em.emit("Identity", x, into=call.outputs[0])
        return
    if dtype not in DTYPES:
        raise call.unsupported(f"it converts to the dtype number {dtype}", "compute in float32")
    if x in em.constants and em.constants[x].dtype.kind == "f" and "float" in DTYPES[dtype]:
        em.constants[call.outputs[0]] = em.constants[x]  # weights are float32, whatever they were stored in
    elif element_of(dtype) == Element.BOOL:
        em.emit("Identity", as_condition(em, x), into=call.outputs[0])
    else:
        em.emit("Cast", x, into=call.outputs[0], to=int(element_of(dtype)))


@translates("transpose", "swapaxes", "swapdims", "permute", "movedim", "moveaxis", "t", "numpy_T")
def permute(call: Call, em: Emitter) -> None:
    """Translate permute, transpose and their kin; constants at once."""
    x = em.required("self")
    if call.op == "permute":
        perm = [em.axis(x, axis) for axis in call.arguments["dims"]]
    elif call.op.startswith("move"):
        perm = _moved(call, em, x)
    else:
        perm = list(range(em.rank(x)))
        names = ("axis0", "axis1") if call.op == "swapaxes" else ("dim0", "dim1")
        first, second = (0, -1) if call.op in ("t", "numpy_T") else (call.arguments[name] for name in names)
        if perm:
            first, second = em.axis(x, first), em.axis(x, second)
            perm[first], perm[second] = perm[second], perm[first]
    if x in em.constants and len(perm) == em.constants[x].ndim and sorted(perm) == list(range(len(perm))):
        em.constants[call.outputs[0]] = em.constants[x].transpose(perm)
    else:
        em.emit("Transpose", x, into=call.outputs[0], perm=tuple(perm))


def _moved(call: Call, em: Emitter, x: str) -> list[int]:
    """Return the order of axes of which some have moved to other places."""
    given = [call.arguments[name] for name in ("source", "destination")]
    sources, places = ([em.axis(x, axis) for axis in (each if isinstance(each, list) else [each])] for each in given)
    perm = [axis for axis in range(em.rank(x)) if axis not in sources]
    for place, source in sorted(zip(places, sources, strict=True)):
        perm.insert(place, source)
    return perm


@translates("view_as", "reshape_as")
def reshape_as(call: Call, em: Emitter) -> None:
    """Translate view_as: to the shape of another tensor."""
    em.emit("Reshape", em.required("self"), em.emit("Shape", em.required("other")), into=call.outputs[0], allowzero=1)


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


@translates("cat", "concat", "concatenate", "stack", "hstack", "dstack")
def concatenate(call: Call, em: Emitter) -> None:
    """Translate cat and stack."""
    names = [item.name for item in call.arguments["tensors"]]
    axis = call.get("dim", {"hstack": 1, "dstack": 2}.get(call.op, 0))
    if axis >= max(map(em.rank, names)) + (call.op == "stack"):
        raise call.unsupported("it makes tensors of more axes", "use torch.cat or torch.stack")
    if call.op == "stack":
        axis = axis % (em.rank(names[0]) + 1)
        names = [em.emit("Unsqueeze", name, axes=(axis,)) for name in names]
    em.emit("Concat", *names, into=call.outputs[0], axis=axis)


@translates("expand", "broadcast_to")
def expand(call: Call, em: Emitter) -> None:
    """Translate expand; -1 keeps a size."""
    sizes: list[Size] = [1 if size == -1 else size for size in call.arguments["size"]]
    em.emit("Expand", em.required("self"), em.sizes(sizes), into=call.outputs[0])


@translates("repeat", "tile")
def repeat(call: Call, em: Emitter) -> None:
    """Translate repeat and tile, which differ where fewer repeats are given than there are axes."""
    x = em.required("self")
    repeats = call.get("repeats") or call.arguments["dims"]
    repeats = [1] * (em.rank(x) - len(repeats)) + repeats
    grown = [1] * (len(repeats) - em.rank(x))
    if grown:
        x = em.emit("Unsqueeze", x, axes=tuple(range(len(grown))))
    em.emit("Tile", x, em.sizes(repeats), into=call.outputs[0])


@translates("expand_as")
def expand_as(call: Call, em: Emitter) -> None:
    """Translate expand_as: to the shape of another tensor."""
    em.emit("Expand", em.required("self"), em.emit("Shape", em.required("other")), into=call.outputs[0])


@translates("linspace")
def linspace(call: Call, em: Emitter) -> None:
    """Translate linspace: numbers at equal distances."""
    start, end, steps = (call.arguments[name] for name in ("start", "end", "steps"))
    if not isinstance(steps, int) or not 0 < steps <= MAX_PARTS:
        raise call.unsupported(f"it makes {steps} numbers", f"at most {MAX_PARTS} are supported")
    em.constants[call.outputs[0]] = np.linspace(start, end, steps, dtype=np.float32)


@translates("tril", "triu")
def triangle(call: Call, em: Emitter) -> None:
    """Translate tril and triu."""
    x, diagonal = em.required("self"), em.constant(call.get("diagonal", 0), np.int64)
    em.emit("Trilu", x, diagonal, into=call.outputs[0], upper=int(call.op == "triu"))


@translates(
    "empty",
    "empty_like",
    "zeros",
    "ones",
    "full",
    "zeros_like",
    "ones_like",
    "full_like",
    "new_zeros",
    "new_ones",
    "new_full",
)
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
