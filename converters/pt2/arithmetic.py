"""Element-wise arithmetic, on tensors and on sizes."""

from __future__ import annotations

import numpy as np

from grurt.converters.graph.nodes import Attribute
from grurt.converters.pt2.emitter import Emitter
from grurt.converters.pt2.handlers import Handler, translates
from grurt.converters.pt2.program import Call, Ref


def unary(op: str, **attributes: Attribute) -> Handler:
    """Return the handler of a function without parameters of its own."""

    def handler(call: Call, em: Emitter) -> None:
        em.emit(op, em.required("self"), into=call.outputs[0], **attributes)

    return handler


def binary(op: str) -> Handler:
    """Return the handler of ``a op b``, with tensors or numbers."""

    def handler(call: Call, em: Emitter) -> None:
        em.emit(op, *em.operands("self", "other"), into=call.outputs[0])

    return handler


def scaled_binary(op: str) -> Handler:
    """Return the handler of ``a op alpha * b``."""

    def handler(call: Call, em: Emitter) -> None:
        first, second = em.operands("self", "other")
        em.emit(op, first, _scaled(em, second, call.get("alpha", 1)), into=call.outputs[0])

    return handler


@translates("rsub")
def reversed_subtraction(call: Call, em: Emitter) -> None:
    """Translate rsub: ``b - alpha * a``."""
    first, second = em.operands("self", "other")
    em.emit("Sub", second, _scaled(em, first, call.get("alpha", 1)), into=call.outputs[0])


@translates("div", "divide", "true_divide", "floor_divide")
def divide(call: Call, em: Emitter) -> None:
    """Translate div: ``a / b``, exactly, or rounded down or towards zero."""
    rounding = "floor" if call.op.startswith("floor") else call.get("rounding_mode")
    operands = em.operands("self", "other", divided=True)
    if rounding is None:
        em.emit("Div", *operands, into=call.outputs[0])
    elif rounding == "floor":
        em.emit("Floor", em.emit("Div", *operands), into=call.outputs[0])
    else:
        truncated(em, em.emit("Div", *operands), call.outputs[0])


@translates("remainder", "fmod")
def remainder(call: Call, em: Emitter) -> None:
    """Translate remainder and fmod: ``a - b * q``, where q is ``a / b``, rounded down or towards zero."""
    first, second = em.operands("self", "other")
    if not em.is_float(first):
        em.emit("Mod", first, second, into=call.outputs[0], fmod=int(call.op.startswith("fmod")))
        return
    quotient = em.emit("Div", first, second)
    whole = em.emit("Floor", quotient) if call.op.startswith("remainder") else truncated(em, quotient)
    em.emit("Sub", first, em.emit("Mul", second, whole), into=call.outputs[0])


def truncated(em: Emitter, x: str, into: str | None = None) -> str:
    """Return a number rounded towards zero: ``sign(x) * floor(|x|)``."""
    return em.emit("Mul", em.emit("Sign", x), em.emit("Floor", em.emit("Abs", x)), into=into)


@translates("addcmul", "addcdiv")
def add_combined(call: Call, em: Emitter) -> None:
    """Translate addcmul and addcdiv: ``x + value * a * b`` and ``x + value * a / b``."""
    factors = em.required("tensor1"), em.required("tensor2")
    combined = em.emit("Mul" if "mul" in call.op else "Div", *factors)
    em.emit("Add", em.required("self"), _scaled(em, combined, call.get("value", 1)), into=call.outputs[0])


@translates("lerp")
def lerp(call: Call, em: Emitter) -> None:
    """Translate lerp: ``a + weight * (b - a)``."""
    start = em.required("self")
    difference = em.emit("Sub", em.required("end"), start)
    em.emit("Add", start, em.emit("Mul", difference, em.operand("weight")), into=call.outputs[0])


def _scaled(em: Emitter, x: str, factor: float) -> str:
    return x if factor == 1 else em.emit("Mul", x, em.constant(factor))


def size_arithmetic(op: str) -> Handler:
    """Return the handler of an operation of Python's on sizes."""

    def handler(call: Call, em: Emitter) -> None:
        operands = [
            value.name if isinstance(value, Ref) else em.constant(value, np.int64) for value in call.arguments.values()
        ]
        em.emit(op, *operands, into=call.outputs[0])

    return handler


translates("add")(scaled_binary("Add"))
translates("sub", "subtract")(scaled_binary("Sub"))
translates("mul", "multiply")(binary("Mul"))
translates("neg", "negative")(unary("Neg"))
translates("abs", "absolute")(unary("Abs"))
translates("positive")(unary("Identity"))
translates("_operator.add")(size_arithmetic("Add"))
translates("_operator.sub")(size_arithmetic("Sub"))
translates("_operator.mul")(size_arithmetic("Mul"))
translates("_operator.floordiv")(size_arithmetic("Div"))
