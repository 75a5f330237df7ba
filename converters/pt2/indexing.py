"""Operators that pick at positions, and those that count."""

from __future__ import annotations

import numpy as np

from grurt.converters.pt2.emitter import Emitter
from grurt.converters.pt2.handlers import translates
from grurt.converters.pt2.program import Call, Ref
from grurt.converters.pt2.scalar_types import element_of, is_integer


@translates("arange")
def arange(call: Call, em: Emitter) -> None:
    """Translate arange: whole numbers, up to a number or a size."""
    bounds = [call.get("start", 0), call.get("end"), call.get("step", 1)]
    if any(not isinstance(bound, int | Ref) for bound in bounds):
        raise call.unsupported("it counts in steps that are no whole numbers", "count with integers")
    names = [bound.name if isinstance(bound, Ref) else em.constant(bound, np.int64) for bound in bounds]
    dtype = call.get("dtype")
    if dtype is None or is_integer(dtype):
        em.emit("Range", *names, into=call.outputs[0])
    else:
        em.emit("Cast", em.emit("Range", *names), into=call.outputs[0], to=int(element_of(dtype)))


@translates("index")
def index(call: Call, em: Emitter) -> None:
    """Translate index by two lists of positions, of the first two axes."""
    indices = call.arguments["indices"]
    lists = [item.name for item in indices if isinstance(item, Ref)]
    if len(lists) != 2 or len(indices) != 2 or any(em.rank(name) != 1 for name in lists):
        raise call.unsupported(
            "it does not pick at one position of each sequence", "expected y[arange(batch), lengths - 1]"
        )
    columns = [em.emit("Unsqueeze", name, axes=(1,)) for name in lists]
    em.emit("GatherND", em.required("self"), em.emit("Concat", *columns, axis=-1), into=call.outputs[0])


@translates("gather")
def gather(call: Call, em: Emitter) -> None:
    """Translate gather."""
    x, axis = em.required("self"), call.arguments["dim"]
    em.emit("GatherElements", x, em.required("index"), into=call.outputs[0], axis=em.axis(x, axis))
