"""Functions of one number and of two in float64, as their definitions have them."""

import math
from collections.abc import Callable

import numpy as np

from grurt.array_types import Doubles
from grurt.network import functions

_erf = np.vectorize(math.erf, otypes=[np.float64])

BINARY: dict[str, Callable[..., Doubles]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "pow": np.power,
    "min": np.minimum,
    "max": np.maximum,
    "less": lambda a, b: (a < b).astype(np.float64),
    "less_or_equal": lambda a, b: (a <= b).astype(np.float64),
    "equal": lambda a, b: (a == b).astype(np.float64),
}
"""Operations on two values."""


def function(f: functions.AnyFunction, x: Doubles) -> Doubles:
    """Apply a function of `grurt.network.functions`; softmax and log_softmax over the last axis."""
    match f:
        case functions.Relu():
            return np.maximum(x, 0)
        case functions.LeakyRelu():
            return np.where(x >= 0, x, f.negative_slope * x)
        case functions.ThresholdedRelu():
            return np.where(x <= f.threshold, 0, x)
        case functions.Elu():
            return np.where(x >= 0, x, f.alpha * np.expm1(np.minimum(x, 0)))
        case functions.Gelu(approximate="none"):
            return x * 0.5 * (1 + _erf(x / math.sqrt(2)))
        case functions.Gelu():
            return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        case functions.Sigmoid():
            return np.exp(-np.logaddexp(0, -x))
        case functions.HardSigmoid():
            return np.clip(f.slope * x + f.offset, 0, 1)
        case functions.Tanh():
            return np.tanh(x)
        case functions.ScaledTanh():
            return f.alpha * np.tanh(f.beta * x)
        case functions.Softsign():
            return x / (1 + np.abs(x))
        case functions.Softplus():
            return np.logaddexp(0, x)
        case functions.Affine():
            return f.scale * x + f.offset
        case functions.Clip():
            return np.clip(x, f.minimum, f.maximum)
        case functions.Exp():
            return np.exp(x)
        case functions.Log():
            return np.log(x)
        case functions.Sqrt():
            return np.sqrt(x)
        case functions.Reciprocal():
            return 1 / x
        case functions.Pow():
            return np.power(x, float(np.float32(f.exponent)))
        case functions.Abs():
            return np.abs(x)
        case functions.Sign():
            return np.sign(x)
        case functions.Round():
            return np.rint(x)
        case functions.Floor():
            return np.floor(x)
        case functions.Ceil():
            return np.ceil(x)
        case functions.Sin():
            return np.sin(x)
        case functions.Cos():
            return np.cos(x)
        case functions.Erf():
            return _erf(x)
        case functions.Softmax():
            exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
            return exponentials / exponentials.sum(axis=-1, keepdims=True)
        case functions.LogSoftmax():
            shifted = x - x.max(axis=-1, keepdims=True)
            return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    raise NotImplementedError(f)
