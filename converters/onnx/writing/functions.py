"""Functions of the features, as ONNX operators."""

from __future__ import annotations

from collections.abc import Callable

from grurt.converters.onnx.writing.graph import GraphWriter
from grurt.network import functions as fn

BINARY = {
    "sub": "Sub",
    "div": "Div",
    "pow": "Pow",
    "min": "Min",
    "max": "Max",
    "less": "Less",
    "less_or_equal": "LessOrEqual",
    "equal": "Equal",
}
COMPARISONS = ("less", "less_or_equal", "equal")
"""Operations on two numbers, and those that say whether something holds of them."""

_BY_NAME = {
    fn.Relu: "Relu",
    fn.Sigmoid: "Sigmoid",
    fn.Tanh: "Tanh",
    fn.Softsign: "Softsign",
    fn.Softplus: "Softplus",
    fn.Exp: "Exp",
    fn.Log: "Log",
    fn.Sqrt: "Sqrt",
    fn.Reciprocal: "Reciprocal",
    fn.Abs: "Abs",
    fn.Sign: "Sign",
    fn.Round: "Round",
    fn.Floor: "Floor",
    fn.Ceil: "Ceil",
    fn.Sin: "Sin",
    fn.Cos: "Cos",
    fn.Erf: "Erf",
}


def write_function(graph: GraphWriter, function: fn.AnyFunction, x: str) -> str:
    """Add a function of a value's last axis."""
    if name := _BY_NAME.get(type(function)):
        return graph.op(name, x)
    return _WITH_PARAMETERS[type(function)](graph, function, x)


def _affine(graph: GraphWriter, f: fn.Affine, x: str) -> str:
    return graph.op("Add", graph.op("Mul", x, graph.constant(f.scale)), graph.constant(f.offset))


def _clip(graph: GraphWriter, f: fn.Clip, x: str) -> str:
    return graph.op("Clip", x, graph.constant(f.minimum), graph.constant(f.maximum))


def _scaled_tanh(graph: GraphWriter, f: fn.ScaledTanh, x: str) -> str:
    return graph.op("Mul", graph.op("Tanh", graph.op("Mul", x, graph.constant(f.beta))), graph.constant(f.alpha))


_WITH_PARAMETERS: dict[type, Callable[..., str]] = {
    fn.LeakyRelu: lambda graph, f, x: graph.op("LeakyRelu", x, alpha=f.negative_slope),
    fn.ThresholdedRelu: lambda graph, f, x: graph.op("ThresholdedRelu", x, alpha=f.threshold),
    fn.Elu: lambda graph, f, x: graph.op("Elu", x, alpha=f.alpha),
    fn.Gelu: lambda graph, f, x: graph.op("Gelu", x, approximate=f.approximate),
    fn.HardSigmoid: lambda graph, f, x: graph.op("HardSigmoid", x, alpha=f.slope, beta=f.offset),
    fn.ScaledTanh: _scaled_tanh,
    fn.Affine: _affine,
    fn.Clip: _clip,
    fn.Pow: lambda graph, f, x: graph.op("Pow", x, graph.constant(f.exponent)),
    fn.Softmax: lambda graph, f, x: graph.op("Softmax", x, axis=-1),
    fn.LogSoftmax: lambda graph, f, x: graph.op("LogSoftmax", x, axis=-1),
}

_OF_A_GRU: dict[type, tuple[str, str | None, str | None]] = {
    fn.Relu: ("Relu", None, None),
    fn.Sigmoid: ("Sigmoid", None, None),
    fn.Tanh: ("Tanh", None, None),
    fn.Softsign: ("Softsign", None, None),
    fn.Softplus: ("Softplus", None, None),
    fn.LeakyRelu: ("LeakyRelu", "negative_slope", None),
    fn.ThresholdedRelu: ("ThresholdedRelu", "threshold", None),
    fn.Elu: ("Elu", "alpha", None),
    fn.HardSigmoid: ("HardSigmoid", "slope", "offset"),
    fn.ScaledTanh: ("ScaledTanh", "alpha", "beta"),
    fn.Affine: ("Affine", "scale", "offset"),
}


def gru_activations(*found: fn.ElementwiseFunction) -> dict[str, list[str] | list[float]] | None:
    """Return the attributes of ONNX GRU for its functions; None if it does not have one of them."""
    if not all(type(function) in _OF_A_GRU for function in found):
        return None
    names, alphas, betas = [], [], []
    for function in found:
        name, alpha, beta = _OF_A_GRU[type(function)]
        names.append(name)
        alphas += [float(getattr(function, alpha))] if alpha else []
        betas += [float(getattr(function, beta))] if beta else []
    given = {"activation_alpha": alphas, "activation_beta": betas}
    return {"activations": names, **{name: values for name, values in given.items() if values}}
