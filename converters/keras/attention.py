"""``Attention``, ``AdditiveAttention`` and ``MultiHeadAttention``: sequences that a query looks through."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from grurt.array_types import Array
from grurt.converters.attending import MAX_STEPS
from grurt.converters.keras.builder import Builder, same_time
from grurt.converters.keras.handlers import converts
from grurt.converters.keras.products import product
from grurt.converters.keras.values import Arguments, Kind, Layer, Tensor
from grurt.errors import DesignReason
from grurt.network import layers
from grurt.network.functions import Affine

_LITTLE = Affine(1e9, -1e9)
"""What Keras adds to the scores of timesteps that a mask skips, of the mask."""


@dataclass(frozen=True)
class _Call:
    """What such a layer is called with; a query that is repeated is the same at every timestep."""

    query: Tensor
    keys: Tensor
    values: Tensor
    causal: bool

    @property
    def is_single(self) -> bool:
        return self.query.kind is not Kind.SEQUENCE


@converts("Attention", "AdditiveAttention")
def attention(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``Attention`` by products or by tangents, and ``AdditiveAttention``."""
    tensors = args.tensors(layer)
    if len(tensors) not in (2, 3):
        raise layer.unsupported(f"{len(tensors)} inputs", "expected [query, value] or [query, value, key]")
    call = _called(layer, args, tensors[0], tensors[1], tensors[-1], build)
    config = layer.config
    config.skip("dropout", "seed")
    is_scaled = config.boolean("use_scale")
    is_dot = layer.kind == "Attention" and config.get("score_mode", "dot") == "dot"
    if layer.kind == "Attention":
        config.require("score_mode", ("dot", "concat", None), "use one of Keras's own")
    config.policy()
    config.check_all_read()
    names = ["scale"] * is_scaled + ["concat_score_weight"] * (layer.kind == "Attention" and not is_dot)
    weights = dict(zip(names, layer.weights.take(layer.where, *names), strict=True)) if names else {}
    one = np.ones((), np.float32)
    sizes = (1, call.keys.size) if layer.kind == "AdditiveAttention" else (1,)
    for name, array in weights.items():
        if array.size not in sizes:
            raise layer.invalid(f"expected a {name} of size {sizes[-1]}, got the shape {array.shape}")
    scale = weights.get("scale", one).reshape(-1)
    if is_dot:
        return (_attended(layer, call, build, scale=float(scale[0])),)
    if layer.kind == "AdditiveAttention":
        weight = scale
    else:
        weight = weights["concat_score_weight"].reshape(-1)
        function = Affine(float(scale[0]), 0.0)
        query, keys = (each.with_value(build.function(each.value, function)) for each in (call.query, call.keys))
        call = replace(call, query=query, keys=keys) if is_scaled else call
    return (_attended(layer, call, build, weight=build.filled(layer, (call.keys.size,), weight)),)


