"""Element-wise arithmetic and activations, on tensors and on sizes."""

from __future__ import annotations

import numpy as np

from grurt.converters.activations import HARD_SIGMOID, RELU6
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
        if call.get("alpha", 1) != 1 or call.get("rounding_mode") is not None:
            raise call.unsupported("it has an alpha or a rounding mode", "write the factor as a product of its own")
        em.emit(op, em.operand("self"), em.operand("other"), into=call.outputs[0])

    return handler


@translates("rsub")
def reversed_subtraction(call: Call, em: Emitter) -> None:
    """Translate rsub: ``b - a``."""
    em.emit("Sub", em.operand("other"), em.operand("self"), into=call.outputs[0])


@translates("lerp")
def lerp(call: Call, em: Emitter) -> None:
    """Translate lerp: ``a + weight * (b - a)``."""
    start = em.required("self")
    difference = em.emit("Sub", em.required("end"), start)
    em.emit("Add", start, em.emit("Mul", difference, em.operand("weight")), into=call.outputs[0])


def size_arithmetic(op: str) -> Handler:
    """Return the handler of an operation of Python's on sizes."""

    def handler(call: Call, em: Emitter) -> None:
        operands = [
            value.name if isinstance(value, Ref) else em.constant(value, np.int64) for value in call.arguments.values()
        ]
        em.emit(op, *operands, into=call.outputs[0])

    return handler


@translates("leaky_relu")
def leaky_relu(call: Call, em: Emitter) -> None:
    """Translate leaky_relu."""
    slope = float(call.get("negative_slope", 0.01))
    em.emit("LeakyRelu", em.required("self"), into=call.outputs[0], alpha=slope)


@translates("elu")
def elu(call: Call, em: Emitter) -> None:
    """Translate elu."""
    if call.get("scale", 1) != 1 or call.get("input_scale", 1) != 1:
        raise call.unsupported("it is scaled, as SELU and CELU are", "use ELU")
    em.emit("Elu", em.required("self"), into=call.outputs[0], alpha=float(call.get("alpha", 1.0)))


@translates("gelu")
def gelu(call: Call, em: Emitter) -> None:
    """Translate gelu, exact or approximated by tanh."""
    em.emit("Gelu", em.required("self"), into=call.outputs[0], approximate=call.get("approximate", "none"))


@translates("softplus")
def softplus(call: Call, em: Emitter) -> None:
    """Translate softplus; torch's is linear above a threshold of 20, where the difference is below 2.1e-9."""
    if call.get("beta", 1) != 1 or call.get("threshold", 20) < 20:
        raise call.unsupported("it has a beta, or a threshold below 20", "use softplus with its defaults")
    em.emit("Softplus", em.required("self"), into=call.outputs[0])


@translates("clamp", "hardtanh", "clamp_min", "clamp_max", "relu6")
def clamp(call: Call, em: Emitter) -> None:
    """Translate clamp, hardtanh and relu6; a bound that is left open is none."""
    low, high = {
        "hardtanh": (call.get("min_val", -1.0), call.get("max_val", 1.0)),
        "relu6": (RELU6.minimum, RELU6.maximum),
    }.get(call.op.rstrip("_"), (call.get("min"), call.get("max")))
    bounds = ["" if bound is None else em.constant(bound) for bound in (low, high)]
    em.emit("Clip", em.required("self"), *bounds, into=call.outputs[0])


@translates("prelu")
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


translates("add")(binary("Add"))
translates("sub")(binary("Sub"))
translates("mul")(binary("Mul"))
translates("div")(binary("Div"))
translates("neg")(unary("Neg"))
translates("abs")(unary("Abs"))
translates("relu")(unary("Relu"))
translates("sigmoid")(unary("Sigmoid"))
translates("tanh")(unary("Tanh"))
translates("hardsigmoid")(unary("HardSigmoid", alpha=HARD_SIGMOID.slope, beta=HARD_SIGMOID.offset))
translates("silu")(unary("Swish"))
translates("hardswish")(unary("HardSwish"))
translates("softmax", "_softmax")(softmax("Softmax"))
translates("log_softmax", "_log_softmax")(softmax("LogSoftmax"))
translates("_operator.add")(size_arithmetic("Add"))
translates("_operator.sub")(size_arithmetic("Sub"))
translates("_operator.mul")(size_arithmetic("Mul"))
translates("_operator.floordiv")(size_arithmetic("Div"))
