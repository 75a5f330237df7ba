"""Why operators are refused, and what to do."""

from __future__ import annotations

from grurt.errors import DesignReason

_FLOAT_MODEL = (
    "the model was quantized, and grurt reads models of floating-point weights",
    "convert the model from before the quantization",
    DesignReason.QUANTIZED,
)
OTHER_AXES = ("it computes across timesteps or sequences", "supported are layers that work on one timestep at a time")

NO_LAYER = ("grurt has no layer that computes it", "compute it before the model or behind it")

_REASONS: dict[str, tuple[str, str] | tuple[str, str, DesignReason]] = {
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


_UNKNOWN = (
    "the operator is not supported",
    "supported are GRU, linear, embedding, normalization and causal convolution layers, and element-wise functions",
)


_ATTENTION = (
    "it is attention, which looks at all timesteps at once",
    "supported are layers that work on one timestep at a time",
    DesignReason.WHOLE_SEQUENCE,
)
_OPTIMIZED = (
    "it is an operator of onnxruntime's own",
    "convert the file from before onnxruntime optimized it",
    DesignReason.OTHER_FORMAT,
)
_IN_NAMES: dict[str, tuple[str, str] | tuple[str, str, DesignReason]] = {
    "Quant": _FLOAT_MODEL,
    "NBits": _FLOAT_MODEL,
    "Bnb4": _FLOAT_MODEL,
    "Fp8": _FLOAT_MODEL,
    "QLinear": _FLOAT_MODEL,
    "QGemm": _FLOAT_MODEL,
    "QMoE": _FLOAT_MODEL,
    "Integer": _FLOAT_MODEL,
    "Attention": _ATTENTION,
    "AttnLSTM": _REASONS["LSTM"],
}
"""By what the names of onnxruntime's own operators hold."""


def reason_against(op: str) -> tuple[str, str] | tuple[str, str, DesignReason]:
    """Return what to say about an operator that has no handler: what was found, what to do, and why it stays so."""
    domain, _, name = op.rpartition(".")
    if domain.split(".")[:2] == ["com", "microsoft"]:
        return next((refusal for part, refusal in _IN_NAMES.items() if part in name), _OPTIMIZED)
    if domain:
        return (
            f"it is an operator of the domain {domain[:50]!r}, and the file does not say what it computes",
            "export the model with operators of ONNX, or with a function for it in the file",
            DesignReason.OWN_CODE,
        )
    return _REASONS.get(op, _UNKNOWN)
