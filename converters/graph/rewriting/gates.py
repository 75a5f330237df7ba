"""What the gates of a cell that is spelled out are computed from: linear layers, joined or one for each gate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.rewriting.matching import Matcher

FOLDED_TOLERANCE = 1e-4
"""How exactly what an exporter computed beforehand must be that of the weights: float32, in another order."""

_SAME_DATA = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"})


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


def find_gates(names: tuple[str, ...], matcher: Matcher) -> Gates | None:
    """Return what tensors of these names, r, z, n, are the gates of; None if they are none that belong together.

    They are the thirds of a linear layer's output, or a linear layer each.
    """
    whole = thirds_of(names, matcher)
    if whole is None:
        return _separate_gates(names, matcher)
    return linear(origin(whole, matcher), matcher) or linear(whole, matcher)


def gates_before_reset(names: tuple[str, ...], matcher: Matcher) -> Gates | None:
    """Return the gates of a state, a linear layer each; that of the candidate reads the state times the reset gate."""
    found = [linear(name, matcher) for name in names]
    r, z, n = found
    if r is None or z is None or n is None or not same_data(r.source, z.source, matcher):
        return None
    return _stacked([r, z, n], matcher)


def thirds_of(names: tuple[str, ...], matcher: Matcher) -> str | None:
    """Return the tensor whose thirds along the last axis have these names; None if there is none."""
    split = matcher.producers.get(names[0])
    if split is None or split.op != "Split" or split.outputs != names or not _is_in_thirds(split, matcher):
        return None
    return split.inputs[0]


def constant_gates(names: tuple[str, ...], matcher: Matcher) -> Array | None:
    """Return gates ``(batch, 3 * hidden)``, r, z, n, that an exporter computed beforehand; None if they are not."""
    whole = thirds_of(names, matcher)
    parts = [matcher.constant(name) for name in ([whole] if whole else names)]
    arrays = [part for part in parts if part is not None and part.ndim in (2, 3)]
    if len(arrays) < len(parts) or len({array.shape[:-1] for array in arrays}) != 1:
        return None
    key, n_bytes = tuple(map(address, arrays)), sum(array.nbytes for array in arrays)
    gates = matcher.made(key, n_bytes, names[0], lambda: np.concatenate(arrays, axis=-1))
    return gates.reshape(math.prod(gates.shape[:-1]), gates.shape[-1])


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
    return matcher.origin(name, _SAME_DATA)


def same_data(one: str, other: str, matcher: Matcher) -> bool:
    """Say whether two tensors hold the same numbers: reshaped copies of one tensor, or equal constants."""
    return origin(one, matcher) == origin(other, matcher) or matcher.is_same(one, other, in_any_shape=True)


def _separate_gates(names: tuple[str, ...], matcher: Matcher) -> Gates | None:
    found = [linear(name, matcher) for name in names]
    gates = [each for each in found if each is not None]
    if len(gates) < 3 or not all(same_data(gates[0].source, each.source, matcher) for each in gates[1:]):
        return None
    return _stacked(gates, matcher)


def _stacked(gates: list[Gates], matcher: Matcher) -> Gates | None:
    """Return three linear layers, r, z, n, as the gates of the first one's source; None if they do not fit together."""
    if len({each.weight.shape for each in gates}) != 1:
        return None
    source, weights, key = gates[0].source, [each.weight for each in gates], tuple(each.key for each in gates)
    weight = matcher.made(key, sum(array.nbytes for array in weights), source, lambda: np.concatenate(weights))
    if all(each.bias is None for each in gates):
        return Gates(source, weight, None, key)
    rows = weights[0].shape[0]
    biases = [np.zeros(rows, np.float32) if each.bias is None else each.bias for each in gates]
    bias = matcher.made(("bias", key), sum(array.nbytes for array in biases), source, lambda: np.concatenate(biases))
    return Gates(source, weight, bias, key)


def _is_in_thirds(split: Node, matcher: Matcher) -> bool:
    """Say whether a Split gives three equal parts of the last axis of a matrix, or of one reshaped to three axes."""
    axis, count = split.attributes.get("axis"), split.attributes.get("num_outputs", 3)
    if not _has_only(split, {"axis", "split", "num_outputs"}) or axis not in (1, 2, -1) or count != 3:
        return False
    sizes = split.attributes.get("split")
    if len(split.inputs) > 1 and split.inputs[1]:
        sizes = matcher.integers(split.inputs[1])
    return not isinstance(sizes, tuple) or len(set(sizes)) == 1


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
