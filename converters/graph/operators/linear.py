"""MatMul, Gemm and Einsum with a constant matrix: linear layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.building.alignment import merged_features
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.arithmetic import combined
from grurt.converters.graph.operators.movement import without
from grurt.converters.graph.operators.registry import last, operator
from grurt.converters.graph.operators.time_pooling import is_weight, other_axes, weighted_sum
from grurt.converters.graph.tracing.axes import Axis, Role, dim_size
from grurt.converters.graph.tracing.features import require_features, the_one_row, without_repeats
from grurt.converters.graph.tracing.parameters import constant, optional, required, tensor_input
from grurt.converters.graph.tracing.values import Arguments, Row, Tensor, Value
from grurt.errors import DesignReason
from grurt.network.layers import Add, Linear, Mul


@operator("MatMul", features_at=last)
def matmul(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """MatMul with a constant matrix (input size, output size) on the right: a Linear layer without bias."""
    first, second = required(node, args, 0), required(node, args, 1)
    if isinstance(first, np.ndarray) and isinstance(second, Tensor) and first.ndim > 1 and len(second.dims) > 1:
        return (_from_the_left(node, _one_matrix(first), second, build),)
    if isinstance(first, Tensor) and isinstance(second, Tensor) and (is_weight(first) or is_weight(second)):
        return (weighted_rows(node, first, second, build),)
    if isinstance(first, Tensor) and isinstance(second, Tensor) and (fitting := columns(first, second)) is not None:
        return (matched(node, *fitting, build),)
    if not isinstance(second, np.ndarray) or not isinstance(first, Tensor):
        raise node.unsupported(
            "it multiplies two values with each other, as attention does, or a value from the left",
            "only a value times a constant matrix is supported",
            DesignReason.WHOLE_SEQUENCE,
        )
    if second.ndim == 1:
        result = linear(node, first, second.reshape(1, -1), None, build)
        return (without(result, (len(result.dims) - 1,)),)
    return (linear(node, first, _one_matrix(second).T, None, build),)


def columns(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, bool] | None:
    """Return two values whose features are along the last dimensions, and whether the second has the timesteps.

    They are of a product with single vectors, as the rows of the first or the columns of the second; None of any other.
    """
    if len(first.dims) != len(second.dims) or len(first.dims) < 2:
        return None
    *outer, features, others = range(len(second.dims))
    second = _permuted(second, [*outer, others, features])
    is_single = [
        dim_size(each.dims[-2]) == 1 and not any(axis.dynamic for axis in each.dims[-2]) for each in (first, second)
    ]
    if not any(is_single):
        return None
    return first, second, is_single[0]


def matched(node: Node, first: Tensor, second: Tensor, are_columns: bool, build: Builder) -> Tensor:
    """Return the sums of products of features: of a vector and those of each timestep."""
    single, steps = (first, second) if are_columns else (second, first)
    unit = len(single.dims) - 2
    product = combined(node, [steps, single.with_dim(unit, ())], Mul, build)
    ones = np.ones((1, product.shape[-1]), np.float32)
    scores = linear(node, product, ones, None, build)
    return _permuted(scores, [*range(unit), unit + 1, unit]) if are_columns else scores


def weighted_rows(node: Node, first: Tensor, second: Tensor, build: Builder) -> Tensor:
    """Return ``w x``, of ``w (batch, 1, time)`` and ``x (batch, time, features)``; or ``x w``, of both transposed."""
    if min(len(first.dims), len(second.dims)) < 2 or len(first.dims) != len(second.dims):
        raise other_axes(node, second)
    last = len(first.dims) - 1
    from_left = is_weight(first)
    weights, tensor = (first, second) if from_left else (second, first)
    own, other = (last, last - 1) if from_left else (last - 1, last)
    kept = last - 1 if from_left else last
    if any(axis.size > 1 or axis.role is not Role.FEATURE for axis in weights.dims[kept]):
        raise node.unsupported("it weights timesteps with several scores", "use one score for each timestep")
    places = ((own, other), *((place, place) for place in range(last - 1)))
    pooled = weighted_sum(node, weights, tensor, places, build)
    dims = list(pooled.dims)
    dims.insert(last - 1 if from_left else last, ())
    return replace(pooled, dims=tuple(dims))


def _one_matrix(array: Array) -> Array:
    """Return the matrix that a constant repeats for each sequence."""
    matrix = without_repeats(array)
    while matrix.ndim > 2 and matrix.shape[0] == 1:
        matrix = matrix[0]
    return matrix


def _from_the_left(node: Node, matrix: Array, tensor: Tensor, build: Builder) -> Tensor:
    """Return a matrix times a value whose features lie along the last dimension but one."""
    *outer, features, others = range(len(tensor.dims))
    product = linear(node, _permuted(tensor, [*outer, others, features]), matrix, None, build)
    return _permuted(product, [*outer, others, features])


def _permuted(tensor: Tensor, order: list[int]) -> Tensor:
    return replace(tensor, dims=tuple(tensor.dims[place] for place in order))


@operator("Gemm", features_at=last, reads_repeats=True)
def gemm(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Gemm: ``alpha * A B' + beta * C``, with constants B and C, as a Linear layer."""
    alpha, beta = np.float32(node.number("alpha", 1.0)), np.float32(node.number("beta", 1.0))
    if node.integer("transA", 0):
        raise node.unsupported("it transposes the value that it multiplies (transA=1)")
    matrix = constant(node, required(node, args, 1), "matrix B")
    weight = matrix if node.integer("transB", 0) else matrix.T
    weight = weight if alpha == 1 else build.folder.computed(node, np.multiply, weight, np.asarray(alpha))
    offset = optional(args, 2)
    if offset is None:
        return (linear(node, tensor_input(node, args), weight, None, build),)
    if isinstance(offset, Tensor):
        if beta != 1:
            raise node.unsupported(f"it adds a value times beta={beta}; only beta=1 is supported")
        product = linear(node, tensor_input(node, args), weight, None, build)
        return (combined(node, [product, offset], Add, build),)
    bias = the_one_row(node, offset, build.folder.budget)
    if bias is None:
        raise node.unsupported(f"its bias, of shape {offset.shape}, differs between the rows of the batch")
    bias = bias if beta == 1 else build.folder.computed(node, np.multiply, bias, np.asarray(beta))
    return (linear(node, tensor_input(node, args), weight, bias, build),)


