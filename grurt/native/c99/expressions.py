"""Functions of `grurt.network.functions` as expressions of C."""

from __future__ import annotations

from grurt.native.c99.text import literal
from grurt.network import functions as fn

_CALLS: dict[type[fn.Function], str] = {
    fn.Sigmoid: "grurt_sigmoid({x})",
    fn.Tanh: "grurt_tanh({x})",
    fn.Softplus: "grurt_softplus({x})",
    fn.Relu: "{x} < 0.0f ? 0.0f : {x}",
    fn.Softsign: "{x} / (1.0f + fabsf({x}))",
    fn.Exp: "grurt_exp({x})",
    fn.Log: "grurt_natural_log({x})",
    fn.Sqrt: "sqrtf({x})",
    fn.Reciprocal: "1.0f / {x}",
    fn.Abs: "fabsf({x})",
    fn.Sign: "grurt_sign({x})",
    fn.Round: "grurt_round({x})",
    fn.Floor: "grurt_floor({x})",
    fn.Ceil: "grurt_ceil({x})",
    fn.Sin: "sinf({x})",
    fn.Cos: "cosf({x})",
    fn.Erf: "grurt_erf({x})",
}


def expression(function: fn.Function, x: str) -> str:
    """Return a function of a variable or element, which stands in the expression several times."""
    match function:
        case fn.LeakyRelu(slope):
            return f"{x} < 0.0f ? {literal(slope)} * {x} : {x}"
        case fn.ThresholdedRelu(threshold):
            return f"{literal(threshold)} < {x} ? {x} : {x} < INFINITY ? 0.0f : {x}"
        case fn.Elu(alpha):
            return f"{x} < 0.0f ? {literal(alpha)} * grurt_expm1({x}) : {x}"
        case fn.Gelu(approximate):
            return f"grurt_{'gelu' if approximate == 'none' else 'gelu_tanh'}({x})"
        case fn.HardSigmoid(slope, offset):
            return f"grurt_limit(grurt_fma({literal(slope)}, {x}, {literal(offset)}), 0.0f, 1.0f)"
        case fn.ScaledTanh(alpha, beta):
            return f"{literal(alpha)} * grurt_tanh({literal(beta)} * {x})"
        case fn.Affine(scale, offset):
            return f"grurt_fma({literal(scale)}, {x}, {literal(offset)})"
        case fn.Clip(minimum, maximum):
            return f"grurt_limit({x}, {literal(minimum)}, {literal(maximum)})"
        case fn.Pow(exponent):
            return f"powf({x}, {literal(exponent)})"
    return _CALLS[type(function)].format(x=x)


def gate(function: fn.Function, x: str) -> str:
    """Return the function of a GRU's gate: its sigmoid is the one that is made of tanh."""
    return f"grurt_gate_sigmoid({x})" if isinstance(function, fn.Sigmoid) else expression(function, x)
