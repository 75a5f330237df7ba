"""``nn.Linear`` and ``nn.Embedding``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from grurt.converters.kinds.kind import Kind, Module, Reading, Tensors, Weighted, is_weight
from grurt.network.layers import Embedding, Linear

if TYPE_CHECKING:
    from torch import Tensor


def _convert_linear(module: Module) -> Iterator[Weighted]:
    weights = module.weight_and_bias(axes=2)
    rows, columns = weights["weight"].shape
    bias = "bias" in weights
    yield Linear(name=module.name, inputs=module.inputs, input_size=columns, output_size=rows, bias=bias), weights


def _evaluate_linear(layer: Linear, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.linear(x, weights["weight"], weights.get("bias"))


def _convert_embedding(module: Module) -> Iterator[Weighted]:
    weight = module.get("weight", 2)
    rows, columns = weight.shape
    yield Embedding(name=module.name, inputs=module.inputs, vocabulary_size=rows, size=columns), {"weight": weight}


def _evaluate_embedding(layer: Embedding, weights: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.embedding(tokens, weights["weight"])


def _described_embedding(module: Any) -> dict[str, Any] | None:
    return {} if module.max_norm is None else None


def _embedding_readings(tensors: Tensors) -> tuple[Reading, ...]:
    return (Reading("", None, tensors["weight"].shape[1], tokens=True),)


KINDS = (
    Kind(
        "linear",
        _convert_linear,
        _evaluate_linear,
        parameters=("weight", "bias"),
        options=("layout",),
        fits=lambda tensors: is_weight(tensors, 2),
        classes=("Linear",),
    ),
    Kind(
        "embedding",
        _convert_embedding,
        _evaluate_embedding,
        parameters=("weight",),
        options=("layout",),
        fits=lambda tensors: is_weight(tensors, 2, alone=True),
        readings=_embedding_readings,
        classes=("Embedding",),
        described=_described_embedding,
    ),
)
