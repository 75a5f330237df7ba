"""``MaxPooling1D`` with ``strides=1``, behind a ``ZeroPadding1D`` that makes it causal: a running maximum."""

from __future__ import annotations

import numpy as np

from grurt.converters.keras.builder import Builder
from grurt.converters.keras.handlers import converts, reason_against
from grurt.converters.keras.values import Arguments, Kind, Layer, Tensor
from grurt.network import layers

_MOST_TIMESTEPS = 64


@converts("MaxPooling1D", "MaxPool1D")
def max_pooling1d(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """Return the largest of each feature at the timestep and those before it, of which those of the padding are 0."""
    config = layer.config
    args.check_named(layer)
    tensor = build.value(layer, args.only(layer), Kind.SEQUENCE, padded=True)
    pool_size = config.integer("pool_size", 2)
    strides = config.get("strides")
    strides = pool_size if strides is None else strides
    config.require("padding", ("valid", "same"), "pad on the left only")
    config.require("data_format", ("channels_last", None), "use data_format='channels_last'")
    padding = config.get("padding", "valid")
    config.policy()
    config.check_all_read()
    is_causal = tensor.padding == pool_size - 1 and not (tensor.backwards and pool_size > 1)
    if strides not in (1, [1]) or not is_causal or (padding == "same" and pool_size > 1):
        raise layer.unsupported(
            f"pool_size={pool_size}, strides={str(strides)[:20]} behind {tensor.padding} timesteps of zeros",
            *reason_against("MaxPooling1D"),
        )
    if pool_size > _MOST_TIMESTEPS:
        raise layer.unsupported(f"pool_size={pool_size}", f"at most {_MOST_TIMESTEPS} are supported")
    if pool_size == 1:
        return (Tensor(tensor.value, tensor.size, Kind.SEQUENCE, tensor.backwards),)
    values = (tensor.value, *(_delayed(layer, tensor, steps, build) for steps in range(1, pool_size)))
    largest = layers.Binary(name=build.unique(layer.name), inputs=values, operation="max")
    return (Tensor(build.add(largest), tensor.size, Kind.SEQUENCE),)


def _delayed(layer: Layer, tensor: Tensor, steps: int, build: Builder) -> str:
    """Return the value as it was some timesteps before, zeros at first."""
    made = layers.Conv1d(
        name=build.unique(f"{layer.name}.delay"),
        inputs=(tensor.value,),
        input_size=tensor.size,
        output_size=tensor.size,
        kernel_size=2,
        dilation=steps,
        groups=tensor.size,
        bias=False,
    )
    weight = build.filled(layer, (tensor.size, 1, 2), np.array([1, 0], np.float32))
    return build.add(made, {"weight": weight})
