"""Reductions over one axis, and what is computed along it."""

from __future__ import annotations

import numpy as np

from grurt.converters.graph.elements import Element
from grurt.converters.pt2.arithmetic import binary
from grurt.converters.pt2.conditions import as_condition
from grurt.converters.pt2.emitter import Emitter
from grurt.converters.pt2.handlers import Handler, translates
from grurt.converters.pt2.program import Call
from grurt.converters.pt2.scalar_types import element_of


def reduction(op: str) -> Handler:
    """Return the handler of a reduction over the axes ``dim``."""

    def handler(call: Call, em: Emitter) -> None:
        _reduce(call, em, op, em.required("self"), into=call.outputs[0])

    return handler


def _reduce(call: Call, em: Emitter, op: str, x: str, into: str | None = None) -> str:
    axes = em.constant(_axes(call, em), np.int64)
    return em.emit(op, x, axes, into=into, keepdims=int(bool(call.get("keepdim", False))))


def _axes(call: Call, em: Emitter) -> list[int]:
    """Return the axes that a call reduces, of its argument ``self``."""
    dims = call.get("dim")
    if dims is None or dims == []:
        raise call.unsupported("it reduces all axes to one number", "reduce the axis of the features")
    return sorted(em.axis(em.required("self"), axis) for axis in ([dims] if isinstance(dims, int) else dims))


def extreme(op: str, place: str) -> Handler:
    """Return the handler of max and min: of two tensors, or over an axis, with the places of what is found."""

    def handler(call: Call, em: Emitter) -> None:
        if call.get("other") is not None:
            binary(op)(call, em)
            return
        reduction(f"Reduce{op}")(call, em)
        if len(call.outputs) > 1:
            _place(call, em, place, call.outputs[1])

    return handler


@translates("aminmax")
def both_extremes(call: Call, em: Emitter) -> None:
    """Translate aminmax."""
    for op, output in zip(("ReduceMin", "ReduceMax"), call.outputs, strict=True):
        _reduce(call, em, op, em.required("self"), into=output)


def place_of_extreme(op: str) -> Handler:
    """Return the handler of argmax and argmin."""

    def handler(call: Call, em: Emitter) -> None:
        _place(call, em, op, call.outputs[0])

    return handler


def _place(call: Call, em: Emitter, op: str, into: str) -> None:
    if call.get("dim") is None:
        raise call.unsupported("it names one place in all axes", "name the one of a feature, with dim=-1")
    x = em.required("self")
    axis, keeps = em.axis(x, call.arguments["dim"]), int(bool(call.get("keepdim", False)))
    em.emit(op, x, into=into, axis=axis, keepdims=keeps)


@translates("linalg_vector_norm", "linalg_norm", "norm")
def norm(call: Call, em: Emitter) -> None:
    """Translate norms of vectors, of any order: ``sum(|x| ** order) ** (1 / order)``."""
    order, x = call.get("ord", call.get("p", 2)), em.required("self")
    order = 2 if order is None else order
    if len(_axes(call, em)) > 1 or isinstance(order, str) or order == 0:
        raise call.unsupported(
            f"it is a norm of order {order} over {len(_axes(call, em))} axes", "use that of a vector"
        )
    if order in (1, 2):
        _reduce(call, em, f"ReduceL{int(order)}", x, into=call.outputs[0])
    elif abs(order) == np.inf:
        _reduce(call, em, "ReduceMax" if order > 0 else "ReduceMin", em.emit("Abs", x), into=call.outputs[0])
    else:
        powers = em.emit("Pow", em.emit("Abs", x), em.constant(order))
        em.emit("Pow", _reduce(call, em, "ReduceSum", powers), em.constant(1 / order), into=call.outputs[0])


@translates("sum", "mean")
def total(call: Call, em: Emitter) -> None:
    """Translate sum and mean; of conditions, a sum counts."""
    if call.get("dtype") is not None and element_of(call.get("dtype")) not in (Element.FLOAT, Element.DOUBLE):
        raise call.unsupported("it sums in another type", "sum in float32")
    reduction("ReduceSum" if call.op == "sum" else "ReduceMean")(call, em)


