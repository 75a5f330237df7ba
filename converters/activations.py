"""Activation functions that several frameworks have and grurt has not, by those that it has.

Every converter asks here, so that a function means the same wherever it comes from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grurt.network.functions import (
    Affine,
    AnyFunction,
    Clip,
    Elu,
    HardSigmoid,
    LeakyRelu,
    LogSoftmax,
    Relu,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
    ThresholdedRelu,
)

LARGEST = float(np.finfo(np.float32).max)
"""The largest float32: as a bound it limits nothing."""

NEGATIVE = Affine(scale=-1.0, offset=0.0)
HARD_SIGMOID = HardSigmoid(slope=1 / 6, offset=0.5)
"""That of PyTorch, and of Keras since its version 3."""
HARD_TANH = Clip(minimum=-1.0, maximum=1.0)
RELU6 = Clip(minimum=0.0, maximum=6.0)


@dataclass(frozen=True)
class Composite:
    """Functions applied one after the other; with ``gated``, the result is multiplied with what they started from.

    ``plus`` are functions of the same input, applied one after the other as well, whose result is added.
    """

    functions: tuple[AnyFunction, ...] = ()
    gated: bool = False
    plus: tuple[AnyFunction, ...] = ()

    @property
    def is_elementwise(self) -> bool:
        """Whether each number is computed by itself, unlike those of a softmax."""
        return not any(isinstance(function, Softmax | LogSoftmax) for function in (*self.functions, *self.plus))


HARD_SWISH = Composite((HARD_SIGMOID,), gated=True)
LOG_SIGMOID = Composite((NEGATIVE, Softplus(), NEGATIVE))
MISH = Composite((Softplus(), Tanh()), gated=True)
TANH_SHRINK = Composite(plus=(Tanh(), NEGATIVE))
"""``x - tanh(x)``."""


def relu(negative_slope: float = 0.0, maximum: float | None = None, threshold: float = 0.0) -> Composite:
    """Return Keras's ReLU: x above the threshold, ``negative_slope * (x - threshold)`` below.

    From the maximum on, which is not negative, it is the maximum.
    """
    if not threshold and not negative_slope:
        return Composite((Relu() if maximum is None else Clip(0.0, maximum),))
    if not threshold:
        limit = () if maximum is None else (Clip(-LARGEST, maximum),)
        return Composite((LeakyRelu(negative_slope), *limit))
    limit = () if maximum is None else (Clip(0.0, maximum),)
    below = (Affine(-1.0, threshold), Relu(), Affine(-negative_slope, 0.0)) if negative_slope else ()
    return Composite((ThresholdedRelu(threshold), *limit), plus=below)


def celu(alpha: float = 1.0) -> Composite:
    """Return ``max(0, x) + min(0, alpha * (exp(x / alpha) - 1))``; alpha is not zero."""
    if alpha == 1:
        return Composite((Elu(alpha=1.0),))
    return Composite((Affine(scale=1 / alpha, offset=0.0), Elu(alpha=1.0), Affine(scale=alpha, offset=0.0)))


def selu(alpha: float = 1.6732632423543772, scale: float = 1.0507009873554805) -> Composite:
    """Return ``scale * (max(0, x) + min(0, alpha * (exp(x) - 1)))`` (Klambauer et al. 2017, arXiv:1706.02515)."""
    return Composite((Elu(alpha=alpha), Affine(scale=scale, offset=0.0)))


def swish(alpha: float = 1.0) -> Composite:
    """Return ``x * sigmoid(alpha * x)``, also called SiLU."""
    scaled = () if alpha == 1 else (Affine(scale=alpha, offset=0.0),)
    return Composite((*scaled, Sigmoid()), gated=True)


def hard_shrink(threshold: float = 0.5) -> Composite:
    """Return x where ``|x|`` is above a threshold that is not negative, and 0 elsewhere."""
    above = ThresholdedRelu(threshold=threshold)
    return Composite((above,), plus=(NEGATIVE, above, NEGATIVE))


def soft_shrink(threshold: float = 0.5) -> Composite:
    """Return x moved towards 0 by a threshold that is not negative, and no further."""
    return Composite(plus=(Clip(minimum=-threshold, maximum=threshold), NEGATIVE))
