"""What layers do, in C: a function for each kind, which writes a layer into a `grurt.native.c99.unit.Unit`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from grurt.native.c99.layers import arithmetic, convolution, dense, elementwise, normalization, pooling, recurrent
from grurt.native.c99.layers.programs import writing
from grurt.network import layers as ly

if TYPE_CHECKING:
    from grurt.native.c99.unit import Unit

Writer = Callable[["Unit", Any], None]

WRITERS: dict[type[ly.Layer], Writer] = {
    ly.GRU: recurrent.gru,
    ly.Linear: dense.linear,
    ly.Embedding: dense.embedding,
    ly.Conv1d: convolution.conv1d,
    ly.TimePooling: pooling.time_pooling,
    ly.LayerNorm: normalization.layer_norm,
    ly.RMSNorm: normalization.rms_norm,
    ly.BatchNorm: normalization.batch_norm,
    ly.Activation: elementwise.activation,
    ly.PRelu: elementwise.prelu,
    ly.FeatureMask: elementwise.feature_mask,
    ly.TokenMask: elementwise.token_mask,
    ly.Constant: elementwise.constant,
    ly.Add: arithmetic.add,
    ly.Mul: arithmetic.mul,
    ly.Binary: arithmetic.binary,
    ly.Where: arithmetic.where,
    ly.Concat: arithmetic.concat,
    ly.Slice: arithmetic.slice_,
    ly.Reduce: arithmetic.reduce,
    ly.Program: writing.program,
}
"""By the class of the layer; those that pass on what they read need none."""


def unsupported_reason(layer: ly.Layer) -> str | None:
    """Why a layer cannot be written in C; None if it can."""
    if type(layer) in WRITERS or layer.passes_on or layer.rearranges:
        return None
    return f"layer {layer.name!r} is of the kind {layer.kind}, for which there is no C source text"
