"""``torch.nn.GRUCell``, which exporters spell out in fifteen nodes, as a GRU operator over a single timestep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .graph import Array, Node
from .matching import Bindings, Matcher, Var, op

_CANDIDATE = op("Tanh", op("Add", Var("i_n"), op("Mul", Var("h_n"), op("Sigmoid", op("Add", Var("i_r"), Var("h_r"))))))
_UPDATE = op("Sigmoid", op("Add", Var("i_z"), Var("h_z")))
_STATE = op("Add", op("Mul", op("Sub", Var("h"), _CANDIDATE), _UPDATE), _CANDIDATE)
"""``n + z * (h - n)``: PyTorch's ``(1 - z) * n + z * h``. i_* and h_* are products of the input and of the state."""


@dataclass(frozen=True)
class Cell:
    """The nodes and constants that stand for a cell."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]


@dataclass(frozen=True)
class _Gates:
    """What three gates are computed from: ``weight (3 * hidden, size)`` and ``bias (3 * hidden,)``, rows r, z, n."""

    source: str
    weight: Array
    bias: Array | None


def find_cell(node: Node, matcher: Matcher) -> Cell | None:
    """Return the GRU that ends in this node: the one that writes a cell's new state. None if there is none."""
    if not node.outputs:
        return None
    for bindings in matcher.match(_STATE, node.outputs[0]):
        gates = _cell_gates(bindings, matcher)
        if gates is not None:
            return _as_gru(node, *gates)
    return None


def _cell_gates(bindings: Bindings, matcher: Matcher) -> tuple[_Gates, _Gates] | None:
    of_input = _gates(tuple(bindings[f"i_{gate}"] for gate in "rzn"), matcher)
    of_state = _gates(tuple(bindings[f"h_{gate}"] for gate in "rzn"), matcher)
    if of_input is None or of_state is None or of_state.source != bindings["h"]:
        return None
    rows, hidden_size = of_state.weight.shape
    return (of_input, of_state) if rows == 3 * hidden_size and of_input.weight.shape[0] == rows else None


def _gates(names: tuple[str, ...], matcher: Matcher) -> _Gates | None:
    """Return the linear layer whose output a Split gives in three equal parts, if these are their names."""
    split = matcher.producers.get(names[0])
    if split is None or split.op != "Split" or split.outputs != names:
        return None
    axis, count = split.attributes.get("axis"), split.attributes.get("num_outputs", 3)
    if not _has_only(split, {"axis", "split", "num_outputs"}) or axis not in (1, -1) or count != 3:
        return None
    sizes = split.attributes.get("split")
    if len(split.inputs) > 1 and split.inputs[1]:
        sizes = matcher.integers(split.inputs[1])
    if isinstance(sizes, tuple) and len(set(sizes)) != 1:
        return None
    return _linear(split.inputs[0], matcher)


def _linear(name: str, matcher: Matcher) -> _Gates | None:
    node = matcher.producers.get(name)
    if node is None:
        return None
    if node.op == "Add" and len(node.inputs) == 2:
        return _with_bias(node, matcher)
    weight = matcher.constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if weight is None or weight.ndim != 2 or node.op not in ("Gemm", "MatMul"):
        return None
    if node.op == "MatMul" and _has_only(node, set()):
        return _Gates(node.inputs[0], weight.T, None)
    plain = all(node.attributes.get(key, 1.0) == 1.0 for key in ("alpha", "beta"))
    if not plain or node.attributes.get("transA") or not _has_only(node, {"alpha", "beta", "transA", "transB"}):
        return None
    bias = matcher.constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    if len(node.inputs) > 2 and node.inputs[2] and bias is None:
        return None
    return _checked(_Gates(node.inputs[0], weight if node.attributes.get("transB") else weight.T, bias))


def _has_only(node: Node, understood: set[str]) -> bool:
    return set(node.attributes) <= understood


def _with_bias(node: Node, matcher: Matcher) -> _Gates | None:
    for product, offset in (node.inputs, node.inputs[::-1]):
        bias = matcher.constant(offset)
        gates = None if bias is None else _linear(product, matcher)
        if gates is not None and gates.bias is None:
            return _checked(_Gates(gates.source, gates.weight, bias))
    return None


def _checked(gates: _Gates) -> _Gates | None:
    return gates if gates.bias is None or gates.bias.shape == gates.weight.shape[:1] else None


def _as_gru(node: Node, of_input: _Gates, of_state: _Gates) -> Cell:
    new_state = node.outputs[0]
    hidden_size = of_state.weight.shape[1]
    name = {part: f"{new_state}/{part}" for part in ("x", "h", "W", "R", "B", "Y_h")}
    constants = {name["W"]: _zrn(of_input.weight)[None], name["R"]: _zrn(of_state.weight)[None]}
    has_bias = of_input.bias is not None or of_state.bias is not None
    if has_bias:
        biases = (np.zeros(3 * hidden_size, np.float32) if g.bias is None else g.bias for g in (of_input, of_state))
        constants[name["B"]] = np.concatenate([_zrn(bias) for bias in biases])[None]
    inputs = (name["x"], name["W"], name["R"], name["B"] if has_bias else "", "", name["h"])
    attributes = {"hidden_size": hidden_size, "linear_before_reset": 1}
    nodes = (
        Node(node.name, "Unsqueeze", (of_input.source,), (name["x"],), {"axes": (0,)}),
        Node(node.name, "Unsqueeze", (of_state.source,), (name["h"],), {"axes": (0,)}),
        Node(node.name, "GRU", inputs, ("", name["Y_h"]), attributes, node.module),
        Node(node.name, "Squeeze", (name["Y_h"],), (new_state,), {"axes": (0,)}),
    )
    return Cell(nodes, constants)


def _zrn(array: Array) -> Array:
    """Return PyTorch's rows r, z, n in ONNX's order z, r, n."""
    r, z, n = np.split(array, 3)
    return np.concatenate([z, r, n])
