"""What the gates of a cell that is spelled out are computed from: linear layers, joined or one for each gate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.rewriting.matching import Matcher

FOLDED_TOLERANCE = 1e-4
"""How exactly what an exporter computed beforehand must be that of the weights: float32, in another order."""

SAME_DATA = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"})
"""Operators that give the numbers that they are given, in another shape."""


@dataclass(frozen=True)
class Gates:
    """Three gates, ``weight @ source + bias``: ``weight (3 * hidden, size)``, ``bias (3 * hidden,)``, rows r, z, n."""

    source: str
    weight: Array
    bias: Array | None
    key: object
    """The same for all gates that read the same constants."""

    def with_update_negated(self, matcher: Matcher) -> Gates:
        """Return the gates with 1 - z in the place of z: sigmoid(-x) is 1 - sigmoid(x)."""
        sign = np.repeat(np.array([1, -1, 1], np.float32), self.weight.shape[0] // 3)
        key, given = ("negated", self.key), self.bias
        weight = matcher.made(key, self.weight.nbytes, self.source, lambda: self.weight * sign[:, None])
        bias = None if given is None else matcher.made(("bias", key), given.nbytes, self.source, lambda: given * sign)
        return Gates(self.source, weight, bias, key)


def linear(name: str, matcher: Matcher) -> Gates | None:
    """Return the linear layer that writes a tensor; None if something else does."""
    node = matcher.producers.get(name)
    if node is None:
        return None
    if node.op == "Add" and len(node.inputs) == 2:
        return _with_bias(node, matcher)
    weight = _matrix(node.inputs[1], matcher) if len(node.inputs) > 1 else None
    if weight is None or node.op not in ("Gemm", "MatMul"):
        return None
    if node.op == "MatMul" and _has_only(node, set()):
        return _gates(node.inputs[0], weight.T, None)
    plain = all(node.attributes.get(key, 1.0) == 1.0 for key in ("alpha", "beta"))
    if not plain or node.attributes.get("transA") or not _has_only(node, {"alpha", "beta", "transA", "transB"}):
        return None
    bias = matcher.constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    if len(node.inputs) > 2 and node.inputs[2] and bias is None:
        return None
    return _gates(node.inputs[0], weight if node.attributes.get("transB") else weight.T, bias)


def origin(name: str, matcher: Matcher) -> str:
    """Return the tensor that a tensor is a reshaped copy of: itself in most cases."""
    return matcher.origin(name, SAME_DATA)


def same_data(one: str, other: str, matcher: Matcher) -> bool:
    """Say whether two tensors hold the same numbers: reshaped copies of one tensor, or equal constants."""
    return origin(one, matcher) == origin(other, matcher) or matcher.is_same(one, other, in_any_shape=True)


def _matrix(name: str, matcher: Matcher) -> Array | None:
    """Return a constant matrix, also a transposed one."""
    node = matcher.producers.get(name)
    if node is not None and node.op == "Transpose" and node.attributes.get("perm", (1, 0)) == (1, 0):
        matrix = matcher.constant(node.inputs[0]) if node.inputs else None
        return matrix.T if matrix is not None and matrix.ndim == 2 else None
    matrix = matcher.constant(name)
    return matrix if matrix is not None and matrix.ndim == 2 else None


def _has_only(node: Node, understood: set[str]) -> bool:
    return set(node.attributes) <= understood


def _with_bias(node: Node, matcher: Matcher) -> Gates | None:
    for product, offset in (node.inputs, node.inputs[::-1]):
        bias = matcher.constant(offset)
        gates = None if bias is None else linear(product, matcher)
        if gates is not None and gates.bias is None:
            return _gates(gates.source, gates.weight, bias)
    return None


def _gates(source: str, weight: Array, bias: Array | None) -> Gates | None:
    if bias is not None and bias.shape != weight.shape[:1]:
        return None
    return Gates(source, weight, bias, (address(weight), address(bias)))


def address(array: Array | None) -> object:
    """Return what is the same for arrays that are one and the same, or views of it in one layout."""
    if array is None:
        return None
    return array.__array_interface__["data"][0], array.strides, array.shape
