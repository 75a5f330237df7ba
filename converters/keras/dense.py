"""Dense and Embedding."""

from __future__ import annotations

import numpy as np

from grurt.converters.keras.activations import composite
from grurt.converters.keras.builder import Builder
from grurt.converters.keras.handlers import converts
from grurt.converters.keras.values import VECTORS, Arguments, Kind, Layer, Tensor
from grurt.errors import DesignReason
from grurt.network import layers


@converts("Dense", "TimeDistributedDense")
def dense(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``Dense``, also with an activation."""
    config = layer.config
    args.check_named(layer)
    tensor = build.value(layer, args.only(layer), *VECTORS)
    units = config.integer("output_dim" if "output_dim" in config else "units")
    bias = config.boolean("bias" if "bias" in config else "use_bias", True)
    activation = composite(layer, "activation", config.get("activation"))
    config.skip("init", "input_dim")
    config.policy()
    config.check_all_read()
    weights = layer.weights.take(layer.where, *(("kernel", "bias") if bias else ("kernel",)))
    if weights[0].shape != (tensor.size, units) or (bias and weights[1].shape != (units,)):
        raise layer.invalid(f"expected a kernel of shape ({tensor.size}, {units}), got {weights[0].shape}")
    made = layers.Linear(
        name=build.unique(layer.name), inputs=(tensor.value,), input_size=tensor.size, output_size=units, bias=bias
    )
    arrays = {"weight": weights[0].T} | ({"bias": weights[1]} if bias else {})
    return (tensor.with_value(build.activate(build.add(made, arrays), activation), units),)


@converts("Embedding")
def embedding(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``Embedding``; with ``mask_zero``, token 0 is skipped by the layers behind it."""
    config = layer.config
    args.check_named(layer)
    tensor = args.only(layer)
    vocabulary, size = config.integer("input_dim"), config.integer("output_dim")
    config.skip("init", "W_regularizer", "input_length", "sparse")
    config.require("dropout", (0.0, 0, None), "it is for training only")
    mask_zero = config.boolean("mask_zero")
    config.policy()
    config.check_all_read()
    if tensor.kind is not Kind.FLAT or not build.inputs[tensor.value].may_be_tokens:
        raise layer.unsupported(
            f"{tensor.kind.value} as its input", "tokens must be an input of the model (batch, time)"
        )
    (weight,) = layer.weights.take(layer.where, "embeddings")
    if weight.shape != (vocabulary, size):
        raise layer.invalid(f"expected a matrix of shape ({vocabulary}, {size}), got {weight.shape}")
    build.tokens(layer, tensor.value, vocabulary)
    made = layers.Embedding(
        name=build.unique(layer.name), inputs=(tensor.value,), vocabulary_size=vocabulary, size=size
    )
    value = build.add(made, {"weight": weight})
    mask = build.mask(tensor.value, 0, tokens=True) if mask_zero else None
    return (Tensor(value, size, Kind.SEQUENCE, mask=mask),)


@converts("CategoryEncoding")
def category_encoding(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``CategoryEncoding`` of tokens with ``output_mode="one_hot"``: an embedding by a matrix of ones."""
    config = layer.config
    classes = config.integer("num_tokens")
    mode = config.get("output_mode", "multi_hot")
    config.require("sparse", (False, None), "use dense vectors")
    config.policy()
    config.check_all_read()
    if mode != "one_hot":
        raise config.unsupported(
            f"output_mode={str(mode)[:50]!r}, which joins all tokens of a sequence",
            "use output_mode='one_hot'",
            DesignReason.WHOLE_SEQUENCE,
        )
    return (one_hot_tokens(layer, args.only(layer), classes, build),)


def one_hot_tokens(layer: Layer, tensor: Tensor, classes: int, build: Builder) -> Tensor:
    """Return vectors of one 1 each, at the place that a token of the model's input says."""
    if tensor.kind is not Kind.FLAT or not build.inputs[tensor.value].may_be_tokens:
        raise layer.unsupported(
            f"{tensor.kind.value} as its input", "tokens must be an input of the model (batch, time)"
        )
    if classes > _MOST_CLASSES:
        raise layer.unsupported(f"{classes} classes", f"at most {_MOST_CLASSES} are supported")
    build.tokens(layer, tensor.value, classes)
    ones = build.filled(layer, (classes, classes), 0.0)
    np.fill_diagonal(ones, 1.0)
    made = layers.Embedding(
        name=build.unique(layer.name), inputs=(tensor.value,), vocabulary_size=classes, size=classes
    )
    return Tensor(build.add(made, {"weight": ones}), classes, Kind.SEQUENCE)


_MOST_CLASSES = 1 << 12
"""The table has the square of that many numbers."""
