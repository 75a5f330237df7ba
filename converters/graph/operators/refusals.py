"""Why operators are refused, and what to do."""

from __future__ import annotations

_FLOAT_MODEL = (
    "the model was quantized, and grurt reads models of floating-point weights",
    "convert the model from before the quantization",
)
OTHER_AXES = ("it computes across timesteps or sequences", "supported are layers that work on one timestep at a time")

_REASONS: dict[str, tuple[str, str]] = {
    "LSTM": ("grurt runs GRU networks; LSTM is not supported", "train the model with a GRU"),
    "RNN": ("grurt runs GRU networks; the plain RNN is not supported", "train the model with a GRU"),
    "If": ("a branch that depends on the inputs is not supported", "export without data-dependent control flow"),
    "DynamicQuantizeLinear": _FLOAT_MODEL,
    "QuantizeLinear": _FLOAT_MODEL,
    "DequantizeLinear": _FLOAT_MODEL,
    "MatMulInteger": _FLOAT_MODEL,
    "QLinearMatMul": _FLOAT_MODEL,
    "CumSum": OTHER_AXES,
    "GroupNormalization": OTHER_AXES,
    "InstanceNormalization": OTHER_AXES,
}


def reason_against(op: str) -> tuple[str, str]:
    """Return what to say about an operator that has no handler: what was found, and what to do."""
    known = (
        "the operator is not supported",
        "supported are GRU, linear, embedding, normalization and causal convolution layers, and activations",
    )
    return _REASONS.get(op, known)
