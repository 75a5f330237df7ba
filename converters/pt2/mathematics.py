"""Functions of mathematics, of one number or two."""

from __future__ import annotations

import math

import numpy as np

from grurt.converters.pt2.arithmetic import binary, truncated, unary
from grurt.converters.pt2.emitter import Emitter
from grurt.converters.pt2.handlers import Handler, translates
from grurt.converters.pt2.program import Call


@translates("rsqrt")
def reciprocal_root(call: Call, em: Emitter) -> None:
    """Translate rsqrt: ``1 / sqrt(x)``."""
    em.emit("Reciprocal", em.emit("Sqrt", em.required("self")), into=call.outputs[0])


@translates("square")
def square(call: Call, em: Emitter) -> None:
    """Translate square."""
    em.emit("Mul", em.required("self"), em.required("self"), into=call.outputs[0])


@translates("pow", "float_power")
def power(call: Call, em: Emitter) -> None:
    """Translate pow, of tensors and numbers."""
    em.emit("Pow", *em.operands("self", "exponent"), into=call.outputs[0])


@translates("exp2")
def power_of_two(call: Call, em: Emitter) -> None:
    """Translate exp2: ``2 ** x``."""
    em.emit("Pow", em.constant(2.0), em.required("self"), into=call.outputs[0])


@translates("log1p")
def log_of_one_more(call: Call, em: Emitter) -> None:
    """Translate log1p: ``log(1 + x)``, as PyTorch's exporters do."""
    em.emit("Log", em.emit("Add", em.required("self"), em.constant(1.0)), into=call.outputs[0])


@translates("expm1")
def one_less_than_exp(call: Call, em: Emitter) -> None:
    """Translate expm1: ``exp(x) - 1``, as PyTorch's exporters do."""
    em.emit("Sub", em.emit("Exp", em.required("self")), em.constant(1.0), into=call.outputs[0])


@translates("erfc")
def complementary_erf(call: Call, em: Emitter) -> None:
    """Translate erfc: ``1 - erf(x)``."""
    em.emit("Sub", em.constant(1.0), em.emit("Erf", em.required("self")), into=call.outputs[0])


@translates("round")
def rounded(call: Call, em: Emitter) -> None:
    """Translate round to whole numbers."""
    if call.get("decimals"):
        raise call.unsupported("it rounds to decimals", "multiply before round and divide behind it")
    em.emit("Round", em.required("self"), into=call.outputs[0])


@translates("trunc", "fix")
def trunc(call: Call, em: Emitter) -> None:
    """Translate trunc: towards zero."""
    truncated(em, em.required("self"), call.outputs[0])


@translates("frac")
def fraction(call: Call, em: Emitter) -> None:
    """Translate frac: ``x - trunc(x)``."""
    x = em.required("self")
    em.emit("Sub", x, truncated(em, x), into=call.outputs[0])


@translates("logit")
def logit(call: Call, em: Emitter) -> None:
    """Translate logit: ``log(x / (1 - x))``, of a number that is kept an epsilon away from 0 and 1."""
    x, epsilon = em.required("self"), call.get("eps")
    if epsilon is not None:
        x = em.emit("Clip", x, em.constant(epsilon), em.constant(1 - epsilon))
    em.emit("Log", em.emit("Div", x, em.emit("Sub", em.constant(1.0), x)), into=call.outputs[0])


@translates("nan_to_num")
def without_nan(call: Call, em: Emitter) -> None:
    """Translate nan_to_num: numbers in place of NaN and infinities."""
    x, (low, high) = em.required("self"), (np.finfo(np.float32).min, np.finfo(np.float32).max)
    bounds = [
        default if call.get(name) is None else call.get(name) for name, default in (("neginf", low), ("posinf", high))
    ]
    if bounds != [low, high]:
        raise call.unsupported("it has numbers in place of infinities", "use its default for posinf and neginf")
    nan = em.constant(call.get("nan") or 0.0)
    finite = em.emit("Clip", x, em.constant(low), em.constant(high))
    em.emit("Where", em.emit("IsNaN", x), nan, finite, into=call.outputs[0])


