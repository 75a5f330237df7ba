"""Layers with weights, other than products with matrices and convolutions: embedding, normalization, distances."""

from __future__ import annotations

import math

import numpy as np

from grurt.converters.pt2.emitter import Emitter
from grurt.converters.pt2.handlers import translates
from grurt.converters.pt2.program import Call
from grurt.converters.torch.checkpoint.weight_norm import normalized_weight
from grurt.errors import DesignReason

MAX_FEATURES = 1 << 24

_EVALUATION = ("it normalizes with the batch's own statistics", "call model.eval() before the export")


@translates("embedding")
def embedding(call: Call, em: Emitter) -> None:
    """Translate embedding: rows of a table by token."""
    em.emit("Gather", em.required("weight"), em.required("indices"), into=call.outputs[0], axis=0)


@translates("_weight_norm", "_weight_norm_interface")
def weight_norm(call: Call, em: Emitter) -> None:
    """Compute a weight from its parts, as its author could have done before the export."""
    names = em.required("v"), em.required("g")
    direction, magnitude = map(em.array, names)
    made = em.made(("weight_norm", names), [direction], lambda: normalized_weight(call.name, magnitude, direction))
    em.constants[call.outputs[0]] = em.constants[made]


@translates("layer_norm", "native_layer_norm")
def layer_norm(call: Call, em: Emitter) -> None:
    """Translate layer normalization over the last axes."""
    shape = call.arguments["normalized_shape"]
    if math.prod(shape) > MAX_FEATURES:
        raise call.unsupported(f"it normalizes {math.prod(shape)} numbers", f"at most {MAX_FEATURES} are supported")
    weight = em.tensor("weight") or em.filled(1.0, shape)
    bias = [name] if (name := em.tensor("bias")) else []
    em.emit(
        "LayerNormalization",
        *(em.required("input"), weight, *bias),
        into=call.outputs[0],
        axis=-len(shape),
        epsilon=float(call.get("eps", 1e-5)),
    )


@translates("rms_norm")
def rms_norm(call: Call, em: Emitter) -> None:
    """Translate RMS normalization over the last axes; without an epsilon, torch takes that of the dtype."""
    weight = [name] if (name := em.tensor("weight")) else []
    epsilon = call.get("eps")
    em.emit(
        "RMSNormalization",
        *(em.required("input"), *weight),
        into=call.outputs[0],
        axis=-len(call.arguments["normalized_shape"]),
        epsilon=float(np.finfo(np.float32).eps if epsilon is None else epsilon),
    )


@translates("batch_norm", "_native_batch_norm_legit_no_training")
def batch_norm(call: Call, em: Emitter) -> None:
    """Translate batch normalization with stored statistics."""
    if call.get("training"):
        raise call.unsupported(*_EVALUATION, DesignReason.TRAINING)
    mean, variance = em.tensor("running_mean"), em.tensor("running_var")
    if not mean or not variance:
        raise call.unsupported(*_EVALUATION, DesignReason.TRAINING)
    size = em.array(mean).shape
    weight, bias = (em.tensor(name) or em.filled(neutral, size) for name, neutral in (("weight", 1.0), ("bias", 0.0)))
    em.emit(
        "BatchNormalization",
        *(em.required("input"), weight, bias, mean, variance),
        into=call.outputs[0],
        epsilon=float(call.arguments["eps"]),
    )


@translates("group_norm", "native_group_norm")
def group_norm(call: Call, em: Emitter) -> None:
    """Translate group normalization, of the features along axis 1."""
    x = em.required("input")
    size = em.shape(x)[1]
    if not isinstance(size, int):
        raise call.unsupported("it normalizes features of an open number", "export with a fixed number of features")
    weight, bias = (
        em.tensor(name) or em.filled(neutral, (size,)) for name, neutral in (("weight", 1.0), ("bias", 0.0))
    )
    em.emit(
        "GroupNormalization",
        *(x, weight, bias),
        into=call.outputs[0],
        num_groups=call.get("num_groups") or call.arguments["group"],
        epsilon=float(call.get("eps", 1e-5)),
    )


@translates("cosine_similarity")
def cosine_similarity(call: Call, em: Emitter) -> None:
    """Translate cosine_similarity: of two values, each divided by its length, which counts as an epsilon at least."""
    epsilon, parts = em.constant(float(call.get("eps", 1e-8))), []
    for x in (em.required("x1"), em.required("x2")):
        axis = em.constant([_axis_from_end(call, em)], np.int64)
        length = em.emit("Max", em.emit("ReduceL2", x, axis, keepdims=1), epsilon)
        parts.append(em.emit("Div", x, length))
    axis = em.constant([_axis_from_end(call, em)], np.int64)
    em.emit("ReduceSum", em.emit("Mul", *parts), axis, into=call.outputs[0], keepdims=0)


def _axis_from_end(call: Call, em: Emitter) -> int:
    """Return the axis of a call on two tensors that may have different ranks, counted from the last one."""
    axis: int = call.get("dim", 1)
    rank = max(em.rank(em.required(name)) for name in ("x1", "x2"))
    return axis if axis < 0 else axis - rank


@translates("pairwise_distance")
def pairwise_distance(call: Call, em: Emitter) -> None:
    """Translate pairwise_distance: the length of ``x1 - x2 + epsilon``."""
    if call.get("p", 2) != 2:
        raise call.unsupported(f"it is a distance of order {call.get('p')}", "supported is 2")
    difference = em.emit("Sub", em.required("x1"), em.required("x2"))
    moved = em.emit("Add", difference, em.constant(float(call.get("eps", 1e-6))))
    keeps = int(bool(call.get("keepdim", False)))
    em.emit("ReduceL2", moved, em.constant([-1], np.int64), into=call.outputs[0], keepdims=keeps)
