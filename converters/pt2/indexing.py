"""Operators that pick at positions, and those that count."""

from __future__ import annotations

import numpy as np

from grurt.converters.pt2.emitter import Emitter
from grurt.converters.pt2.handlers import translates
from grurt.converters.pt2.program import Call, Ref
from grurt.converters.pt2.scalar_types import element_of, is_integer


@translates("arange")
def arange(call: Call, em: Emitter) -> None:
    """Translate arange: whole numbers or others, from one to another or up to a size."""
    bounds = [call.get("start", 0), call.arguments["end"], call.get("step", 1)]
    is_whole = all(isinstance(bound, int | Ref) for bound in bounds)
    kind = np.int64 if is_whole or is_integer(call.get("dtype")) else np.float32
    names = [bound.name if isinstance(bound, Ref) else em.constant(bound, kind) for bound in bounds]
    dtype = call.get("dtype")
    if not is_whole or dtype is None or is_integer(dtype):
        em.emit("Range", *names, into=call.outputs[0])
    else:
        em.emit("Cast", em.emit("Range", *names), into=call.outputs[0], to=int(element_of(dtype)))


@translates("index")
def index(call: Call, em: Emitter) -> None:
    """Translate x[..., places], of one axis, and of the first two at a position of each sequence."""
    given = [(axis, item) for axis, item in enumerate(call.arguments["indices"]) if isinstance(item, Ref)]
    if [axis for axis, _ in given] == [0, 1] and all(_is_list(item.name, em) for _, item in given):
        columns = [em.emit("Unsqueeze", item.name, axes=(1,)) for _, item in given]
        em.emit("GatherND", em.required("self"), em.emit("Concat", *columns, axis=-1), into=call.outputs[0])
        return
    places = em.constants.get(given[0][1].name) if len(given) == 1 else None
    if len(given) != 1 or (em.is_condition(given[0][1].name) and places is None):
        raise call.unsupported(
            "it picks by several indices, or by a mask that is computed",
            "pick features by constants, or one position of each sequence: y[arange(batch), lengths - 1]",
        )
    ((axis, item),) = given
    name = item.name
    if places is not None and em.is_condition(name):
        if places.ndim != 1:
            raise call.unsupported("it picks by a mask of several axes", "pick features by constants")
        name = em.constant(np.flatnonzero(places), np.int64)
    em.emit("Gather", em.required("self"), name, into=call.outputs[0], axis=axis)


def _is_list(name: str, em: Emitter) -> bool:
    """Say whether a tensor is a list of positions."""
    return em.rank(name) == 1 and not em.is_condition(name)


@translates("gather", "take_along_dim")
def gather(call: Call, em: Emitter) -> None:
    """Translate gather: a position of an axis for each of the result."""
    x, places = em.required("self"), em.tensor("index") or em.required("indices")
    em.emit("GatherElements", x, places, into=call.outputs[0], axis=em.axis(x, call.arguments["dim"]))
