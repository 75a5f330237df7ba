"""``nn.Conv1d``, ``nn.MaxPool1d`` and ``nn.AvgPool1d``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from grurt.array_types import Array
from grurt.converters import windows
from grurt.converters.kinds.kind import Kind, Module, Reading, Tensors, Weighted, is_weight
from grurt.converters.layer_builder import LayerBuilder
from grurt.converters.windows import Padding, Window
from grurt.errors import DescriptionError
from grurt.network.layers import Conv1d

if TYPE_CHECKING:
    from torch import Tensor

_MOST_ELEMENTS = 1 << 31
"""Of weights, which have been read already."""


class _Parts(LayerBuilder):
    """The layers of one module, and their weights."""

    used_too_often = "its weights are used too often"

    def weighted(self) -> Iterator[Weighted]:
        for layer in self.layers.values():
            yield layer, {name: self.weights[f"{layer.name}.{name}"] for name in layer.weight_shapes()}


def _convert(module: Module) -> Iterator[Weighted]:
    weights: dict[str, Array] = module.weight_and_bias(axes=3)
    output_size, inputs_per_group, kernel_size = weights["weight"].shape
    groups, dilation = module.number("groups", 1), module.number("dilation", 1)
    if kernel_size > 1 and module.options.padding is None:
        module.notes.append(f"{module.name}: taken as causal, padded with zeros on the left only")
    window = Window(kernel_size, module.number("stride", 1), dilation, _padding(module, (kernel_size - 1) * dilation))
    layer = Conv1d(
        name=module.name,
        inputs=module.inputs,
        input_size=inputs_per_group * groups,
        output_size=output_size,
        kernel_size=kernel_size,
        dilation=dilation,
        groups=groups,
        bias="bias" in weights,
    )
    parts = _Parts(_MOST_ELEMENTS, [module.name])
    windows.convolution(parts, layer, weights, window)
    yield from parts.weighted()


def _padding(module: Module, history: int) -> Padding:
    padding = module.options.padding
    if padding in ("causal", None):
        return history, 0
    if padding == "same":
        return "same"
    count = module.number("padding", 0, least=0)
    return count, count


def _evaluate(layer: Conv1d, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    from torch.nn import functional

    padded = functional.pad(x.transpose(1, 2), ((layer.kernel_size - 1) * layer.dilation, 0))
    convolved = functional.conv1d(
        padded, weights["weight"], weights.get("bias"), dilation=layer.dilation, groups=layer.groups
    )
    return convolved.transpose(1, 2)


def _max_pool(module: Module) -> Iterator[Weighted]:
    parts = _Parts(0, [module.name])
    window, size = _pool(module)
    windows.maximum(parts, module.inputs[0], size, window, module.name)
    return parts.weighted()


def _average_pool(module: Module) -> Iterator[Weighted]:
    parts = _Parts(_MOST_ELEMENTS, [module.name])
    window, size = _pool(module)
    windows.average(parts, module.inputs[0], size, window, module.name)
    return parts.weighted()


def _pool(module: Module) -> tuple[Window, int]:
    """Return the windows of a pool, and how many features it reads."""
    if module.options.kernel_size is None or isinstance(module.options.padding, str):
        raise DescriptionError(
            f"layer {module.name!r}: expected a pool with its kernel_size, and a number as its padding if it has any; "
            "write for example (max_pool, kernel_size=2)"
        )
    if module.input_size is None:
        raise DescriptionError(
            f"layer {module.name!r}: expected a pool behind a layer that says how many features it gives; "
            "name the model's inputs"
        )
    kernel_size, padding = module.number("kernel_size", 1), module.number("padding", 0, least=0)
    if kernel_size > windows.MAX_TAPS:
        raise DescriptionError(
            f"layer {module.name!r}: expected a kernel_size of at most {windows.MAX_TAPS}, got {kernel_size}"
        )
    return Window(kernel_size, module.number("stride", kernel_size), 1, (padding, padding)), module.input_size


def _readings(tensors: Tensors) -> tuple[Reading, ...]:
    """Return the reading of one group; and, where each output reads one input, as many groups as outputs."""
    outputs, inputs, _ = tensors["weight"].shape
    depthwise = (Reading(f"groups={outputs}", outputs, outputs),) if inputs == 1 < outputs else ()
    return Reading("", inputs, outputs), *depthwise


KINDS = (
    Kind(
        "conv1d",
        _convert,
        _evaluate,
        parameters=("weight", "bias"),
        options=("dilation", "groups", "padding", "stride", "layout"),
        fits=lambda tensors: is_weight(tensors, 3),
        readings=_readings,
        classes=("Conv1d",),
        described=lambda module: None,
    ),
    Kind("max_pool", _max_pool, options=("kernel_size", "stride", "padding")),
    Kind("average_pool", _average_pool, options=("kernel_size", "stride", "padding")),
)
