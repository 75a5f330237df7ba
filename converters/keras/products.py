"""Products of features with constant matrices, in functions of ``keras.ops`` and in ``EinsumDense``; ``Dot``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from grurt.array_types import Array
from grurt.converters.keras.activations import composite
from grurt.converters.keras.builder import Builder, same_time
from grurt.converters.keras.handlers import converts, converts_function
from grurt.converters.keras.mathematics import formula, given
from grurt.converters.keras.reductions import summed
from grurt.converters.keras.reshaping import without_feature_axis
from grurt.converters.keras.values import VECTORS, Arguments, Kind, Layer, Tensor
from grurt.errors import DesignReason
from grurt.network import layers

_MATRIX = "supported is a product of features with a constant matrix on the right"


@converts_function("Matmul", "Dot", "Tensordot")
def matmul(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``matmul`` with a constant matrix, or a vector, on the right."""
    if len(args.positional) == 2 and all(isinstance(item, Tensor) for item in args.positional):
        raise layer.config.unsupported(
            "a product of two tensors, as attention computes", _MATRIX, DesignReason.WHOLE_SEQUENCE
        )
    tensor, matrix = _with_constant(layer, args, build)
    if layer.kind == "Tensordot":
        layer.config.require("axes", (1, [[2], [0]], [[-1], [0]], [[tensor.rank - 1], [0]]), _MATRIX)
    if matrix.ndim == 1:
        return (without_feature_axis(layer, product(layer, tensor, matrix.reshape(1, -1), build), build),)
    return (product(layer, tensor, matrix.T, build),)


def _with_constant(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, Array]:
    """Return a tensor and the constant behind it."""
    first, second = (*args.positional, None, None)[:2]
    matrix = None if isinstance(second, Tensor) else given(layer, second)
    if not isinstance(first, Tensor) or matrix is None or not 1 <= matrix.ndim <= 2:
        raise layer.unsupported("something else than a tensor and a constant matrix", _MATRIX)
    return build.value(layer, first, *VECTORS), matrix


def product(layer: Layer, tensor: Tensor, weight: Array, build: Builder, bias: Array | None = None) -> Tensor:
    """Return a `Linear` of the features; ``weight (output_size, input_size)``."""
    if weight.ndim != 2 or weight.shape[1] != tensor.size:
        raise layer.invalid(f"expected a matrix of {tensor.size} rows, got the shape {weight.T.shape}")
    made = layers.Linear(
        name=build.unique(layer.name),
        inputs=(tensor.value,),
        input_size=tensor.size,
        output_size=len(weight),
        bias=bias is not None,
    )
    weights = {"weight": np.asarray(weight, np.float32)} | ({} if bias is None else {"bias": bias})
    return tensor.with_value(build.add(made, weights), len(weight))


@converts_function("Einsum")
def einsum(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``einsum`` of features and a constant matrix."""
    tensor, matrix = _with_constant(layer, args, build)
    return (product(layer, tensor, _oriented(layer, "subscripts", tensor, matrix), build),)


@converts("EinsumDense")
def einsum_dense(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``EinsumDense`` whose equation is that of a Dense layer."""
    tensor = build.value(layer, args.only(layer), *VECTORS)
    layer.config.skip("output_shape", "lora_rank", "lora_alpha", "gptq_unpacked_column_size")
    layer.config.require("quantization_config", (None,), "convert the model from before its quantization")
    axes, activation = layer.config.get("bias_axes"), layer.config.get("activation")
    names = ("kernel",) if axes is None else ("kernel", "bias")
    arrays = dict(zip(names, layer.weights.take(layer.where, *names), strict=True))
    weight = _oriented(layer, "equation", tensor, arrays["kernel"])
    bias = arrays.get("bias")
    if bias is not None:
        if bias.size != len(weight):
            raise layer.unsupported(f"a bias of shape {bias.shape}", "use bias_axes of the features")
        bias = bias.reshape(-1)
    function = composite(layer, "activation", activation)
    layer.config.policy()
    layer.config.check_all_read()
    result = product(layer, tensor, weight, build, bias)
    return (result.with_value(build.activate(result.value, function)),)


def _oriented(layer: Layer, key: str, tensor: Tensor, matrix: Array) -> Array:
    """Return the matrix of an equation as ``(output_size, input_size)``."""
    equation = layer.config.get(key)
    terms, _, result = str(equation).replace(" ", "").replace("...", "").partition("->")
    letters, _, rows = terms.partition(",")
    outer = letters[:-1]
    are_two = matrix.ndim == 2 and len(rows) == 2 and letters and set(rows) == {letters[-1], result[-1:]}
    if are_two and result[:-1] == outer and len(set(letters + rows)) == len(letters) + 1:
        return matrix.T if rows[0] == letters[-1] else matrix
    raise layer.unsupported(f"{key}={str(equation)[:50]!r}", _MATRIX)


@converts("Dot")
def dot(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``Dot`` of two vectors: the sum of their products, of unit vectors with ``normalize``."""
    tensors = [build.value(layer, tensor, *VECTORS) for tensor in args.tensors(layer)]
    axes, normalized = layer.config.get("axes"), layer.config.boolean("normalize")
    layer.config.policy()
    layer.config.check_all_read()
    given_axes = axes if isinstance(axes, list) else [axes, axes]
    if len(tensors) != 2 or any(tensor.kind is not Kind.SINGLE for tensor in tensors):
        raise layer.config.unsupported(
            "sequences as its inputs, whose timesteps it multiplies with each other",
            "use it on single vectors, or multiply and sum the features",
            DesignReason.WHOLE_SEQUENCE,
        )
    if not all(axis in (1, -1) and axis is not True for axis in given_axes) or len({t.size for t in tensors}) > 1:
        raise layer.unsupported(f"axes={str(axes)[:50]}", "use axes=-1, of vectors of one size")
    same_time(layer, tensors)
    rows = formula(layer, build)
    values = [_unit(layer, tensor, build) if normalized else tensor.value for tensor in tensors]
    return (summed(layer, replace(tensors[0], value=rows.multiply(*values), state_of=None), build),)


def _unit(layer: Layer, tensor: Tensor, build: Builder) -> str:
    """Return a vector divided by its length."""
    name = build.unique(f"{layer.name}.unit")
    made = layers.RMSNorm(name=name, inputs=(tensor.value,), size=tensor.size, epsilon=1e-12 / tensor.size)
    return build.add(made, {"weight": build.filled(layer, (tensor.size,), tensor.size**-0.5)})
