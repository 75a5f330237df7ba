"""Why operators are refused, and what to do."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from grurt.converters.graph.tracing.axes import Axis, Role
from grurt.errors import DesignReason

Refusal = tuple[str, str, DesignReason | None]
"""What was found, what to do, and why it stays refused."""


_GRU = "train the model with a GRU"
_FLOAT_MODEL = (
    "the model was quantized, and grurt reads models of floating-point weights",
    "convert the model from before the quantization",
    DesignReason.QUANTIZED,
)
_LOOP = ("a loop is not supported", "export the recurrent layer as torch.nn.GRU", DesignReason.DATA_DEPENDENT)
OTHER_AXES = (
    "it computes across timesteps or sequences",
    "supported are layers that work on one timestep at a time",
    DesignReason.WHOLE_SEQUENCE,
)
NO_LAYER: Refusal = ("grurt has no layer that computes it", "compute it before the model or behind it", None)
ATTENTION = ("it lets every timestep look at all others", "use a GRU in its place", DesignReason.WHOLE_SEQUENCE)
OTHER_LENGTH = (
    "it changes the number of timesteps",
    "a stream gives one output for each input",
    DesignReason.SEQUENCE_LENGTH,
)
_RANDOM = ("it draws numbers at random", "draw them outside of the model", DesignReason.TRAINING)
_SHAPE_OF_DATA = (
    "the shape of what it gives depends on the data",
    "do this outside of the model",
    DesignReason.DATA_DEPENDENT,
)
_COMPLEX = ("it gives complex numbers", "transform the signal outside of the model", DesignReason.ELEMENT_TYPE)
_TEXTS = ("it works on texts", "turn the texts into tokens before the model", DesignReason.ELEMENT_TYPE)
_UNKNOWN = (
    "the operator is not supported",
    "supported are GRU, linear, embedding, normalization and causal convolution layers, and element-wise functions",
    None,
)

_REASONS: dict[str, Refusal] = {
    "LSTM": ("grurt runs GRU networks; LSTM is not supported", _GRU, DesignReason.OTHER_RECURRENCE),
    "RNN": ("grurt runs GRU networks; the plain RNN is not supported", _GRU, DesignReason.OTHER_RECURRENCE),
    "If": (
        "a branch that depends on the inputs is not supported",
        "export without data-dependent control flow",
        DesignReason.DATA_DEPENDENT,
    ),
    **dict.fromkeys(("DynamicQuantizeLinear", "QuantizeLinear", "DequantizeLinear", "MatMulInteger"), _FLOAT_MODEL),
    **dict.fromkeys(("QLinearMatMul", "QLinearConv", "ConvInteger"), _FLOAT_MODEL),
    **dict.fromkeys(("Resize", "Upsample", "ConvTranspose"), OTHER_LENGTH),
    **dict.fromkeys(("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"), _RANDOM),
    **dict.fromkeys(("Bernoulli", "Multinomial"), _RANDOM),
    **dict.fromkeys(("NonZero", "Unique", "Compress"), _SHAPE_OF_DATA),
    **dict.fromkeys(("DFT", "STFT"), _COMPLEX),
    **dict.fromkeys(("StringNormalizer", "StringConcat", "StringSplit", "RegexFullMatch", "TfIdfVectorizer"), _TEXTS),
}

_OPTIMIZED = (
    "it is an operator of onnxruntime's own",
    "convert the file from before onnxruntime optimized it",
    DesignReason.OTHER_FORMAT,
)
_IN_NAMES: dict[str, Refusal] = {
    "Quant": _FLOAT_MODEL,
    "NBits": _FLOAT_MODEL,
    "Bnb4": _FLOAT_MODEL,
    "Fp8": _FLOAT_MODEL,
    "QLinear": _FLOAT_MODEL,
    "QGemm": _FLOAT_MODEL,
    "QMoE": _FLOAT_MODEL,
    "Integer": _FLOAT_MODEL,
    "Attention": ATTENTION,
    "AttnLSTM": _REASONS["LSTM"],
}
"""By what the names of onnxruntime's own operators hold."""


def against(axes: Iterable[Axis]) -> DesignReason | None:
    """Return why nothing is computed across axes; of those that nothing has told yet, one is taken to be time."""
    roles = {axis.role for axis in axes}
    if Role.BATCH in roles:
        return DesignReason.ACROSS_BATCH
    return DesignReason.WHOLE_SEQUENCE if roles & {Role.TIME, None} else None


def reason_against(op: str) -> tuple[str, str, DesignReason | None]:
    """Return what to say about an operator that has no handler."""
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


def reason_without_gru(ops: Collection[str]) -> DesignReason | None:
    """Return why a graph without a GRU stays refused; None if its operators could be those of one, taken apart."""
    return None if {"Sigmoid", "Tanh"} <= set(ops) else DesignReason.NO_RECURRENCE
