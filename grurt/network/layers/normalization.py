"""Normalizations of the features of a timestep."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from grurt.array_types import Array
from grurt.network.layers.base import Shape, SizedLayer, with_bias

__all__ = ["BatchNorm", "LayerNorm", "RMSNorm"]


class LayerNorm(SizedLayer, frozen=True, kw_only=True):
    """``(x - mean) / sqrt(variance + epsilon) * weight + bias``, over the features of a timestep (Ba et al. 2016).

    The variance is the biased one, as in PyTorch, ONNX and Keras. ``weight (size,)`` and ``bias (size,)`` are optional.
    """

    positive: ClassVar[tuple[str, ...]] = ("epsilon",)

    epsilon: float = 1e-5
    weight: bool = True
    bias: bool = True

    def weight_shapes(self) -> Mapping[str, Shape]:
        return with_bias(self.bias, self.size, {"weight": (self.size,)} if self.weight else {})


class BatchNorm(SizedLayer, frozen=True, kw_only=True):
    """``(x - mean) / sqrt(variance + epsilon) * weight + bias`` with stored statistics (Ioffe and Szegedy 2015).

    ``mean``, ``variance``, ``weight`` and ``bias`` are all ``(size,)``; the variance is not negative.
    """

    positive: ClassVar[tuple[str, ...]] = ("epsilon",)
    variances: ClassVar[tuple[str, ...]] = ("variance",)

    epsilon: float = 1e-5

    def weight_shapes(self) -> Mapping[str, Shape]:
        return dict.fromkeys(("mean", "variance", "weight", "bias"), (self.size,))

    def check_together(self, weights: Mapping[str, Array]) -> None:
        self._expect_float32("a quotient of weight and deviation", self.factor(weights["weight"], weights["variance"]))

    def factor(self, weight: Array, variance: Array) -> Array:
        """Return what a feature is multiplied with, once its mean is taken off; float64."""
        return weight / np.sqrt(variance.astype(np.float64) + self.epsilon)


class RMSNorm(SizedLayer, frozen=True, kw_only=True, tag="rms_norm"):
    """``x / sqrt(mean(x * x) + epsilon) * weight``, over the features of a timestep (Zhang and Sennrich 2019).

    ``weight (size,)`` is optional. It is ONNX ``RMSNormalization``, PyTorch ``nn.RMSNorm``, Keras ``RMSNormalization``.
    """

    file_version: ClassVar[int] = 2
    positive: ClassVar[tuple[str, ...]] = ("epsilon",)

    epsilon: float = 1e-5
    weight: bool = True

    def weight_shapes(self) -> Mapping[str, Shape]:
        return {"weight": (self.size,)} if self.weight else {}
