"""Why operators are refused, and what to do."""

from __future__ import annotations

_FLOAT_MODEL = (
    "the model was quantized, and grurt reads models of floating-point weights",
    "convert the model from before the quantization",
)
OTHER_AXES = ("it computes across timesteps or sequences", "supported are layers that work on one timestep at a time")

NO_LAYER = ("grurt has no layer that computes it", "compute it before the model or behind it")

_REASONS: dict[str, tuple[str, str]] = {
    "LSTM": ("grurt runs GRU networks; LSTM is not supported", "train the model with a GRU"),
    "RNN": ("grurt runs GRU networks; the plain RNN is not supported", "train the model with a GRU"),
    "If": ("a branch that depends on the inputs is not supported", "export without data-dependent control flow"),
    "Loop": ("a loop is not supported", "export the recurrent layer as torch.nn.GRU"),
    "Scan": ("a loop is not supported", "export the recurrent layer as torch.nn.GRU"),
    "DynamicQuantizeLinear": _FLOAT_MODEL,
    "QuantizeLinear": _FLOAT_MODEL,
    "DequantizeLinear": _FLOAT_MODEL,
    "MatMulInteger": _FLOAT_MODEL,
    "QLinearMatMul": _FLOAT_MODEL,
    **dict.fromkeys(("Acos", "Asin", "Atan"), NO_LAYER),
    "GlobalAveragePool": OTHER_AXES,
    "MaxPool": OTHER_AXES,
    "AveragePool": OTHER_AXES,
}


def reason_against(op: str) -> tuple[str, str]:
    """Return what to say about an operator that has no handler: what was found, and what to do."""
    known = (
        "the operator is not supported",
        "supported are GRU, linear, embedding, normalization and causal convolution layers, and element-wise functions",
    )
    return _REASONS.get(op, known)
