"""Functions of mathematics, comparisons, conditions, and reductions over one axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from grurt.converters.graph.elements import Element
from grurt.converters.pt2.arithmetic import binary, unary
from grurt.converters.pt2.emitter import Emitter
from grurt.converters.pt2.handlers import Handler, translates
from grurt.converters.pt2.program import Call
from grurt.converters.pt2.scalar_types import element_of


@translates("ne")
def unequal(call: Call, em: Emitter) -> None:
    """Translate ne: the negation of eq."""
    em.emit("Not", em.emit("Equal", em.operand("self"), em.operand("other")), into=call.outputs[0])


@translates("rsqrt")
def reciprocal_root(call: Call, em: Emitter) -> None:
    """Translate rsqrt: ``1 / sqrt(x)``."""
    em.emit("Reciprocal", em.emit("Sqrt", em.required("self")), into=call.outputs[0])


@translates("square")
def square(call: Call, em: Emitter) -> None:
    """Translate square."""
    em.emit("Mul", em.required("self"), em.required("self"), into=call.outputs[0])


@translates("pow")
def power(call: Call, em: Emitter) -> None:
    """Translate pow, of tensors and numbers."""
    em.emit("Pow", em.operand("self"), em.operand("exponent"), into=call.outputs[0])


@translates("round")
def rounded(call: Call, em: Emitter) -> None:
    """Translate round to whole numbers."""
    if call.get("decimals"):
        raise call.unsupported("it rounds to decimals", "multiply before round and divide behind it")
    em.emit("Round", em.required("self"), into=call.outputs[0])


@translates("where")
def where(call: Call, em: Emitter) -> None:
    """Translate where."""
    em.emit("Where", em.required("condition"), em.operand("self"), em.operand("other"), into=call.outputs[0])


@translates("masked_fill")
def masked_fill(call: Call, em: Emitter) -> None:
    """Translate masked_fill: a number where the mask holds."""
    em.emit("Where", em.required("mask"), em.operand("value"), em.required("self"), into=call.outputs[0])


@translates("scalar_tensor")
def scalar(call: Call, em: Emitter) -> None:
    """Translate scalar_tensor: a number."""
    em.constants[call.outputs[0]] = np.asarray(call.arguments["s"], np.float32)


@translates("expand_as")
def expand_as(call: Call, em: Emitter) -> None:
    """Translate expand_as: to the shape of another tensor."""
    em.emit("Expand", em.required("self"), em.emit("Shape", em.required("other")), into=call.outputs[0])


@translates("var", "std")
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
    keeps = int(bool(call.get("keepdim", False)))
    squares = em.emit("ReduceSum", em.emit("Mul", centered, centered), axes, keepdims=keeps)
    count = em.constant(size - (1 if correction is None else correction))
    if call.op == "var":
        em.emit("Div", squares, count, into=call.outputs[0])
    else:
        em.emit("Sqrt", em.emit("Div", squares, count), into=call.outputs[0])


@translates("one_hot")
def one_hot(call: Call, em: Emitter) -> None:
    """Translate one_hot, whose number of classes must be given."""
    depth, values = em.constant(call.get("num_classes", -1), np.int64), em.constant([0, 1], np.int64)
    em.emit("OneHot", em.required("self"), depth, values, into=call.outputs[0], axis=-1)


def reduction(op: str) -> Handler:
    """Return the handler of a reduction over the axes ``dim``."""

    def handler(call: Call, em: Emitter) -> None:
        _reduce(call, em, op)

    return handler


def _reduce(call: Call, em: Emitter, op: str) -> None:
    dims = call.get("dim")
    if dims is None or dims == []:
        raise call.unsupported("it reduces all axes to one number", "reduce the axis of the features")
    dims = [dims] if isinstance(dims, int) else dims
    axes = em.constant(sorted(em.axis(em.required("self"), axis) for axis in dims), np.int64)
    em.emit(op, em.required("self"), axes, into=call.outputs[0], keepdims=int(bool(call.get("keepdim", False))))


def extreme(op: str, place: str) -> Handler:
    """Return the handler of max and min: of two tensors, or over an axis, with the places of what is found."""

    def handler(call: Call, em: Emitter) -> None:
        if call.get("other") is not None:
            binary(op)(call, em)
            return
        _reduce(call, em, f"Reduce{op}")
        if len(call.outputs) > 1:
            _place(call, em, place, call.outputs[1])

    return handler


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


@translates("linalg_vector_norm", "norm")
def norm(call: Call, em: Emitter) -> None:
    """Translate norms of order 1 and 2."""
    order = call.get("ord", call.get("p", 2))
    names: dict[Any, str] = {1: "ReduceL1", 2: "ReduceL2", None: "ReduceL2"}
    if order not in names:
        raise call.unsupported(f"it is a norm of order {order}", "supported are 1 and 2")
    _reduce(call, em, names[order])


@translates("sum", "mean")
def total(call: Call, em: Emitter) -> None:
    """Translate sum and mean; of conditions, a sum counts."""
    if call.get("dtype") is not None and element_of(call.get("dtype")) not in (Element.FLOAT, Element.DOUBLE):
        raise call.unsupported("it sums in another type", "sum in float32")
    _reduce(call, em, "ReduceSum" if call.op == "sum" else "ReduceMean")


_UNARY = ("exp", "log", "sqrt", "reciprocal", "sign", "floor", "ceil", "sin", "cos", "erf")
_COMPARISONS = {"gt": "Greater", "lt": "Less", "ge": "GreaterOrEqual", "le": "LessOrEqual", "eq": "Equal"}
_LOGICAL = {"and": "And", "or": "Or", "xor": "Xor"}
_REDUCTIONS = {"amax": "ReduceMax", "amin": "ReduceMin", "prod": "ReduceProd", "logsumexp": "ReduceLogSumExp"}


def _register(table: dict[str, str], make: Callable[[str], Handler], prefix: str = "") -> None:
    for name, op in table.items():
        translates(f"{prefix}{name}")(make(op))


_register({name: name.capitalize() for name in _UNARY}, unary)
_register({"minimum": "Min", "maximum": "Max"}, binary)
_register(_COMPARISONS, binary)
_register(_LOGICAL, binary, "logical_")
_register(_LOGICAL, binary, "bitwise_")
_register({f"{name}__": op for name, op in _LOGICAL.items()}, binary, "__")
_register(_REDUCTIONS, reduction)
translates("logical_not", "bitwise_not")(unary("Not"))
translates("max")(extreme("Max", "ArgMax"))
translates("min")(extreme("Min", "ArgMin"))
translates("argmax")(place_of_extreme("ArgMax"))
translates("argmin")(place_of_extreme("ArgMin"))
