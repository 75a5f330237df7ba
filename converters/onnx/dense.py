"""MatMul, Gemm and element-wise arithmetic: linear layers, biases, and sums and products of values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from grurt.network.layers import Add, Linear, Mul

from .alignment import align
from .axes import Axis, Role
from .builder import Builder
from .graph import Array, Node
from .movement import tensor_input
from .parameters import constant, optional, required
from .values import Arguments, Row, Tensor, Value


def matmul(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """MatMul with a constant matrix (input size, output size) on the right: a Linear layer without bias."""
    if not isinstance(required(node, args, 1), np.ndarray) or not isinstance(required(node, args, 0), Tensor):
        raise node.unsupported(
            "it multiplies two values with each other, as attention does, or a value from the left",
            "only a value times a constant matrix is supported",
        )
    matrix = constant(node, args[1], "matrix")
    while matrix.ndim > 2 and matrix.shape[0] == 1:
        matrix = matrix[0]
    return (linear(node, tensor_input(node, args), matrix.T, None, build),)


def gemm(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Gemm: ``alpha * A B' + beta * C``, with constants B and C, as a Linear layer."""
    alpha, beta = np.float32(node.number("alpha", 1.0)), np.float32(node.number("beta", 1.0))
    if node.integer("transA", 0):
        raise node.unsupported("it transposes the value that it multiplies (transA=1)")
    matrix = constant(node, required(node, args, 1), "matrix B")
    weight = matrix if node.integer("transB", 0) else matrix.T
    weight = weight if alpha == 1 else weight * alpha
    offset = optional(args, 2)
    if offset is None:
        return (linear(node, tensor_input(node, args), weight, None, build),)
    if isinstance(offset, Tensor):
        if beta != 1:
            raise node.unsupported(f"it adds a value times beta={beta}; only beta=1 is supported")
        product = linear(node, tensor_input(node, args), weight, None, build)
        return (_combine(node, [product, offset], Add, "add", build),)
    bias = _same_in_every_row(node, offset)
    bias = bias if beta == 1 else bias * beta
    return (linear(node, tensor_input(node, args), weight, bias, build),)