@converts("MultiHeadAttention")
def multi_head_attention(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``MultiHeadAttention`` over time, of several heads, each with matrices of its own."""
    named = [args.named.get(name) for name in ("query", "value", "key")]
    given = [*args.positional, *named[len(args.positional) :]]
    tensors = [item for item in given if isinstance(item, Tensor)]
    if not 2 <= len(tensors) <= 3 or len(tensors) < len([item for item in given if item is not None]):
        raise layer.unsupported("other arguments than query, value and key", "call the layer with these")
    call = _called(layer, args, tensors[0], tensors[1], tensors[-1], build)
    if any(tensor.mask is not None for tensor in (call.query, call.keys, call.values)):
        raise layer.unsupported(
            "a masked sequence, whose mask Keras takes away from whatever reads it after this layer",
            "use Attention, which leaves it there",
            DesignReason.FAULTY_SOURCE,
        )
    config = layer.config
    config.skip("dropout", "seed", "flash_attention")
    config.skip("query_shape", "value_shape", "key_shape", "activity_regularizer")
    for part in ("initializer", "regularizer", "constraint"):
        config.skip(f"kernel_{part}", f"bias_{part}")
    heads, key_dim = config.integer("num_heads"), config.integer("key_dim")
    value_dim = key_dim if config.get("value_dim") is None else config.integer("value_dim")
    has_bias = config.boolean("use_bias")
    config.require("sliding_window", (None,), "attend to all timesteps")
    config.require("use_gate", (None, False), "leave the gate out")
    config.require("attention_axes", (None, [1], (1,)), "attend over the timesteps")
    output_shape = config.get("output_shape")
    config.policy()
    config.check_all_read()
    if output_shape is not None and not (isinstance(output_shape, list) and len(output_shape) == 1):
        raise layer.unsupported(f"output_shape={str(output_shape)[:50]}", "give one number of features")
    query = _projected(layer, "query_dense", call.query, heads * key_dim, has_bias, build)
    keys = _projected(layer, "key_dense", call.keys, heads * key_dim, has_bias, build)
    values = _projected(layer, "value_dense", call.values, heads * value_dim, has_bias, build)
    call = replace(call, query=query, keys=keys, values=values)
    found = _attended(layer, call, build, scale=1 / sqrt(key_dim), heads=heads)
    names = ("kernel", "bias") if has_bias else ("kernel",)
    kernel, *bias = layer.weights.child("output_dense").take(layer.where, *names)
    if kernel.size % (heads * value_dim):
        raise layer.invalid(f"expected a matrix of {heads * value_dim} rows, got the shape {kernel.shape}")
    matrix = np.asarray(kernel).reshape(heads * value_dim, -1).T
    return (product(layer, found, matrix, build, bias[0].reshape(-1) if bias else None),)


def _projected(layer: Layer, part: str, tensor: Tensor, size: int, has_bias: bool, build: Builder) -> Tensor:
    """Return what the heads read of a tensor, side by side."""
    names = ("kernel", "bias") if has_bias else ("kernel",)
    kernel, *bias = layer.weights.child(part).take(layer.where, *names)
    if kernel.shape[0] != tensor.size or kernel.size != tensor.size * size:
        raise layer.invalid(f"expected weights of {tensor.size} by {size}, got the shape {kernel.shape}")
    matrix = np.asarray(kernel).reshape(tensor.size, size).T
    named = replace(layer, name=f"{layer.name}.{part.removesuffix('_dense')}")
    return product(named, tensor, matrix, build, bias[0].reshape(-1) if bias else None)


def _called(layer: Layer, args: Arguments, query: Tensor, value: Tensor, key: Tensor, build: Builder) -> _Call:
    """Return what a layer is called with, and refuse what is asked for beside."""
    known = ("use_causal_mask", "return_attention_scores", "query", "value", "key")
    args.check_named(layer, *known)
    if args.named.get("return_attention_scores"):
        raise layer.unsupported(
            "return_attention_scores=True, which asks for a number for each pair of timesteps",
            "call the layer without it",
            DesignReason.WHOLE_SEQUENCE,
        )
    if args.named.get("mask") is not None:
        raise layer.unsupported("a mask that the call names", "use Masking or mask_zero, whose masks the layer takes")
    asked, values = build.value(layer, query, Kind.SEQUENCE, Kind.REPEATED), build.value(layer, value, Kind.SEQUENCE)
    keys = values if key is value else build.value(layer, key, Kind.SEQUENCE)
    same_time(layer, [keys, values] if asked.kind is Kind.REPEATED else [asked, keys, values])
    causal = bool(args.named.get("use_causal_mask", False))
    if values.backwards or (causal and asked.kind is Kind.REPEATED):
        raise layer.unsupported(
            "a sequence in reverse order, or a causal mask of a single query", "attend to a sequence in its own order"
        )
    return _Call(asked, keys, values, causal)


def _attended(
    layer: Layer,
    call: _Call,
    build: Builder,
    *,
    scale: float = 1.0,
    weight: Array | None = None,
    heads: int = 1,
) -> Tensor:
    """Return what queries find, zeros where the mask of the query skips a timestep."""
    query, keys, values = call.query, call.keys, call.values
    bias: tuple[str, ...] = ()
    if (mask := values.mask) is not None:
        bias = (build.once(("scores", mask), lambda: build.function(mask, _LITTLE)),)
    streams = call.is_single or call.causal
    made = layers.Attention(
        name=build.unique(layer.name),
        inputs=(query.value, keys.value, values.value, *bias),
        size=values.size,
        key_size=keys.size,
        score="dot" if weight is None else "additive",
        answers="last" if call.is_single else "each",
        causal=call.causal,
        heads=heads,
        scale=scale if weight is None else 1.0,
        biased=bool(bias),
        max_steps=MAX_STEPS if streams else 0,
    )
    if query.size != keys.size:
        raise layer.invalid(f"expected a query of size {keys.size}, got {query.size}")
    value = build.add(made, {} if weight is None else {"weight": weight})
    found = replace(query, value=value, size=values.size, state_of=None)
    if query.mask is not None:
        return replace(found, value=build.masked(value, values.size, query.mask))
    return found
