"""What reads windows of timesteps: convolutions, pooling, and the padding before them."""

from __future__ import annotations

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.nodes import OF_ANY_LENGTH
from grurt.converters.pt2.emitter import Emitter
from grurt.converters.pt2.handlers import translates
from grurt.converters.pt2.program import Call
from grurt.converters.pt2.refusals import ADAPTIVE
from grurt.errors import DesignReason

_MOST_PLACES = 1 << 16
"""That windows along an axis are listed with."""


@translates("conv1d", "conv2d", "conv3d", "convolution", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def convolution(call: Call, em: Emitter) -> None:
    """Translate convolutions and transposed ones, whose padding torch gives for both sides alike."""
    is_transposed = call.get("transposed") or call.op.startswith("conv_transpose")
    weight = em.required("weight")
    bias = [name] if (name := em.tensor("bias")) else []
    axes = _weight_axes(em, weight)
    padding = call.get("padding", [0])
    pads = {"auto_pad": "SAME_UPPER" if padding == "same" else "VALID"}
    explicit = {} if isinstance(padding, str) else {"pads": _repeated(padding, axes) * 2}
    x = _batched(em, em.required("input"), axes)
    if is_transposed:
        explicit["output_padding"] = _repeated(call.get("output_padding", [0]), axes)
    made = em.emit(
        "ConvTranspose" if is_transposed else "Conv",
        *(x, weight, *bias),
        into=call.outputs[0] if x == em.required("input") else None,
        strides=_repeated(call.get("stride", [1]), axes),
        dilations=_repeated(call.get("dilation", [1]), axes),
        group=call.get("groups", 1),
        **(explicit or pads),
    )
    _unbatched(em, made, call.outputs[0])


def _weight_axes(em: Emitter, weight: str) -> int:
    known: Array | None = em.constants.get(weight)
    return max((em.rank(weight) if known is None else known.ndim) - 2, 1)


@translates("max_pool1d", "max_pool2d", "max_pool2d_with_indices")
def max_pool(call: Call, em: Emitter) -> None:
    """Translate maxima; the places of them must not be read."""
    dilations = _repeated(call.get("dilation", 1), _pool_axes(call))
    _pool(call, em, "MaxPool", dilations=dilations)


@translates("avg_pool1d", "avg_pool2d")
def average_pool(call: Call, em: Emitter) -> None:
    """Translate means."""
    if call.get("divisor_override") is not None:
        raise call.unsupported("it has a divisor_override", "multiply its result by a number instead")
    _pool(call, em, "AveragePool", count_include_pad=int(call.get("count_include_pad", True)))


@translates("adaptive_avg_pool1d", "adaptive_max_pool1d")
def adaptive_pool(call: Call, em: Emitter) -> None:
    """Translate adaptive pools of all timesteps; the places of maxima must not be read."""
    if _repeated(call.arguments["output_size"], 1) != (1,):
        raise call.unsupported(*ADAPTIVE)
    x = em.required("self")
    batched = _batched(em, x, 1)
    op = "GlobalAveragePool" if "avg" in call.op else "GlobalMaxPool"
    made = em.emit(op, batched, into=call.outputs[0] if batched == x else None)
    _unbatched(em, made, call.outputs[0])


def _pool_axes(call: Call) -> int:
    return 1 if call.op.endswith("1d") else 2


def _pool(call: Call, em: Emitter, op: str, **attributes: int | tuple[int, ...]) -> None:
    axes, x = _pool_axes(call), em.required("self")
    kernel = _repeated(call.arguments["kernel_size"], axes)
    batched = _batched(em, x, axes)
    made = em.emit(
        op,
        batched,
        into=call.outputs[0] if batched == x else None,
        kernel_shape=kernel,
        strides=_repeated(call.get("stride") or kernel, axes),
        pads=_repeated(call.get("padding", 0), axes) * 2,
        ceil_mode=int(call.get("ceil_mode", False)),
        **{OF_ANY_LENGTH: 1},
        **attributes,
    )
    _unbatched(em, made, call.outputs[0])


@translates("im2col")
def columns(call: Call, em: Emitter) -> None:
    """Translate im2col, of `torch.nn.Unfold`: the windows of an image, as columns ``(N, C * taps, windows)``."""
    x = em.required("self")
    taps, dilation, padding, stride = (
        _repeated(call.get(name), 2) for name in ("kernel_size", "dilation", "padding", "stride")
    )
    batched = _batched(em, x, 2)
    pads = em.constant([0, 0, *padding, 0, 0, *padding], np.int64)
    found = em.emit("Pad", batched, pads, em.constant(0.0)) if any(padding) else batched
    for index, places in enumerate(em.shape(x)[-2:]):
        if not isinstance(places, int):
            raise call.unsupported("it cuts windows out of an axis of open size", "export it with fixed sizes")
        reach = places + 2 * padding[index] - dilation[index] * (taps[index] - 1)
        if min(taps[index], dilation[index], stride[index], reach) < 1 or taps[index] * reach > _MOST_PLACES:
            raise call.unsupported(f"it cuts windows of {taps} places", "cut smaller ones", DesignReason.SIZE)
        starts = np.arange(0, reach, stride[index]) + np.arange(taps[index])[:, np.newaxis] * dilation[index]
        found = em.emit("Gather", found, em.constant(starts, np.int64), axis=2 * index + 2)
    moved = em.emit("Transpose", found, perm=(0, 1, 2, 4, 3, 5))
    shape = [size if isinstance(size, int) else 0 for size in em.shape(call.outputs[0])]
    em.emit("Reshape", moved, em.constant(shape, np.int64), into=call.outputs[0])


def _batched(em: Emitter, x: str, axes: int) -> str:
    """Return a tensor with a batch axis: torch takes those without one."""
    return em.emit("Unsqueeze", x, axes=(0,)) if em.rank(x) == axes + 1 else x


def _unbatched(em: Emitter, made: str, output: str) -> None:
    if made != output:
        em.emit("Squeeze", made, into=output, axes=(0,))


def _repeated(values: int | list[int] | tuple[int, ...], axes: int) -> tuple[int, ...]:
    given = (values,) if isinstance(values, int) else tuple(values)
    return given * axes if len(given) == 1 else given


@translates("pad", "constant_pad_nd")
def pad(call: Call, em: Emitter) -> None:
    """Translate padding, which torch lists from the last axis on, before and after in turn."""
    x, pads = em.required("self"), call.arguments["pad"]
    rank = em.rank(x)
    before, after = [0] * rank, [0] * rank
    for index in range(min(len(pads) // 2, rank)):
        before[rank - 1 - index], after[rank - 1 - index] = pads[2 * index], pads[2 * index + 1]
    mode = call.get("mode", "constant")
    inputs = [x, em.constant(before + after, np.int64), em.constant(call.get("value") or 0.0)]
    em.emit("Pad", *inputs, into=call.outputs[0], mode=mode)
