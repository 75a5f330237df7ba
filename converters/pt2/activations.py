"""Activation functions."""

from __future__ import annotations

from grurt.converters.activations import HARD_SIGMOID, LARGEST, RELU6
from grurt.converters.pt2.arithmetic import unary
from grurt.converters.pt2.emitter import Emitter
from grurt.converters.pt2.handlers import Handler, translates
from grurt.converters.pt2.program import Call

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


@translates("leaky_relu")
def leaky_relu(call: Call, em: Emitter) -> None:
    """Translate leaky_relu."""
    slope = float(call.get("negative_slope", 0.01))
    em.emit("LeakyRelu", em.required("self"), into=call.outputs[0], alpha=slope)


@translates("rrelu", "rrelu_with_noise", "rrelu_with_noise_functional")
def rrelu(call: Call, em: Emitter) -> None:
    """Translate rrelu, which in evaluation is a leaky ReLU with the mean of its slopes."""
    if call.get("training"):
        raise call.unsupported("it draws slopes at random", "call model.eval() before the export")
    slope = (float(call.get("lower", 1 / 8)) + float(call.get("upper", 1 / 3))) / 2
    em.emit("LeakyRelu", em.required("self"), into=call.outputs[0], alpha=slope)


@translates("elu", "celu", "selu")
def elu(call: Call, em: Emitter) -> None:
    """Translate elu and its kin: ``scale * (x if x > 0 else alpha * (exp(input_scale * x) - 1))``."""
    alpha = float(call.get("alpha", 1.0))
    scale, input_scale = float(call.get("scale", 1.0)), float(call.get("input_scale", 1.0))
    if call.op.startswith("selu") or (alpha, scale, input_scale) == (_SELU_ALPHA, _SELU_SCALE, 1.0):
        em.emit("Selu", em.required("self"), into=call.outputs[0], alpha=_SELU_ALPHA, gamma=_SELU_SCALE)
    elif call.op.startswith("celu") or (scale == 1 and input_scale == 1 / alpha):
        em.emit("Celu", em.required("self"), into=call.outputs[0], alpha=alpha)
    elif (scale, input_scale) == (1.0, 1.0):
        em.emit("Elu", em.required("self"), into=call.outputs[0], alpha=alpha)
    else:
        raise call.unsupported(f"it is scaled by {scale} and {input_scale}", "use ELU, CELU or SELU")


@translates("gelu")
def gelu(call: Call, em: Emitter) -> None:
    """Translate gelu, exact or approximated by tanh."""
    em.emit("Gelu", em.required("self"), into=call.outputs[0], approximate=call.get("approximate", "none"))


@translates("glu")
def glu(call: Call, em: Emitter) -> None:
    """Translate glu: the first half of an axis times the sigmoid of the second."""
    x, halves = em.required("self"), (em.fresh(), em.fresh())
    em.emit("Split", x, into=halves, axis=em.axis(x, call.get("dim", -1)), num_outputs=2)
    em.emit("Mul", halves[0], em.emit("Sigmoid", halves[1]), into=call.outputs[0])


@translates("softplus")
def softplus(call: Call, em: Emitter) -> None:
    """Translate softplus: ``log(1 + exp(beta * x)) / beta``, and x itself where ``beta * x`` is above a threshold.

    Above 20, the two differ by less than 2.1e-9.
    """
    x, beta, threshold = em.required("self"), float(call.get("beta", 1)), float(call.get("threshold", 20))
    if beta == 1 and threshold >= 20:
        em.emit("Softplus", x, into=call.outputs[0])
        return
    scaled = em.emit("Mul", x, em.constant(beta))
    smooth = em.emit("Div", em.emit("Softplus", scaled), em.constant(beta))
    if threshold >= 20:
        em.emit("Identity", smooth, into=call.outputs[0])
    else:
        em.emit("Where", em.emit("Greater", scaled, em.constant(threshold)), x, smooth, into=call.outputs[0])


@translates("log_sigmoid", "log_sigmoid_forward")
def log_sigmoid(call: Call, em: Emitter) -> None:
    """Translate log_sigmoid: ``log(sigmoid(x))``."""
    em.emit("Log", em.emit("Sigmoid", em.required("self")), into=call.outputs[0])


@translates("hardshrink", "softshrink")
def shrink(call: Call, em: Emitter) -> None:
    """Translate hardshrink and softshrink: 0 between ``-lambd`` and ``lambd``."""
    lambd = float(call.get("lambd", 0.5))
    bias = lambd if call.op.startswith("soft") else 0.0
    em.emit("Shrink", em.required("self"), into=call.outputs[0], lambd=lambd, bias=bias)


@translates("threshold")
def threshold(call: Call, em: Emitter) -> None:
    """Translate threshold: a value in place of numbers that are not above the threshold."""
    x = em.required("self")
    above = em.emit("Greater", x, em.constant(call.arguments["threshold"]))
    em.emit("Where", above, x, em.constant(call.arguments["value"]), into=call.outputs[0])


@translates("clamp", "clip", "hardtanh", "clamp_min", "clamp_max", "relu6")
def clamp(call: Call, em: Emitter) -> None:
    """Translate clamp, hardtanh and relu6, with numbers or tensors as bounds; one that is left open is none."""
    name = call.op.rstrip("_")
    low, high = {
        "hardtanh": (call.get("min_val", -1.0), call.get("max_val", 1.0)),
        "relu6": (RELU6.minimum, RELU6.maximum),
    }.get(name, (call.get("min"), call.get("max")))
    if all(bound is None or isinstance(bound, int | float) for bound in (low, high)):
        bounds = ["" if bound is None else em.constant(min(max(bound, -LARGEST), LARGEST)) for bound in (low, high)]
        em.emit("Clip", em.required("self"), *bounds, into=call.outputs[0])
        return
    result = em.required("self")
    for operator, bound in (("Max", "min"), ("Min", "max")):
        if call.get(bound) is not None:
            result = em.emit(operator, result, em.operand(bound))
    em.emit("Identity", result, into=call.outputs[0])


@translates("prelu", "_prelu_kernel")
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


translates("relu")(unary("Relu"))
translates("sigmoid")(unary("Sigmoid"))
translates("tanh")(unary("Tanh"))
translates("hardsigmoid")(unary("HardSigmoid", alpha=HARD_SIGMOID.slope, beta=HARD_SIGMOID.offset))
translates("silu")(unary("Swish"))
translates("hardswish")(unary("HardSwish"))
translates("mish")(unary("Mish"))
translates("softmax", "_softmax")(softmax("Softmax"))
translates("log_softmax", "_log_softmax")(softmax("LogSoftmax"))
