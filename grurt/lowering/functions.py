"""Functions, and operations on two numbers, as the kernels know them."""

from grurt.kernels import codes
from grurt.network import functions as fn

BINARY = {
    "sub": codes.SUB,
    "div": codes.DIV,
    "pow": codes.BINARY_POW,
    "min": codes.MIN,
    "max": codes.MAX,
    "less": codes.LESS,
    "less_or_equal": codes.LESS_OR_EQUAL,
    "equal": codes.EQUAL,
}
"""Operations on two numbers."""

_MATHEMATICAL = {
    fn.Exp: codes.EXP,
    fn.Log: codes.LOG,
    fn.Sqrt: codes.SQRT,
    fn.Reciprocal: codes.RECIPROCAL,
    fn.Abs: codes.ABS,
    fn.Sign: codes.SIGN,
    fn.Round: codes.ROUND,
    fn.Floor: codes.FLOOR,
    fn.Ceil: codes.CEIL,
    fn.Sin: codes.SIN,
    fn.Cos: codes.COS,
    fn.Erf: codes.ERF,
}


def function_code(function: fn.Function) -> tuple[int, float, float]:
    """Return a function's code in `codes`, and its two parameters."""
    match function:
        case fn.Relu():
            return codes.RELU, 0.0, 0.0
        case fn.LeakyRelu(negative_slope):
            return codes.LEAKY_RELU, negative_slope, 0.0
        case fn.ThresholdedRelu(threshold):
            return codes.THRESHOLDED_RELU, threshold, 0.0
        case fn.Elu(alpha):
            return codes.ELU, alpha, 0.0
        case fn.Gelu("none"):
            return codes.GELU, 0.0, 0.0
        case fn.Gelu():
            return codes.GELU_TANH, 0.0, 0.0
        case fn.Sigmoid():
            return codes.SIGMOID, 0.0, 0.0
        case fn.HardSigmoid(slope, offset):
            return codes.HARD_SIGMOID, slope, offset
        case fn.Tanh():
            return codes.TANH, 0.0, 0.0
        case fn.ScaledTanh(alpha, beta):
            return codes.SCALED_TANH, alpha, beta
        case fn.Softsign():
            return codes.SOFTSIGN, 0.0, 0.0
        case fn.Softplus():
            return codes.SOFTPLUS, 0.0, 0.0
        case fn.Affine(scale, offset):
            return codes.AFFINE, scale, offset
        case fn.Clip(minimum, maximum):
            return codes.CLIP, minimum, maximum
        case fn.Pow(exponent):
            return codes.POW, exponent, 0.0
        case fn.Mathematical():
            return _MATHEMATICAL[type(function)], 0.0, 0.0
    raise NotImplementedError(f"no kernel for the function {function!r}")


_OF_CODES: dict[int, type[fn.Function]] = {
    codes.RELU: fn.Relu,
    codes.LEAKY_RELU: fn.LeakyRelu,
    codes.THRESHOLDED_RELU: fn.ThresholdedRelu,
    codes.ELU: fn.Elu,
    codes.GELU: fn.Gelu,
    codes.SIGMOID: fn.Sigmoid,
    codes.HARD_SIGMOID: fn.HardSigmoid,
    codes.TANH: fn.Tanh,
    codes.SCALED_TANH: fn.ScaledTanh,
    codes.SOFTSIGN: fn.Softsign,
    codes.SOFTPLUS: fn.Softplus,
    codes.AFFINE: fn.Affine,
    codes.CLIP: fn.Clip,
    codes.POW: fn.Pow,
    **{code: function for function, code in _MATHEMATICAL.items()},
}


def function_of(code: int, *parameters: float) -> fn.Function:
    """Return the function of a code and parameters: what `function_code` was given.

    Examples
    --------
    >>> function_of(*function_code(fn.Clip(0.0, 6.0)))
    Clip(minimum=0.0, maximum=6.0)
    """
    if code == codes.GELU_TANH:
        return fn.Gelu("tanh")
    function = _OF_CODES[code]
    fields = () if function is fn.Gelu else function.__struct_fields__
    return function(*parameters[: len(fields)])
