"""``nn.Conv1d``, padded on the left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from grurt.converters.kinds.kind import Kind, Module, Reading, Tensors, Weighted, is_weight
from grurt.network.layers import Conv1d

if TYPE_CHECKING:
    from torch import Tensor


def _convert(module: Module) -> Iterator[Weighted]:
    weights = module.weight_and_bias(axes=3)
    output_size, inputs_per_group, kernel_size = weights["weight"].shape
    groups = module.options.groups or 1
    if kernel_size > 1:
        module.notes.append(f"{module.name}: taken as causal, padded with zeros on the left only")
    layer = Conv1d(
        name=module.name,
        inputs=module.inputs,
        input_size=inputs_per_group * groups,
        output_size=output_size,
        kernel_size=kernel_size,
        dilation=module.options.dilation or 1,
        groups=groups,
        bias="bias" in weights,
    )
    yield layer, weights


def _evaluate(layer: Conv1d, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    from torch.nn import functional

    padded = functional.pad(x.transpose(1, 2), ((layer.kernel_size - 1) * layer.dilation, 0))
    convolved = functional.conv1d(
        padded, weights["weight"], weights.get("bias"), dilation=layer.dilation, groups=layer.groups
    )
    return convolved.transpose(1, 2)


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
        options=("dilation", "groups", "layout"),
        fits=lambda tensors: is_weight(tensors, 3),
        readings=_readings,
        classes=("Conv1d",),
        described=lambda module: None,
    ),
)
