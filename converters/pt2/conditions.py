"""Comparisons, what is made of truth values, and what these choose."""

from __future__ import annotations

from grurt.converters.graph.elements import Element
from grurt.converters.pt2.arithmetic import binary, unary
from grurt.converters.pt2.emitter import Emitter
from grurt.converters.pt2.handlers import translates
from grurt.converters.pt2.program import Call

MAX_BOUNDARIES = 64


@translates("ne", "not_equal")
def unequal(call: Call, em: Emitter) -> None:
    """Translate ne: the negation of eq."""
    em.emit("Not", em.emit("Equal", *em.operands("self", "other")), into=call.outputs[0])


@translates("where")
def where(call: Call, em: Emitter) -> None:
    """Translate where."""
    em.emit("Where", em.required("condition"), *em.operands("self", "other"), into=call.outputs[0])


@translates("masked_fill")
def masked_fill(call: Call, em: Emitter) -> None:
    """Translate masked_fill: a number where the mask holds."""
    em.emit("Where", em.required("mask"), em.operand("value"), em.required("self"), into=call.outputs[0])


@translates("heaviside")
def heaviside(call: Call, em: Emitter) -> None:
    """Translate heaviside: 0 below 0, 1 above, and a value at 0."""
    x, zero = em.required("self"), em.constant(0.0)
    above = em.emit("Cast", em.emit("Greater", x, zero), to=int(Element.FLOAT))
    em.emit("Where", em.emit("Equal", x, zero), em.required("values"), above, into=call.outputs[0])


@translates("bucketize")
def bucketize(call: Call, em: Emitter) -> None:
    """Translate bucketize: how many of the boundaries, which are constants, are below a number."""
    boundaries = em.array(em.required("boundaries"))
    if boundaries.ndim != 1 or not 0 < boundaries.size <= MAX_BOUNDARIES:
        raise call.unsupported(f"it has boundaries of shape {boundaries.shape}", f"use up to {MAX_BOUNDARIES}")
    op = "GreaterOrEqual" if call.get("right") else "Greater"
    above = [em.emit(op, em.required("self"), em.constant(boundary)) for boundary in boundaries]
    numbers = [em.emit("Cast", condition, to=int(Element.FLOAT)) for condition in above]
    total = em.emit("Sum", *numbers)
    to = Element.INT32 if call.get("out_int32") else Element.INT64
    em.emit("Cast", total, into=call.outputs[0], to=int(to))


def as_condition(em: Emitter, x: str) -> str:
    """Return truth values as they are, and of numbers, which of them are not 0."""
    return x if em.is_condition(x) else em.emit("Not", em.emit("Equal", x, em.constant(0.0)))


_COMPARISONS = {
    "Greater": ("gt", "greater"),
    "Less": ("lt", "less"),
    "GreaterOrEqual": ("ge", "greater_equal"),
    "LessOrEqual": ("le", "less_equal"),
    "Equal": ("eq",),
}
for _op, _names in _COMPARISONS.items():
    translates(*_names)(binary(_op))
for _name, _op in {"and": "And", "or": "Or", "xor": "Xor"}.items():
    translates(f"logical_{_name}", f"bitwise_{_name}", f"__{_name}__")(binary(_op))
translates("logical_not", "bitwise_not")(unary("Not"))
