"""Activation functions that several frameworks have and grurt has not, by those that it has.

Every converter asks here, so that a function means the same wherever it comes from.
"""

from __future__ import annotations

from dataclasses import dataclass

from grurt.network.functions import (
    Affine,
    AnyFunction,
    Clip,
    Elu,
    HardSigmoid,
    Sigmoid,
    Softplus,
    Tanh,
)

NEGATIVE = Affine(scale=-1.0, offset=0.0)
HARD_SIGMOID = HardSigmoid(slope=1 / 6, offset=0.5)
"""That of PyTorch, and of Keras since its version 3."""
HARD_TANH = Clip(minimum=-1.0, maximum=1.0)
RELU6 = Clip(minimum=0.0, maximum=6.0)


@dataclass(frozen=True)
class Composite:
    """Functions applied one after the other; with ``gated``, the result is multiplied with what they started from."""

    functions: tuple[AnyFunction, ...] = ()
    gated: bool = False


HARD_SWISH = Composite((HARD_SIGMOID,), gated=True)
LOG_SIGMOID = Composite((NEGATIVE, Softplus(), NEGATIVE))
MISH = Composite((Softplus(), Tanh()), gated=True)


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