@translates("hypot")
def hypotenuse(call: Call, em: Emitter) -> None:
    """Translate hypot: ``sqrt(a * a + b * b)``."""
    first, second = em.operands("self", "other")
    squares = em.emit("Mul", first, first), em.emit("Mul", second, second)
    em.emit("Sqrt", em.emit("Add", *squares), into=call.outputs[0])


@translates("logaddexp")
def log_of_sum(call: Call, em: Emitter) -> None:
    """Translate logaddexp: ``log(exp(a) + exp(b))``, as the larger one and a softplus."""
    first, second = em.operands("self", "other")
    distance = em.emit("Abs", em.emit("Sub", first, second))
    em.emit("Add", em.emit("Max", first, second), em.emit("Softplus", em.emit("Neg", distance)), into=call.outputs[0])


@translates("xlogy")
def times_log(call: Call, em: Emitter) -> None:
    """Translate xlogy: ``x * log(y)``, and 0 where x is 0."""
    first, second = em.operands("self", "other")
    zero = em.constant(0.0)
    product = em.emit("Mul", first, em.emit("Log", second))
    em.emit("Where", em.emit("Equal", first, zero), zero, product, into=call.outputs[0])


@translates("sinc")
def sinc(call: Call, em: Emitter) -> None:
    """Translate sinc: ``sin(pi * x) / (pi * x)``, and 1 at 0."""
    angle = em.emit("Mul", em.required("self"), em.constant(math.pi))
    quotient = em.emit("Div", em.emit("Sin", angle), angle)
    is_zero = em.emit("Equal", angle, em.constant(0.0))
    em.emit("Where", is_zero, em.constant(1.0), quotient, into=call.outputs[0])


@translates("copysign")
def with_sign(call: Call, em: Emitter) -> None:
    """Translate copysign: ``|a|``, and ``-|a|`` where b is below 0."""
    first, second = em.operands("self", "other")
    magnitude = em.emit("Abs", first)
    is_below = em.emit("Less", second, em.constant(0.0))
    em.emit("Where", is_below, em.emit("Neg", magnitude), magnitude, into=call.outputs[0])


@translates("fmax", "fmin")
def extreme_of_numbers(call: Call, em: Emitter) -> None:
    """Translate fmax and fmin, which of a number and a NaN are the number."""
    first, second = em.operands("self", "other")
    found = em.emit("Max" if call.op == "fmax" else "Min", first, second)
    unless_second = em.emit("Where", em.emit("IsNaN", second), first, found)
    em.emit("Where", em.emit("IsNaN", first), second, unless_second, into=call.outputs[0])


@translates("scalar_tensor")
def scalar(call: Call, em: Emitter) -> None:
    """Translate scalar_tensor: a number."""
    em.constants[call.outputs[0]] = np.asarray(call.arguments["s"], np.float32)


def scaled(op: str, factor: float) -> Handler:
    """Return the handler of a function, if any, times a number."""

    def handler(call: Call, em: Emitter) -> None:
        x = em.required("self")
        em.emit("Mul", em.emit(op, x) if op else x, em.constant(factor), into=call.outputs[0])

    return handler


_SAME_NAME = ("exp", "log", "sqrt", "reciprocal", "sign", "floor", "ceil", "sin", "cos", "tan", "sinh", "cosh", "erf")
_INVERSE = ("asin", "acos", "atan", "asinh", "acosh", "atanh")

for _name in (*_SAME_NAME, *_INVERSE):
    translates(_name)(unary(_name.capitalize()))
translates("sgn")(unary("Sign"))
translates("isnan")(unary("IsNaN"))
for _name in _INVERSE:
    translates(_name.replace("a", "arc", 1))(unary(_name.capitalize()))
translates("minimum")(binary("Min"))
translates("maximum")(binary("Max"))
translates("log2")(scaled("Log", 1 / math.log(2)))
translates("log10")(scaled("Log", 1 / math.log(10)))
translates("deg2rad")(scaled("", math.pi / 180))
translates("rad2deg")(scaled("", 180 / math.pi))