@translates("any", "all")
def any_or_all(call: Call, em: Emitter) -> None:
    """Translate any and all: the largest or smallest of truth values, as 0 and 1."""
    x, op = em.required("self"), "ReduceMax" if call.op == "any" else "ReduceMin"
    numbers = em.emit("Cast", as_condition(em, x), to=int(Element.FLOAT))
    if call.get("dim") is None:  # in what checks sizes, and is left out
        found = em.emit(op, numbers, em.constant(range(em.rank(x)), np.int64), keepdims=0)
    else:
        found = _reduce(call, em, op, numbers)
    em.emit("Cast", found, into=call.outputs[0], to=int(Element.BOOL))


@translates("count_nonzero")
def count_nonzero(call: Call, em: Emitter) -> None:
    """Translate count_nonzero."""
    numbers = em.emit("Cast", as_condition(em, em.required("self")), to=int(Element.FLOAT))
    em.emit("Cast", _reduce(call, em, "ReduceSum", numbers), into=call.outputs[0], to=int(Element.INT64))


@translates("var", "std", "var_mean", "std_mean")
def variance(call: Call, em: Emitter) -> None:
    """Translate var and std over one axis of known size: from the mean of squared differences."""
    x, dims = em.required("self"), call.get("dim")
    dims = [dims] if isinstance(dims, int) else dims
    correction = call.get("correction", int(bool(call.get("unbiased", True))))
    size = em.size(x, em.axis(x, dims[0])) if dims and len(dims) == 1 else None
    if not isinstance(size, int) or size <= (1 if correction is None else correction):
        raise call.unsupported("it is no variance over one axis of known size", "use that of the features, dim=-1")
    axes = em.constant([em.axis(x, dims[0])], np.int64)
    centered = em.emit("Sub", x, em.emit("ReduceMean", x, axes, keepdims=1))
    squares = _reduce(call, em, "ReduceSum", em.emit("Mul", centered, centered))
    count = em.constant(size - (1 if correction is None else correction))
    if call.op.startswith("var"):
        em.emit("Div", squares, count, into=call.outputs[0])
    else:
        em.emit("Sqrt", em.emit("Div", squares, count), into=call.outputs[0])
    if len(call.outputs) > 1:
        _reduce(call, em, "ReduceMean", x, into=call.outputs[1])


@translates("cumsum")
def running_sum(call: Call, em: Emitter) -> None:
    """Translate cumsum."""
    x = em.required("self")
    em.emit("CumSum", x, em.constant(em.axis(x, call.arguments["dim"]), np.int64), into=call.outputs[0])


@translates("diff")
def difference(call: Call, em: Emitter) -> None:
    """Translate diff of first order: each number of an axis but the first, less the one before."""
    x = em.required("self")
    if call.get("n", 1) != 1 or em.tensor("prepend") or em.tensor("append"):
        raise call.unsupported("it is of another order than 1, or joins tensors", "write it as slices and differences")
    axis = em.constant([em.axis(x, call.get("dim", -1))], np.int64)
    later = em.emit("Slice", x, em.constant([1], np.int64), em.constant([2**63 - 1], np.int64), axis)
    earlier = em.emit("Slice", x, em.constant([0], np.int64), em.constant([-1], np.int64), axis)
    em.emit("Sub", later, earlier, into=call.outputs[0])


@translates("one_hot")
def one_hot(call: Call, em: Emitter) -> None:
    """Translate one_hot, whose number of classes must be given."""
    depth, values = em.constant(call.get("num_classes", -1), np.int64), em.constant([0, 1], np.int64)
    em.emit("OneHot", em.required("self"), depth, values, into=call.outputs[0], axis=-1)


_REDUCTIONS = {"amax": "ReduceMax", "amin": "ReduceMin", "prod": "ReduceProd", "logsumexp": "ReduceLogSumExp"}
for _name, _op in _REDUCTIONS.items():
    translates(_name)(reduction(_op))
translates("argmax")(place_of_extreme("ArgMax"))
translates("argmin")(place_of_extreme("ArgMin"))
translates("max")(extreme("Max", "ArgMax"))
translates("min")(extreme("Min", "ArgMin"))
