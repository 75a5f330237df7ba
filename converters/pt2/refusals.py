"""Why operators are refused, and what to do."""

from __future__ import annotations

from grurt.converters.graph.operators.refusals import NO_LAYER
from grurt.converters.pt2.program import Call
from grurt.errors import DesignReason

_Reason = tuple[str, str, DesignReason | None]

_UNKNOWN: _Reason = (
    "the operator is not supported",
    "supported are GRU, linear, embedding, normalization and causal convolution layers, and element-wise functions",
    None,
)
_LSTM: _Reason = (
    "grurt runs GRU networks; LSTM and plain RNN are not supported",
    "train the model with a GRU",
    DesignReason.OTHER_RECURRENCE,
)
_CONTROL: _Reason = (
    "control flow is not supported",
    "export a module without loops and conditions on the data",
    DesignReason.DATA_DEPENDENT,
)
_QUANTIZED: _Reason = (
    "the model was quantized",
    "export the model of floating-point weights: grurt quantizes by itself",
    DesignReason.QUANTIZED,
)
_ATTENTION: _Reason = (
    "it looks at all timesteps at once, which a stream cannot",
    "use a GRU",
    DesignReason.WHOLE_SEQUENCE,
)
_NO_LAYER: _Reason = (*NO_LAYER, None)
_WITHOUT_LAYERS = frozenset(
    {
        *("topk", "sort", "argsort", "msort", "median", "nanmedian", "kthvalue", "mode", "quantile"),
        *("cumprod", "cummax", "cummin", "logcumsumexp"),
        *("atan", "atan2", "acos", "asin", "arctan", "arctan2", "arccos", "arcsin", "angle"),
    }
)


def reason_against(call: Call, name: str) -> _Reason:
    """Return what to say about an operator that has no handler: what was found, what to do, and why it stays so."""
    if name.startswith(("lstm", "rnn_", "quantized_lstm")):
        return _LSTM
    if "higher_order" in call.target:
        return _CONTROL
    if "quant" in call.target:
        return _QUANTIZED
    if "attention" in name:
        return _ATTENTION
    return _NO_LAYER if name in _WITHOUT_LAYERS else _UNKNOWN
