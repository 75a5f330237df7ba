"""``nn.LayerNorm``, ``nn.RMSNorm`` and ``nn.BatchNorm1d``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from grurt.converters.kinds.kind import Kind, Module, Reading, Tensors, Weighted, is_weight
from grurt.network.layers import BatchNorm, LayerNorm, RMSNorm

if TYPE_CHECKING:
    from torch import Tensor

RMS_EPSILON = float(np.finfo(np.float32).eps)
"""PyTorch's default, of float32."""


def _convert_layer_norm(module: Module) -> Iterator[Weighted]:
    weights = module.weight_and_bias(axes=1)
    if module.inferred:
        module.notes.append(
            f"{module.name}: taken as a LayerNorm; the weights of a GroupNorm or InstanceNorm look alike"
        )
    yield (
        LayerNorm(
            name=module.name,
            inputs=module.inputs,
            size=len(weights["weight"]),
            epsilon=module.epsilon,
            bias="bias" in weights,
        ),
        weights,
    )


def _evaluate_layer_norm(layer: LayerNorm, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.layer_norm(x, (layer.size,), weights.get("weight"), weights.get("bias"), layer.epsilon)


def _described_layer_norm(module: Any) -> dict[str, Any] | None:
    of_features = len(module.normalized_shape) == 1 and module.elementwise_affine
    return {"epsilon": module.eps} if of_features else None


def _convert_rms_norm(module: Module) -> Iterator[Weighted]:
    weight = module.get("weight", 1)
    epsilon = RMS_EPSILON if module.options.epsilon is None else module.options.epsilon
    yield RMSNorm(name=module.name, inputs=module.inputs, size=len(weight), epsilon=epsilon), {"weight": weight}


def _evaluate_rms_norm(layer: RMSNorm, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.rms_norm(x, (layer.size,), weights.get("weight"), layer.epsilon)


def _described_rms_norm(module: Any) -> dict[str, Any] | None:
    of_features = len(module.normalized_shape) == 1 and module.elementwise_affine
    return {"epsilon": RMS_EPSILON if module.eps is None else module.eps} if of_features else None


def _convert_batch_norm(module: Module) -> Iterator[Weighted]:
    mean = module.get("running_mean", 1)
    weights = {
        "mean": mean,
        "variance": module.get("running_var", 1),
        "weight": module.get("weight", 1) if "weight" in module.tensors else np.ones_like(mean),
        "bias": module.get("bias", 1) if "bias" in module.tensors else np.zeros_like(mean),
    }
    yield BatchNorm(name=module.name, inputs=module.inputs, size=len(mean), epsilon=module.epsilon), weights


def evaluate_batch_norm(layer: BatchNorm, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Return what torch computes for the layer."""
    from torch.nn import functional

    rows = x.reshape(-1, layer.size)
    mean, variance, weight, bias = (weights[name] for name in ("mean", "variance", "weight", "bias"))
    return functional.batch_norm(rows, mean, variance, weight, bias, eps=layer.epsilon).reshape(x.shape)


def _is_batch_norm(tensors: Tensors) -> bool:
    names = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    return {"running_mean", "running_var"} <= tensors.keys() <= names


def _batch_norm_readings(tensors: Tensors) -> tuple[Reading, ...]:
    size = tensors["running_mean"].size
    return (Reading("", size, size),)


KINDS = (
    Kind(
        "layer_norm",
        _convert_layer_norm,
        _evaluate_layer_norm,
        parameters=("weight", "bias"),
        options=("epsilon",),
        fits=lambda tensors: is_weight(tensors, 1),
        classes=("LayerNorm",),
        described=_described_layer_norm,
    ),
    Kind(
        "rms_norm",
        _convert_rms_norm,
        _evaluate_rms_norm,
        parameters=("weight",),
        options=("epsilon",),
        fits=lambda tensors: is_weight(tensors, 1, alone=True),
        classes=("RMSNorm",),
        opset=23,
        described=_described_rms_norm,
    ),
    Kind(
        "batch_norm",
        _convert_batch_norm,
        evaluate_batch_norm,
        parameters=("weight", "bias", "running_mean", "running_var"),
        options=("epsilon",),
        fits=_is_batch_norm,
        readings=_batch_norm_readings,
        classes=("BatchNorm1d",),
        described=lambda module: None,
    ),
)
