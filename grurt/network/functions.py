"""Activation functions, as data.

A function is what an `Activation` layer or a GRU gate computes. Parameters are named as PyTorch names them where
PyTorch has the function, and as ONNX does elsewhere. All are finite float64 numbers, rounded to float32 when the
model is lowered.
"""

import math
from typing import ClassVar, Literal

import msgspec

__all__ = [
    "Abs",
    "Affine",
    "Ceil",
    "Clip",
    "Cos",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "Pow",
    "Reciprocal",
    "Relu",
    "Round",
    "ScaledTanh",
    "Sigmoid",
    "Sign",
    "Sin",
    "Softmax",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Tanh",
    "ThresholdedRelu",
]


def snake_case(class_name: str) -> str:
    """Return the name of a class as it stands in files: ``LayerNorm`` -> ``layer_norm``."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in class_name).lstrip("_")


class Function(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="function",
    tag=snake_case,
):
    """Base class of the activation functions."""

    file_version: ClassVar[int] = 1
    """The first version of the ``.grurt`` file that has it."""
    has_poles: ClassVar[bool] = False
    """Whether it makes infinities, or NaN, of numbers that are neither, and of no great size."""

    @property
    def name(self) -> str:
        """The function's name as it stands in files and descriptions, e.g. ``"hard_sigmoid"``."""
        return str(self.__struct_config__.tag)

    @property
    def contradiction(self) -> str | None:
        """What is wrong with the parameters, each of them being a number; None if they fit together."""
        return None


class Elementwise(Function, frozen=True):
    """Base class of the functions of a single number: those that a GRU gate may use."""

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and largest value that the function can have, of whatever number; infinite where there is none."""
        return -math.inf, math.inf


class Relu(Elementwise, frozen=True):
    """``max(x, 0)``."""


class LeakyRelu(Elementwise, frozen=True):
    """``x if x >= 0 else negative_slope * x``."""

    negative_slope: float = 0.01


class ThresholdedRelu(Elementwise, frozen=True):
    """``x if x > threshold else 0`` (ONNX ThresholdedRelu; its alpha is the threshold)."""

    threshold: float = 1.0


class Elu(Elementwise, frozen=True):
    """``x if x >= 0 else alpha * (exp(x) - 1)``."""

    alpha: float = 1.0


class Gelu(Elementwise, frozen=True):
    """``x * Phi(x)``; ``approximate="tanh"`` is ``x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 * x**3)))``."""

    approximate: Literal["none", "tanh"] = "none"


class Sigmoid(Elementwise, frozen=True):
    """``1 / (1 + exp(-x))``."""

    @property
    def bounds(self) -> tuple[float, float]:
        return 0.0, 1.0


class HardSigmoid(Elementwise, frozen=True):
    """``min(max(slope * x + offset, 0), 1)``.

    Without defaults, because they differ: slope 1/6 in PyTorch and Keras 3, 0.2 in ONNX and Keras 1 and 2.
    """

    slope: float
    offset: float

    @property
    def bounds(self) -> tuple[float, float]:
        return 0.0, 1.0


class Tanh(Elementwise, frozen=True):
    """``tanh(x)``."""

    @property
    def bounds(self) -> tuple[float, float]:
        return -1.0, 1.0


class ScaledTanh(Elementwise, frozen=True):
    """``alpha * tanh(beta * x)``."""

    alpha: float = 1.0
    beta: float = 1.0

    @property
    def bounds(self) -> tuple[float, float]:
        return -abs(self.alpha), abs(self.alpha)


class Softsign(Elementwise, frozen=True):
    """``x / (1 + |x|)``."""

    @property
    def bounds(self) -> tuple[float, float]:
        return -1.0, 1.0


class Softplus(Elementwise, frozen=True):
    """``log(1 + exp(x))``."""


class Affine(Elementwise, frozen=True):
    """``scale * x + offset``."""

    scale: float = 1.0
    offset: float = 0.0


class Clip(Elementwise, frozen=True):
    """``min(max(x, minimum), maximum)``, with ``minimum <= maximum``."""

    minimum: float
    maximum: float

    @property
    def bounds(self) -> tuple[float, float]:
        return self.minimum, self.maximum

    @property
    def contradiction(self) -> str | None:
        if self.minimum <= self.maximum:
            return None
        return f"minimum {self.minimum} is above maximum {self.maximum}"


class Mathematical(Function, frozen=True):
    """Base class of the functions of a single number that no GRU gate may be: they compute what surrounds a network."""

    file_version: ClassVar[int] = 2


class Exp(Mathematical, frozen=True):
    """``e ** x``; 0 below -87.3, where results are too small for normal float32."""

    has_poles: ClassVar[bool] = True


class Log(Mathematical, frozen=True):
    """The natural logarithm; minus infinity at 0, NaN below."""

    has_poles: ClassVar[bool] = True


class Sqrt(Mathematical, frozen=True):
    """The square root; NaN below 0."""

    has_poles: ClassVar[bool] = True


class Reciprocal(Mathematical, frozen=True):
    """``1 / x``; infinite at 0."""

    has_poles: ClassVar[bool] = True


class Pow(Mathematical, frozen=True):
    """``x ** exponent``; NaN below 0 unless the exponent is whole."""

    has_poles: ClassVar[bool] = True

    exponent: float

    @property
    def contradiction(self) -> str | None:
        return "an exponent of 0 makes every number 1" if self.exponent == 0 else None


class Abs(Mathematical, frozen=True):
    """``|x|``."""


class Sign(Mathematical, frozen=True):
    """-1 below 0, 1 above, and 0."""


class Round(Mathematical, frozen=True):
    """The nearest whole number, of two the even one (PyTorch, ONNX and NumPy ``round``)."""


class Floor(Mathematical, frozen=True):
    """The largest whole number that is not above x."""


class Ceil(Mathematical, frozen=True):
    """The smallest whole number that is not below x."""


class Sin(Mathematical, frozen=True):
    """``sin(x)``, x in radians, to the same error however large x is; NaN for infinities."""


class Cos(Mathematical, frozen=True):
    """``cos(x)``, x in radians, to the same error however large x is; NaN for infinities."""


class Erf(Mathematical, frozen=True):
    """The error function, ``2 / sqrt(pi)`` times the integral of ``exp(-t ** 2)`` from 0 to x."""


class Softmax(Function, frozen=True):
    """``exp(x_i) / sum_j exp(x_j)`` over the features of a timestep."""


class LogSoftmax(Function, frozen=True):
    """``x_i - log(sum_j exp(x_j))`` over the features of a timestep."""


ElementwiseFunction = (
    Relu
    | LeakyRelu
    | ThresholdedRelu
    | Elu
    | Gelu
    | Sigmoid
    | HardSigmoid
    | Tanh
    | ScaledTanh
    | Softsign
    | Softplus
    | Affine
    | Clip
)
"""What a GRU gate may use."""

MathematicalFunction = Exp | Log | Sqrt | Reciprocal | Pow | Abs | Sign | Round | Floor | Ceil | Sin | Cos | Erf
"""The other functions of a single number."""

AnyFunction = ElementwiseFunction | MathematicalFunction | Softmax | LogSoftmax
"""What an `Activation` layer may use."""
