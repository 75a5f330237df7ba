"""Operators of onnxruntime's own, in those of ONNX: what its optimizer makes of several, taken apart again.

Source: docs/ContribOperators.md of onnxruntime.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from grurt.converters.graph.nodes import ALL_AXES, Attribute, Node
from grurt.converters.onnx.names import Names

_DOMAIN = "com.microsoft."

_RENAMED = {
    "com.microsoft.DequantizeLinear": "DequantizeLinear",
    "com.microsoft.ExpandDims": "Unsqueeze",
    "com.microsoft.Gelu": "Gelu",
    "com.microsoft.QuantizeLinear": "QuantizeLinear",
    "com.microsoft.Trilu": "Trilu",
    "SimplifiedLayerNormalization": "RMSNormalization",
}
"""Operators that mean what one of ONNX means, which came later."""

_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "Celu": ("alpha",),
    "Clip": ("min", "max"),
    "Elu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "LeakyRelu": ("alpha",),
    "Selu": ("alpha", "gamma"),
    "ThresholdedRelu": ("alpha",),
}
"""The attributes of activations, in the order in which a convolution lists them."""
_NONE: Mapping[str, Attribute] = {}


class _Chain:
    """Nodes one after the other, in place of one.

    Parameters
    ----------
    node
        That one.
    names
        Gives names for the tensors between them.
    """

    def __init__(self, node: Node, names: Names) -> None:
        self._node = node
        self._names = names
        self.nodes: list[Node] = []
        self.attributes = dict(node.attributes)

    def given(self, index: int) -> str:
        """Return the name of an input; empty if it is left out."""
        return self._node.inputs[index] if index < len(self._node.inputs) else ""

    def write(
        self, op: str, inputs: Sequence[str], attributes: Mapping[str, Attribute] = _NONE, output: int | None = None
    ) -> str:
        """Add an operator, and return the name of what it writes: that of an output, where this is wanted."""
        node = self._node
        named = node.outputs[output] if output is not None and output < len(node.outputs) else ""
        name = named or self._names.new(node.outputs[0])
        self.nodes.append(Node(node.name, op, tuple(inputs), (name,), dict(attributes), node.module))
        return name

    def sum(self, *terms: str, output: int | None = None) -> str:
        """Add the sum of those terms that are not left out."""
        *before, last = filter(None, terms)
        total = before[0] if before else last
        for term in before[1:]:
            total = self.write("Add", (total, term))
        return self.write("Add", (total, last), output=output) if before else last


def in_standard_operators(node: Node, names: Names) -> list[Node]:
    """Return nodes of ONNX's operators that compute what a node computes: itself, if no others are known."""
    if node.op in _RENAMED:
        return [replace(node, op=_RENAMED[node.op])]
    rewrite = _REWRITES.get(node.op.removeprefix(_DOMAIN)) if node.op.startswith(_DOMAIN) else None
    if rewrite is None or not _is_whole(node):
        return [node]
    chain = _Chain(node, names)
    rewrite(chain)
    return chain.nodes


def _is_whole(node: Node) -> bool:
    """Say whether a node reads a first input and writes a first output, and no statistics of a normalization."""
    return bool(node.inputs and node.inputs[0] and node.outputs and node.outputs[0]) and not any(node.outputs[1:3])


def _gelu_of_sum(chain: _Chain) -> None:
    chain.write("Gelu", (chain.sum(chain.given(0), chain.given(1)),), chain.attributes, output=0)


def _fast_gelu(chain: _Chain) -> None:
    chain.attributes["approximate"] = "tanh"
    _gelu_of_sum(chain)


def _quick_gelu(chain: _Chain) -> None:
    chain.write("Swish", (chain.given(0),), {"alpha": 1.702, **chain.attributes}, output=0)


def _softmax_of_sum(chain: _Chain) -> None:
    chain.attributes.pop("is_inner_broadcast", None)
    total = chain.sum(chain.given(0), chain.given(1))
    chain.write("Softmax", (total,), {"axis": 1, ALL_AXES: 1, **chain.attributes}, output=0)


def _matrix_product(chain: _Chain) -> None:
    for name in ("transBatchA", "transBatchB"):
        if not chain.attributes.get(name, 1):
            del chain.attributes[name]
    chain.write("Gemm", (chain.given(0), chain.given(1)), chain.attributes, output=0)


def _activated_gemm(chain: _Chain) -> None:
    activation = str(chain.attributes.pop("activation", ""))
    given = {name: chain.attributes.pop(f"activation_{name}", None) for name in ("alpha", "beta", "gamma")}
    parameters = {name: given[name] for name in _PARAMETERS.get(activation, ()) if given.get(name) is not None}
    product = chain.write("Gemm", tuple(map(chain.given, range(3))), chain.attributes)
    chain.write(activation, (product,), parameters, output=0)


def _activated_convolution(chain: _Chain) -> None:
    activation = str(chain.attributes.pop("activation", "Identity"))
    listed = chain.attributes.pop("activation_params", ())
    values = listed if isinstance(listed, tuple) else ()
    parameters: dict[str, Attribute] = dict(zip(_PARAMETERS.get(activation, ()), values, strict=False))
    found = chain.write("Conv", tuple(map(chain.given, range(3))), chain.attributes)
    chain.write(activation, (chain.sum(found, chain.given(3)),), parameters, output=0)


def _normalized_sum(chain: _Chain, op: str, weights: tuple[str, ...], bias: str) -> None:
    total = chain.sum(chain.given(0), chain.given(1), bias, output=3)
    chain.write(op, (total, *weights), {"axis": -1, "epsilon": 1e-12, **chain.attributes}, output=0)


def _layer_norm_of_sum(chain: _Chain) -> None:
    _normalized_sum(chain, "LayerNormalization", (chain.given(2), chain.given(3)), chain.given(4))


def _rms_norm_of_sum(chain: _Chain) -> None:
    _normalized_sum(chain, "RMSNormalization", (chain.given(2),), chain.given(3))


_REWRITES: Mapping[str, Callable[[_Chain], None]] = {
    "BiasGelu": _gelu_of_sum,
    "BiasSoftmax": _softmax_of_sum,
    "FastGelu": _fast_gelu,
    "FusedConv": _activated_convolution,
    "FusedGemm": _activated_gemm,
    "FusedMatMul": _matrix_product,
    "QuickGelu": _quick_gelu,
    "SkipLayerNormalization": _layer_norm_of_sum,
    "SkipSimplifiedLayerNormalization": _rms_norm_of_sum,
    "TransposeMatMul": _matrix_product,
}
