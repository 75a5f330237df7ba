"""Element-wise arithmetic and activations, on tensors and on sizes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..onnx.graph import Attribute
from .emitter import Emitter
from .program import Call, Ref

Handler = Callable[[Call, Emitter], None]


def unary(op: str, **attributes: Attribute) -> Handler:
    """Return the handler of a function without parameters of its own."""

    def handler(call: Call, em: Emitter) -> None:
        em.emit(op, em.required("self"), into=call.outputs[0], **attributes)

    return handler


def binary(op: str) -> Handler:
    """Return the handler of ``a op b``, with tensors or numbers."""

    def handler(call: Call, em: Emitter) -> None:
        if call.get("alpha", 1) != 1 or call.get("rounding_mode") is not None:
            raise call.unsupported("it has an alpha or a rounding mode", "write the factor as a product of its own")
        em.emit(op, em.operand("self"), em.operand("other"), into=call.outputs[0])

    return handler


def reversed_subtraction(call: Call, em: Emitter) -> None:
    """Translate rsub: ``b - a``."""
    em.emit("Sub", em.operand("other"), em.operand("self"), into=call.outputs[0])


def size_arithmetic(op: str) -> Handler:
    """Return the handler of an operation of Python's on sizes."""

    def handler(call: Call, em: Emitter) -> None:
        operands = [
            value.name if isinstance(value, Ref) else em.constant(value, np.int64) for value in call.arguments.values()
        ]
        em.emit(op, *operands, into=call.outputs[0])

    return handler


def leaky_relu(call: Call, em: Emitter) -> None:
    """Translate leaky_relu."""
    slope = float(call.get("negative_slope", 0.01))
    em.emit("LeakyRelu", em.required("self"), into=call.outputs[0], alpha=slope)


def elu(call: Call, em: Emitter) -> None:
    """Translate elu."""
    if call.get("scale", 1) != 1 or call.get("input_scale", 1) != 1:
        raise call.unsupported("it is scaled, as SELU and CELU are", "use ELU")
    em.emit("Elu", em.required("self"), into=call.outputs[0], alpha=float(call.get("alpha", 1.0)))


def gelu(call: Call, em: Emitter) -> None:
    """Translate gelu, exact or approximated by tanh."""
    em.emit("Gelu", em.required("self"), into=call.outputs[0], approximate=call.get("approximate", "none"))


def softplus(call: Call, em: Emitter) -> None:
    """Translate softplus; torch's is linear above a threshold of 20, where the difference is below 2.1e-9."""
    if call.get("beta", 1) != 1 or call.get("threshold", 20) < 20:
        raise call.unsupported("it has a beta, or a threshold below 20", "use softplus with its defaults")
    em.emit("Softplus", em.required("self"), into=call.outputs[0])


def clamp(call: Call, em: Emitter) -> None:
    """Translate clamp, hardtanh and relu6; a bound that is left open is none."""
    low, high = {
        "hardtanh": (call.get("min_val", -1.0), call.get("max_val", 1.0)),
        "relu6": (0.0, 6.0),
    }.get(call.op.rstrip("_"), (call.get("min"), call.get("max")))
    bounds = ["" if bound is None else em.constant(bound) for bound in (low, high)]
    em.emit("Clip", em.required("self"), *bounds, into=call.outputs[0])


def gated(gate: str, **attributes: Attribute) -> Handler:
    """Return the handler of ``x * gate(x)``: silu, hardswish."""

    def handler(call: Call, em: Emitter) -> None:
        x = em.required("self")
        em.emit("Mul", x, em.emit(gate, x, into=None, **attributes), into=call.outputs[0])

    return handler


def prelu(call: Call, em: Emitter) -> None:
    """Translate PReLU, whose slopes torch has along axis 1."""
    x, slopes = em.required("self"), em.array(em.required("weight"))
    trailing = max(em.rank(x) - 2, 0) if slopes.size > 1 else 0
    em.emit("PRelu", x, em.constant(slopes.reshape(-1, *(1,) * trailing)), into=call.outputs[0])


def softmax(op: str) -> Handler:
    """Return the handler of softmax and log_softmax."""

    def handler(call: Call, em: Emitter) -> None:
        em.emit(op, em.required("self"), into=call.outputs[0], axis=call.arguments["dim"])

    return handler
