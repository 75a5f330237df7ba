"""Activation functions that are several of grurt's layers each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from grurt.network import functions
from grurt.network.functions import ElementwiseFunction
from grurt.network.layers import Activation, Add, Mul

from .builder import Builder
from .graph import Node
from .movement import tensor_input
from .parameters import number, required
from .values import Arguments, Row, Tensor, Value

_FACTORS = (1, 2, 3, 4)


class _Writer:
    """Adds the layers of a function of one value."""

    def __init__(self, node: Node, build: Builder) -> None:
        self.node = node
        self._build = build

    def map(self, value: str, *applied: ElementwiseFunction) -> str:
        """Return functions of a value, applied one after the other."""
        for function in applied:
            name = self._build.name(self.node, function.name)
            value = self._build.add(Activation(name=name, inputs=(value,), function=function))
        return value

    def product(self, *values: str) -> str:
        return self._build.add(Mul(name=self._build.name(self.node, "mul"), inputs=values))

    def sum(self, *values: str) -> str:
        return self._build.add(Add(name=self._build.name(self.node, "add"), inputs=values))


_NEGATIVE = functions.Affine(scale=-1.0, offset=0.0)


def _abs(x: str, writer: _Writer) -> str:
    relu = functions.Relu()
    return writer.sum(writer.map(x, relu), writer.map(x, _NEGATIVE, relu))


def _celu(x: str, writer: _Writer) -> str:
    alpha = writer.node.number("alpha", 1.0)
    if alpha == 1:
        return writer.map(x, functions.Elu(alpha=1.0))
    if alpha == 0:
        raise writer.node.invalid("its alpha is 0")
    narrowed, widened = functions.Affine(scale=1 / alpha, offset=0.0), functions.Affine(scale=alpha, offset=0.0)
    return writer.map(x, narrowed, functions.Elu(alpha=1.0), widened)


def _hard_swish(x: str, writer: _Writer) -> str:
    return writer.product(x, writer.map(x, functions.HardSigmoid(slope=1 / 6, offset=0.5)))


def _log_sigmoid(x: str, writer: _Writer) -> str:
    return writer.map(x, _NEGATIVE, functions.Softplus(), _NEGATIVE)


def _mish(x: str, writer: _Writer) -> str:
    return writer.product(x, writer.map(x, functions.Softplus(), functions.Tanh()))


def _selu(x: str, writer: _Writer) -> str:
    alpha, gamma = writer.node.number("alpha", 1.6732632), writer.node.number("gamma", 1.050701)
    return writer.map(x, functions.Elu(alpha=alpha), functions.Affine(scale=gamma, offset=0.0))


def _swish(x: str, writer: _Writer) -> str:
    alpha = writer.node.number("alpha", 1.0)
    scaled = x if alpha == 1 else writer.map(x, functions.Affine(scale=alpha, offset=0.0))
    return writer.product(x, writer.map(scaled, functions.Sigmoid()))


LOG_SIGMOID = "grurt.LogSigmoid"
"""What `patterns` makes of the logarithm of a sigmoid."""

COMPOSITES: dict[str, Callable[[str, _Writer], str]] = {
    "Abs": _abs,
    "Celu": _celu,
    "HardSwish": _hard_swish,
    "Mish": _mish,
    "Selu": _selu,
    "Swish": _swish,
    LOG_SIGMOID: _log_sigmoid,
}
"""ONNX operators, as the specification defines them, by grurt's functions, sums and products."""


def composite(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Apply an operator of the table above."""
    writer = _Writer(node, build)
    return (_map(node, tensor_input(node, args), lambda value: COMPOSITES[node.op](value, writer), build),)


def power(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Pow with a small natural number as exponent: a product."""
    exponent = number(node, required(node, args, 1), "exponent")
    if exponent not in _FACTORS:
        raise node.unsupported(f"its exponent is {exponent:g}", f"supported are {_FACTORS}")
    if exponent == 1:
        return (tensor_input(node, args),)
    writer = _Writer(node, build)
    return (_map(node, tensor_input(node, args), lambda value: writer.product(*[value] * int(exponent)), build),)


def _map(node: Node, tensor: Tensor, function: Callable[[str], str], build: Builder) -> Tensor:
    if tensor.integer:
        raise node.unsupported("it computes with integers", "token inputs must go to an embedding")
    return replace(tensor, rows=tuple(Row(function(build.take(row, node))) for row in tensor.rows))
