"""MatMul, Gemm and Einsum with a constant matrix: linear layers."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.building.alignment import merged_features
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.arithmetic import combined
from grurt.converters.graph.operators.registry import last, operator
from grurt.converters.graph.tracing.axes import Axis, Role
from grurt.converters.graph.tracing.features import require_features, the_one_row
from grurt.converters.graph.tracing.parameters import constant, optional, required, tensor_input
from grurt.converters.graph.tracing.values import Arguments, Row, Tensor, Value
from grurt.errors import DesignReason
from grurt.network.layers import Add, Linear


@operator("MatMul", features_at=last)
def matmul(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """MatMul with a constant matrix (input size, output size) on the right: a Linear layer without bias."""
    if not isinstance(required(node, args, 1), np.ndarray) or not isinstance(required(node, args, 0), Tensor):
        raise node.unsupported(
            "it multiplies two values with each other, as attention does, or a value from the left",
            "only a value times a constant matrix is supported",
            DesignReason.WHOLE_SEQUENCE,
        )
    matrix = constant(node, args[1], "matrix")
    while matrix.ndim > 2 and matrix.shape[0] == 1:
        matrix = matrix[0]
    return (linear(node, tensor_input(node, args), matrix.T, None, build),)


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
    tensor = merged_features(node, tensor, build)
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
