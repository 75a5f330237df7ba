"""Why operators are refused, and what to do."""

from __future__ import annotations

import re

from grurt.converters.graph.operators.refusals import ATTENTION, NO_LAYER, OTHER_AXES, OTHER_LENGTH, Refusal
from grurt.converters.pt2.program import Call
from grurt.errors import DesignReason

_UNKNOWN: Refusal = (
    "the operator is not supported",
    "supported are GRU, linear, embedding, normalization and causal convolution layers, and element-wise functions",
    None,
)
_CONTROL: Refusal = (
    "control flow is not supported",
    "export a module without loops and conditions on the data",
    DesignReason.DATA_DEPENDENT,
)
_QUANTIZED: Refusal = (
    "the model was quantized",
    "export the model of floating-point weights: grurt quantizes by itself",
    DesignReason.QUANTIZED,
)
ADAPTIVE: Refusal = (
    "it pools a sequence of any length into several timesteps",
    "use a pool with a kernel_size, or pool into one",
    DesignReason.WHOLE_SEQUENCE,
)
_REFUSALS: dict[re.Pattern[str], Refusal] = {
    re.compile(r"adaptive_\w+_pool1d"): ADAPTIVE,
    re.compile(r"upsample_\w+1d|repeat_interleave|conv_transpose1d"): OTHER_LENGTH,
    re.compile(r"instance_norm"): OTHER_AXES,
}
"""What to say about operators of these names."""

_WITHOUT_LAYERS = frozenset(
    {
        *("topk", "sort", "argsort", "msort", "median", "nanmedian", "kthvalue", "mode", "quantile"),
        *("cumprod", "cummax", "cummin", "logcumsumexp"),
        *("atan2", "arctan2", "angle"),
    }
)

_REASONS = {
    re.compile(
        r"(conv|\w*pool|upsample_\w+|pixel_\w*shuffle|reflection_pad|replication_pad)[23]d"
    ): DesignReason.IMAGES,
    re.compile(r"cumprod|cummax|cummin|logcumsumexp"): DesignReason.WHOLE_SEQUENCE,
    re.compile(r"nonzero\w*|masked_select|_?unique\w*|_local_scalar_dense|item"): DesignReason.DATA_DEPENDENT,
    re.compile(r"rand\w*|bernoulli|multinomial|normal\w*|poisson|\w*dropout"): DesignReason.TRAINING,
    re.compile(r"_?fft_\w+|stft|istft|complex|view_as_(complex|real)"): DesignReason.ELEMENT_TYPE,
}
"""Why operators of these names stay unknown, by design."""


def reason_against(call: Call, name: str) -> tuple[str, str, DesignReason | None]:
    """Return what to say about an operator that has no handler: what was found, what to do, and why it stays so."""
    if "higher_order" in call.target:
        return _CONTROL
    if "quant" in call.target:
        return _QUANTIZED
    if "attention" in name:
        return ATTENTION
    if (refusal := next((each for found, each in _REFUSALS.items() if found.fullmatch(name)), None)) is not None:
        return refusal
    found, advice, _ = NO_LAYER if name in _WITHOUT_LAYERS else _UNKNOWN
    return found, advice, _reason(call.target, name)


def _reason(target: str, name: str) -> DesignReason | None:
    """Return why an operator that nothing translates stays unknown; None if it might be translated."""
    if not target.startswith("torch.ops.aten."):
        return DesignReason.OWN_CODE if target.startswith("torch.ops.") else None
    return next((reason for found, reason in _REASONS.items() if found.match(name)), None)
