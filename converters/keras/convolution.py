"""Conv1D: causal ones, which look back in time only."""

from __future__ import annotations

from grurt.converters.keras.activations import composite
from grurt.converters.keras.builder import Builder
from grurt.converters.keras.handlers import converts, refuses
from grurt.converters.keras.values import Arguments, Kind, Layer, Tensor
from grurt.network import layers

refuses(
    "Convolution1D",
    because="a convolution of Keras 1 cannot be causal; train the layer as Conv1D with padding='causal'",
)
refuses(
    "SeparableConv1D",
    because="grurt has no separable convolution; use Conv1D with padding='causal' and groups",
)
refuses(
    "DepthwiseConv1D",
    because="grurt has no depthwise convolution; use Conv1D with padding='causal' and groups",
)


@converts("Conv1D")
def conv1d(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``Conv1D`` with ``padding="causal"``, or of one timestep. The mask ends here, as in Keras."""
    config = layer.config
    args.check_named(layer)
    tensor = build.value(layer, args.only(layer), Kind.SEQUENCE)
    filters, kernel_size = config.integer("filters"), config.integer("kernel_size")
    dilation, groups = config.integer("dilation_rate", 1), config.integer("groups", 1)
    config.require("strides", (1, [1]), "a stream gives one output for each input")
    config.require("data_format", ("channels_last", None), "use data_format='channels_last'")
    bias = config.boolean("use_bias", True)
    _check_padding(layer, config.get("padding", "valid"), kernel_size, backwards=tensor.backwards)
    activation = composite(layer, "activation", config.get("activation"))
    config.policy()
    config.check_all_read()
    weights = layer.weights.take(layer.where, *(("kernel", "bias") if bias else ("kernel",)))
    expected = (kernel_size, tensor.size // groups, filters)
    if weights[0].shape != expected or (bias and weights[1].shape != (filters,)):
        raise layer.invalid(f"expected a kernel of shape {expected}, got {weights[0].shape}")
    made = layers.Conv1d(
        name=build.unique(layer.name),
        inputs=(tensor.value,),
        input_size=tensor.size,
        output_size=filters,
        kernel_size=kernel_size,
        dilation=dilation,
        groups=groups,
        bias=bias,
    )
    arrays = {"weight": weights[0].transpose(2, 1, 0)} | ({"bias": weights[1]} if bias else {})
    value = build.activate(build.add(made, arrays), activation)
    return (Tensor(value, filters, Kind.SEQUENCE, tensor.backwards),)


def _check_padding(layer: Layer, padding: object, kernel_size: int, *, backwards: bool) -> None:
    if kernel_size == 1 and padding in ("causal", "same", "valid"):
        return
    if padding != "causal":
        effect = "shortens the sequence" if padding == "valid" else "looks ahead"
        raise layer.unsupported(
            f"padding={str(padding)[:100]!r}, which {effect}",
            "train the layer with padding='causal', so that it can stream",
        )
    if backwards:
        raise layer.unsupported(
            "a sequence that go_backwards=True has reversed as its input", "a convolution can only look back in time"
        )