@operator("Einsum", in_loops="single")
def einsum(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Einsum of a value and a constant matrix over one axis, as in ``"bti,io->bto"``: a Linear layer."""
    equation = node.text("equation", "").replace(" ", "")
    terms, _, result = equation.partition("->")
    first, _, second = terms.partition(",")
    operands = {first: required(node, args, 0), second: required(node, args, len(args) - 1)}
    tensors = [(letters, value) for letters, value in operands.items() if isinstance(value, Tensor)]
    if len(tensors) == len(args) == 2 and any(is_weight(value) for _, value in tensors):
        return (_weighted_einsum(node, tensors, result, build),)
    if len(tensors) == len(args) == 2 and (found := _matched_einsum(node, tensors, result, build)) is not None:
        return (found,)
    matrices = [(letters, value) for letters, value in operands.items() if not isinstance(value, Tensor)]
    if len(args) != 2 or len(tensors) != 1 or len(matrices) != 1 or not all(map(str.isalpha, (first, second, result))):
        raise node.unsupported(f"its equation is {equation[:50]!r}", "supported is a product with a constant matrix")
    (letters, tensor), (rows, matrix) = tensors[0], matrices[0]
    contracted, made = set(rows) - set(result), set(rows) - set(letters)
    kept = set(letters) - contracted
    if len(rows) != 2 or not len(contracted) == len(made) == 1 or kept | made != set(result):
        raise node.unsupported(f"its equation is {equation[:50]!r}", "supported is a product with a constant matrix")
    if len(set(letters)) != len(tensor.dims) or len(letters) != len(tensor.dims) or len(result) != len(letters):
        raise node.invalid("its equation does not fit its inputs")
    (i,), (o,) = contracted, made
    outer = [letter for letter in letters if letter != i]
    moved = _permuted(tensor, [letters.index(letter) for letter in (*outer, i)])
    product = linear(node, moved, matrix if rows == o + i else matrix.T, None, build)
    return (_permuted(product, [[*outer, o].index(letter) for letter in result]),)


def _matched_einsum(node: Node, tensors: list[tuple[str, Tensor]], result: str, build: Builder) -> Tensor | None:
    """Return ``"bth,bh->bt"`` of a sequence and a vector; None if it is another product of two values."""
    (steps, xs), (others, single) = sorted(tensors, key=lambda pair: len(pair[0]), reverse=True)
    summed = set(steps) & set(others) - set(result)
    fits = len(set(steps)) == len(steps) == len(xs.dims) and len(set(others)) == len(others) == len(single.dims)
    if not fits or len(summed) != 1 or not set(others) < set(steps) or sorted(result) != sorted(set(steps) - summed):
        return None
    order = [*result, *summed]
    single = replace(single, dims=tuple(single.dims[others.index(each)] if each in others else () for each in order))
    product = combined(node, [_permuted(xs, [steps.index(each) for each in order]), single], Mul, build)
    scores = linear(node, product, np.ones((1, product.shape[-1]), np.float32), None, build)
    return without(scores, (len(scores.dims) - 1,))


def _weighted_einsum(node: Node, tensors: list[tuple[str, Tensor]], result: str, build: Builder) -> Tensor:
    """Return ``"bt,btf->bf"`` of weights of timesteps and a sequence."""
    (own, weights), (other, tensor) = tensors if is_weight(tensors[0][1]) else tensors[::-1]
    summed = set(own) & set(other) - set(result)
    fits = len(set(own)) == len(own) == len(weights.dims) and len(set(other)) == len(other) == len(tensor.dims)
    if len(summed) != 1 or not fits or set(own) - set(other) or set(result) != set(other) - summed:
        raise node.unsupported("it weights timesteps by another equation", 'expected one such as "bt,btf->bf"')
    letters = [*summed, *sorted(set(own) - summed)]
    places = tuple((own.index(letter), other.index(letter)) for letter in letters)
    pooled = weighted_sum(node, weights, tensor, places, build)
    left = [letter for letter in other if letter not in summed]
    return _permuted(pooled, [left.index(letter) for letter in result])


def linear(node: Node, tensor: Tensor, weight: Array, bias: Array | None, build: Builder) -> Tensor:
    """Return a Linear layer on the last dimension of a tensor; ``weight (output_size, input_size)``."""
    if weight.ndim != 2 or weight.dtype.kind != "f":
        raise node.unsupported(f"expected a matrix of floating-point weights, got {weight.dtype} {weight.shape}")
    tensor = build.as_sequence(merged_features(node, tensor, build), node)
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
    return replace(tensor, rows=tuple(rows), boolean=False).with_dim(len(tensor.dims) - 1, (feature,))
