"""What a sequence comes to: its sum, mean or maximum over time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from grurt.converters.kinds.kind import Kind, Module, Weighted
from grurt.errors import DescriptionError
from grurt.network.layers import TimePooling

if TYPE_CHECKING:
    from torch import Tensor


def _convert(operation: Literal["sum", "mean", "max"]) -> Callable[[Module], Iterator[Weighted]]:
    def convert(module: Module) -> Iterator[Weighted]:
        if module.input_size is None:
            raise DescriptionError(
                f"layer {module.name!r}: expected a layer before it that says how many features it gives; "
                "name the model's inputs"
            )
        size = module.input_size
        yield TimePooling(name=module.name, inputs=module.inputs, size=size, operation=operation), {}

    return convert


def _evaluate(layer: TimePooling, weights: object, x: Tensor) -> Tensor:
    match layer.operation:
        case "mean":
            return x.mean(1)
        case "max":
            return x.amax(1)
    return x.sum(1)


KINDS = tuple(Kind(f"{operation}_over_time", _convert(operation)) for operation in ("mean", "max", "sum"))

EVALUATED: Mapping[str, Callable[..., Any]] = {"time_pooling": _evaluate}
"""By the layer's kind."""