def einsum(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Einsum of a value and a constant matrix over the last axis, as in ``"bti,io->bto"``: a Linear layer."""
    equation = node.text("equation", "").replace(" ", "")
    found = re.fullmatch(r"(?P<outer>\w+)(?P<i>\w),(?P<matrix>\w\w)->(?P=outer)(?P<o>\w)", equation)
    tensor, matrix = tensor_input(node, args), required(node, args, 1)
    if found is None or isinstance(matrix, Tensor) or len(args) > 2 or set(found["matrix"]) != {found["i"], found["o"]}:
        raise node.unsupported(f"its equation is {equation[:50]!r}", "supported is a product with a constant matrix")
    if len(found["outer"]) != len(tensor.dims) - 1 or len(set(found["outer"] + found["matrix"])) <= len(tensor.dims):
        raise node.invalid("its equation does not fit its inputs")
    return (linear(node, tensor, matrix if found["matrix"][0] == found["o"] else matrix.T, None, build),)


def linear(node: Node, tensor: Tensor, weight: Array, bias: Array | None, build: Builder) -> Tensor:
    """Return a Linear layer on the last dimension of a tensor; ``weight (output_size, input_size)``."""
    if weight.ndim != 2 or weight.dtype.kind != "f":
        raise node.unsupported(f"expected a matrix of floating-point weights, got {weight.dtype} {weight.shape}")
    tensor = _merged_features(node, tensor, build)
    output_size, input_size = weight.shape
    require_features(node, tensor, len(tensor.dims) - 1, input_size)
    weights = {"weight": weight}
    if bias is not None:
        if bias.size not in (1, output_size):
            raise node.invalid(f"its bias has {bias.size} elements, its matrix gives {output_size}")
        weights["bias"] = np.broadcast_to(bias.reshape(-1), (output_size,))
    rows = []
    for row in tensor.rows:
        layer = Linear(
            name=build.name(node, "linear"),
            inputs=(build.take(row, node),),
            input_size=input_size,
            output_size=output_size,
            bias=bias is not None,
        )
        rows.append(Row(build.add(layer, weights)))
    feature = Axis(output_size, f"the feature axis of {rows[0].value!r}", Role.FEATURE)
    return replace(tensor, rows=tuple(rows)).with_dim(len(tensor.dims) - 1, (feature,))


def require_features(node: Node, tensor: Tensor, index: int, size: int) -> None:
    """Learn that a dimension holds the features of a timestep, and check their number."""
    dim = tensor.dims[index] if tensor.dims else ()
    if tensor.shape[index : index + 1] != (size,) and not (size == 1 and not tensor.dims):
        raise node.invalid(f"it expects {size} features, and gets a tensor of shape {tensor.shape}")
    if len(dim) > 1:
        merged = ", ".join(axis.where for axis in dim)
        raise node.unsupported(
            f"its features are merged from several axes ({merged})", "of tokens, give each as an input of its own"
        )
    for axis in dim:
        axis.require(Role.FEATURE, node)


def add(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Add (and Sum): of values, or of a value and a constant."""
    return (_arithmetic(node, args, build, "add"),)


def subtract(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Sub: ``a - b``, where one of them may be constant."""
    first, second = required(node, args, 0), required(node, args, 1)
    one = np.ones((), np.float32)
    if isinstance(second, Tensor):
        second = _scaled(node, second, -one, 0 * one, build)
        if isinstance(first, Tensor):
            return (_combine(node, [first, second], Add, "add", build),)
        return (_with_constant(node, second, one, first, build),)
    return (_with_constant(node, tensor_input(node, args), one, -second, build),)


def multiply(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Mul: of values, or of a value and a constant."""
    return (_arithmetic(node, args, build, "mul"),)


def divide(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Div by a constant."""
    divisor = constant(node, required(node, args, 1), "divisor")
    scale = np.asarray(1 / divisor)
    return (_with_constant(node, tensor_input(node, args), scale, np.zeros((), np.float32), build),)


def negate(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Neg: ``-x``."""
    one = np.ones((), np.float32)
    return (_scaled(node, tensor_input(node, args), -one, 0 * one, build),)


def _arithmetic(node: Node, args: Arguments, build: Builder, kind: str) -> Tensor:
    tensors = [value for value in args if isinstance(value, Tensor)]
    arrays = [value for value in args if isinstance(value, np.ndarray)]
    result = tensors[0]
    if len(tensors) > 1:
        result = _combine(node, tensors, Add if kind == "add" else Mul, kind, build)
    neutral = np.asarray(kind == "mul", np.float32)
    for array in arrays:
        one = np.ones((), np.float32)
        scale, shift = (one, array) if kind == "add" else (array, 0 * neutral)
        result = _with_constant(node, result, scale, shift, build)
    return result


def _combine(node: Node, tensors: list[Tensor], layer: type[Add | Mul], kind: str, build: Builder) -> Tensor:
    rank = max(len(tensor.dims) for tensor in tensors)
    padded = [replace(tensor, dims=((),) * (rank - len(tensor.dims)) + tensor.dims) for tensor in tensors]
    aligned = align(node, padded, build)
    inputs = tuple(tensor.rows[0].value for tensor in aligned)
    return aligned[0].with_row(Row(build.add(layer(name=build.name(node, kind), inputs=inputs))))


def _with_constant(node: Node, tensor: Tensor, scale: Array, shift: Array, build: Builder) -> Tensor:
    """Return ``scale * x + shift``, where one of the two may hold a number for each feature."""
    tensor = _merged_features(node, tensor, build)
    return _scaled(node, tensor, per_feature(node, tensor, scale), per_feature(node, tensor, shift), build)


def _scaled(node: Node, tensor: Tensor, scale: Array, shift: Array, build: Builder) -> Tensor:
    if tensor.integer:
        raise node.unsupported("it computes with integers", "token inputs must go to an embedding")
    rows = tuple(Row(build.scale_and_shift(node, build.take(row, node), scale, shift)) for row in tensor.rows)
    return replace(tensor, rows=rows)


def _merged_features(node: Node, tensor: Tensor, build: Builder) -> Tensor:
    """Return the tensor with rows merged into the features, where they are stacked along them."""
    merged = any(len(dim) > 1 and dim[0] in tensor.stacks for dim in tensor.dims)
    return build.single(tensor, node) if merged or tensor.integer else tensor


def per_feature(node: Node, tensor: Tensor, array: Array) -> Array:
    """Return a constant that is combined with a tensor as one number, ``()``, or one for each feature, ``(size,)``."""
    if array.dtype.kind != "f":
        raise node.unsupported(f"it combines features with a constant of the type {array.dtype}")
    array = without_repeats(array)
    padding = len(tensor.dims) - array.ndim
    if padding < 0:
        raise node.unsupported(f"it combines a value of shape {tensor.shape} with a constant of shape {array.shape}")
    wide = [padding + index for index, size in enumerate(array.shape) if size > 1]
    if len(wide) > 1 or any(len(tensor.dims[index]) != 1 for index in wide):
        raise node.unsupported(
            f"it combines a value of shape {tensor.shape} with a constant of shape {array.shape}",
            "a constant may be one number, or one for each feature",
        )
    for index in wide:
        require_features(node, tensor, index, array.size)
    return array.reshape(-1) if wide else array.reshape(())


def without_repeats(array: Array) -> Array:
    """Return an array with axes along which it repeats itself cut to size 1, so far as its memory layout shows that."""
    kept = tuple(slice(0, 1) if stride == 0 and size > 1 else slice(None) for stride, size in _layout(array))
    return array[kept]


def _layout(array: Array) -> Iterator[tuple[int, int]]:
    return zip(array.strides, array.shape, strict=True)


def _same_in_every_row(node: Node, array: Array) -> Array:
    if array.ndim > 1:
        if not np.array_equal(array, np.broadcast_to(array[:1], array.shape)):
            raise node.unsupported(f"its bias, of shape {array.shape}, differs between the rows of the batch")
        array = array.reshape(-1, array.shape[-1])[0]
    return array.reshape(-1)
