"""Convolutions and pooling of any padding and stride, padding and slices over time, compared with onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_graphs
import pytest
from onnx import NodeProto, TensorProto
from onnx_graphs import (
    HIDDEN,
    after_gru,
    convert,
    converted_and_checked,
    gru_weights,
    kinds,
    node,
    proto,
    random,
    written,
)

import grurt
from grurt.errors import ConversionError, DesignReason, UnsupportedError

CHANNELS = 4
OPEN: tuple[int | str, ...] = ("b", CHANNELS, "t")


def before_gru(
    nodes: list[NodeProto], weights: dict[str, Any], *, size: int, shape: Any = OPEN, opset: int = 19
) -> onnx_graphs.ModelProto:
    """Return nodes that make ``c (batch, size, time)`` of ``x``, and a GRU that reads it."""
    nodes = [
        *nodes,
        node("Transpose", ["c"], ["tbf"], perm=[2, 0, 1]),
        node("GRU", ["tbf", "W", "R", "B"], ["Y"], hidden_size=HIDDEN, linear_before_reset=1),
        node("Squeeze", ["Y", "one"], ["y"]),
    ]
    constants = {**gru_weights(size=size), **weights, "one": np.array([1])}
    return proto(nodes, {"x": shape}, ["y"], constants, opset=opset)


def convolution(kernel: int, *, group: int = 1, shape: Any = OPEN, **attributes: Any) -> grurt.Model:
    weights = {"K": random(8, CHANNELS // group, kernel), "k": random(8)}
    nodes = [node("Conv", ["x", "K", "k"], ["c"], group=group, **attributes)]
    return converted_and_checked(before_gru(nodes, weights, size=8, shape=shape))


@pytest.mark.parametrize("shape", [OPEN, (2, CHANNELS, 13)], ids=str)
@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        (3, {"pads": [1, 1]}),
        (3, {}),
        (5, {"pads": [1, 3], "strides": [2]}),
        (3, {"pads": [2, 0], "strides": [3]}),
        (2, {"pads": [3, 0]}),
        (1, {"strides": [2]}),
        (4, {"pads": [2, 2], "dilations": [2]}),
        (3, {"pads": [0, 4], "dilations": [2], "strides": [2]}),
        (3, {"auto_pad": "SAME_UPPER"}),
        (4, {"auto_pad": "SAME_LOWER"}),
        (4, {"auto_pad": "SAME_UPPER", "strides": [3]}),
        (4, {"auto_pad": "SAME_LOWER", "strides": [2]}),
        (3, {"auto_pad": "VALID", "strides": [2]}),
    ],
    ids=str,
)
def test_convolutions(kernel: int, options: dict[str, Any], group: int, shape: Any) -> None:
    model = convolution(kernel, group=group, shape=shape, **options)
    assert model.unstreamable_reason is not None


def test_what_a_convolution_consists_of() -> None:
    assert kinds(convolution(3, pads=[1, 1])) == ["unfold", "conv1d", "unfold", "gru"]
    assert kinds(convolution(3)) == ["conv1d", "unfold", "gru"]
    assert kinds(convolution(3, pads=[1, 1], strides=[2])) == ["unfold", "linear", "gru"]
    assert [layer.name for layer in convolution(3, pads=[1, 1]).layers] == ["conv.padded", "conv", "conv.ahead", "gru"]
    assert convolution(5, pads=[2, 2]).unstreamable_reason == ("layer 'conv.ahead' looks 2 timesteps ahead")


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_a_convolution_of_one_timestep_streams_whatever_its_padding(auto_pad: str) -> None:
    assert kinds(convolution(1, auto_pad=auto_pad)) == ["conv1d", "gru"]


POOLS: list[dict[str, Any]] = [
    {"kernel_shape": [2], "strides": [2], "ceil_mode": 0},
    {"kernel_shape": [3], "strides": [2], "pads": [1, 1]},
    {"kernel_shape": [3], "strides": [1], "pads": [1, 1]},
    {"kernel_shape": [3], "pads": [2, 0]},
    {"kernel_shape": [4], "strides": [3], "pads": [0, 2]},
    {"kernel_shape": [3], "strides": [2], "ceil_mode": 1},
    {"kernel_shape": [3], "strides": [3], "pads": [1, 1], "ceil_mode": 1},
    {"kernel_shape": [2], "strides": [3], "ceil_mode": 1},
    {"kernel_shape": [3], "strides": [2], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [2], "strides": [1], "auto_pad": "SAME_LOWER"},
    {"kernel_shape": [1], "strides": [2]},
    {"kernel_shape": [70], "pads": [35, 35]},
]


@pytest.mark.parametrize("shape", [OPEN, (2, CHANNELS, 13), (2, CHANNELS, 14), (2, CHANNELS, 15)], ids=str)
@pytest.mark.parametrize("options", POOLS, ids=str)
def test_maxima(options: dict[str, Any], shape: Any) -> None:
    """Also of numbers below zero: padding is never the largest."""
    nodes = [node("Sub", ["x", "much"], ["low"]), node("MaxPool", ["low"], ["c"], **options)]
    converted_and_checked(before_gru(nodes, {"much": np.float32(9)}, size=CHANNELS, shape=shape))


@pytest.mark.parametrize("dilation", [2, 3])
def test_maxima_of_timesteps_apart(dilation: int) -> None:
    options = {"kernel_shape": [3], "strides": [2], "pads": [1, 1], "dilations": [dilation]}
    converted_and_checked(before_gru([node("MaxPool", ["x"], ["c"], **options)], {}, size=CHANNELS))


@pytest.mark.parametrize("counted", [0, 1])
@pytest.mark.parametrize("shape", [OPEN, (2, CHANNELS, 13), (2, CHANNELS, 14), (2, CHANNELS, 15)], ids=str)
@pytest.mark.parametrize("options", POOLS, ids=str)
def test_means(options: dict[str, Any], shape: Any, counted: int) -> None:
    nodes = [node("AveragePool", ["x"], ["c"], count_include_pad=counted, **options)]
    converted_and_checked(before_gru(nodes, {}, size=CHANNELS, shape=shape))


def test_a_moving_average_streams() -> None:
    nodes = [node("AveragePool", ["x"], ["c"], kernel_shape=[3], pads=[2, 0], count_include_pad=1)]
    model = converted_and_checked(before_gru(nodes, {}, size=CHANNELS))
    assert model.unstreamable_reason is None
    assert kinds(model) == ["conv1d", "gru"]


@pytest.mark.parametrize("dilation", [1, 2])
def test_a_running_maximum_streams(dilation: int) -> None:
    """The zeros before the first timestep are among the numbers, where the network has put them there itself."""
    options = {"kernel_shape": [3], "dilations": [dilation]}
    nodes = [
        node("Sub", ["x", "much"], ["low"]),
        node("Pad", ["low", "pads"], ["p"]),
        node("MaxPool", ["p"], ["c"], **options),
    ]
    constants = {"much": np.float32(1), "pads": np.array([0, 0, 2 * dilation, 0, 0, 0])}
    model = converted_and_checked(before_gru(nodes, constants, size=CHANNELS))
    assert model.unstreamable_reason is None
    nodes[-1] = node("MaxPool", ["p"], ["c"], **options, strides=[2])
    model = converted_and_checked(before_gru(nodes, constants, size=CHANNELS))
    assert model.unstreamable_reason is not None


def test_a_front_end_of_convolutions_pools_and_norms() -> None:
    nodes = written(
        "a = Conv <strides=[2], pads=[2, 2]> (x, K); b = BatchNormalization (a, g, g, g, v); d = Relu (b);"
        "e = MaxPool <kernel_shape=[2], strides=[2]> (d); f = Conv <pads=[1, 1]> (e, L); s = Add (e, f); c = Relu (s)"
    )
    weights = {"K": random(6, CHANNELS, 5), "L": random(6, 6, 3), "g": random(6), "v": np.abs(random(6, seed=1))}
    model = converted_and_checked(before_gru(nodes, weights, size=6))
    for n_steps in (4, 9, 33):
        assert len(model.run({"x": np.zeros((1, CHANNELS, n_steps))})["y"]) == ((n_steps - 1) // 2 + 1) // 2


CONSTANTS = {
    "first": np.array([0]),
    "second": np.array([1]),
    "fifth": np.array([4]),
    "last": np.array([-1]),
    "end": np.array([2**62]),
    "two": np.array([2]),
    "both": np.array([1, 0, 0, 2, 0, 0]),
    "behind": np.array([0, 0, 0, 2, 0, 0]),
    "before": np.array([2, 0, 0, 0, 0, 0]),
    "inside": np.array([-1, 0, 0, -2, 0, 0]),
    "seven": np.array(7, np.float32),
}


@pytest.mark.parametrize("shape", [("t", "b", 3), (9, 2, 3)], ids=str)
@pytest.mark.parametrize(
    "text",
    [
        "y = Slice(s, first, last, first)",
        "y = Slice(s, second, end, first)",
        "t = Slice(s, second, last, first); y = Tanh(t)",
        "y = Slice(s, first, end, first, two)",
        "y = Slice(s, second, last, first, two)",
        "t = Slice(s, first, last, first); y = Slice(t, first, last, first)",
        "p = Pad(s, before); y = Slice(p, second, end, first)",
        "p = Pad(s, before); y = Tanh(p)",
        "p = Pad(s, before); y = Pad(p, before)",
        "y = Pad(s, behind)",
        "y = Pad(s, both)",
        "y = Pad(s, both, seven)",
        "y = Pad(s, inside)",
        "t = Slice(s, first, last, first); y = Transpose <perm=[1, 0, 2]> (t)",
        "a = Slice(s, first, last, first); b = Slice(s, second, end, first); y = Sub(b, a)",
        "a = Slice(s, first, end, first, two); b = Slice(s, second, end, first, two); y = Concat <axis=2> (a, a)",
    ],
)
def test_padding_and_slices(text: str, shape: Any) -> None:
    nodes = written(text)
    used = {name: CONSTANTS[name] for each in nodes for name in each.input if name in CONSTANTS}
    model = converted_and_checked(after_gru(nodes, used, shape=shape))
    assert model.unstreamable_reason is not None


def of_fixed_length(text: str) -> onnx.ModelProto:
    """Return a GRU behind nodes that pick timesteps ``a`` of an input ``x``, before the GRU says which axis is time."""
    behind = "b = Transpose <perm=[1, 0, 2]> (a); Y = GRU <hidden_size=5> (b, W, R, B)"
    numbers = {"some": np.array([1, 3, 5]), "all": np.arange(7), "minus": np.array([-4]), "parts": np.array([3, 4])}
    constants = {**CONSTANTS, **numbers, **gru_weights()}
    each = [*written(f"{text}; {behind}"), node("Squeeze", ["Y", "second"], ["y"])]
    used = {name: constants[name] for one in each for name in one.input if name in constants}
    return proto(each, {"x": (2, 7, 3)}, ["y"], used)


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("a = Slice(x, two, end, second)", grurt.Unfold(name="", padding=(-2, 0))),
        ("a = Slice(x, first, end, second, two)", grurt.Unfold(name="", stride=2)),
        ("a = Slice(x, second, last, second, two)", grurt.Unfold(name="", stride=2, padding=(-1, -1))),
    ],
)
def test_timesteps_before_anything_tells_that_they_are(text: str, window: grurt.Unfold) -> None:
    """They are kept as the file says it, of a sequence of any length: the last one that is kept does not tell."""
    found = converted_and_checked(of_fixed_length(text)).layers[0]
    assert isinstance(found, grurt.Unfold)
    assert (found.stride, found.padding) == (window.stride, window.padding)


def test_all_timesteps_picked_one_by_one() -> None:
    assert kinds(converted_and_checked(of_fixed_length("a = Gather <axis=1> (x, all)"))) == ["gru"]


@pytest.mark.parametrize(
    "text",
    [
        "a = Gather <axis=1> (x, some)",
        "a = Slice(x, first, two, second)",
        "a = Slice(x, minus, end, second)",
        "a = Slice(x, first, two, second); c = Tanh(a); d = Neg(c)",
        "c, a = Split <axis=1> (x, parts)",
    ],
)
def test_timesteps_of_one_length_only(text: str) -> None:
    """Of sequences of another length, the file does not say which timesteps are meant."""
    with pytest.raises(UnsupportedError) as error:
        convert(of_fixed_length(text))
    assert error.value.reason is DesignReason.SEQUENCE_LENGTH


@pytest.mark.parametrize(
    ("shape", "kernel", "options"),
    [
        (("b", CHANNELS, "t", 1), (3, 1), {"pads": [1, 0, 1, 0]}),
        (("b", CHANNELS, 1, "t"), (1, 3), {"strides": [1, 2]}),
        (("b", CHANNELS, 1, "t"), (3, 3), {"pads": [1, 2, 1, 0]}),
        (("b", 1, "t", 6), (3, 6), {"pads": [2, 0, 0, 0]}),
        (("b", 1, 6, "t"), (6, 3), {"strides": [1, 2], "pads": [0, 1, 0, 1]}),
        (("b", 1, 6, "t"), (6, 3), {"auto_pad": "VALID"}),
    ],
    ids=str,
)
def test_convolutions_of_two_axes_one_of_which_is_covered(shape: Any, kernel: Any, options: dict[str, Any]) -> None:
    channels = shape[1]
    place = shape.index("t")
    nodes = [
        node("Conv", ["x", "K", "k"], ["c4"], **options),
        node("Squeeze", ["c4", "other"], ["c"]),
    ]
    weights = {"K": random(8, channels, *kernel), "k": random(8), "other": np.array([5 - place])}
    model = converted_and_checked(before_gru(nodes, weights, size=8, shape=shape))
    assert (model.unstreamable_reason is None) == (options.get("pads") in ([2, 0, 0, 0], [1, 2, 1, 0]))


def test_pools_of_two_axes() -> None:
    nodes = written(
        "a = Conv <pads=[1, 0, 1, 0]> (x, K); b = MaxPool <kernel_shape=[2, 1], strides=[2, 1]> (a);"
        "d = AveragePool <kernel_shape=[2, 1]> (b); c = Squeeze (d, three)"
    )
    weights = {"K": random(8, 1, 3, 6), "three": np.array([3])}
    converted_and_checked(before_gru(nodes, weights, size=8, shape=("b", 1, "t", 6)))


def test_a_convolution_of_a_sequence_in_reverse() -> None:
    nodes = written(
        "z = Conv(x, M); r = Slice(z, last, back, two, last); a = Conv <pads=[2, 0]> (r, K);"
        "d = Conv <pads=[0, 1]> (a, L); e = Conv <pads=[2, 2]> (d, M3); c = Slice(e, last, back, two, last)"
    )
    weights = {
        **{name: CONSTANTS[name] for name in ("last", "two")},
        "back": np.array([-(2**62)]),
        "K": random(6, CHANNELS, 3),
        "L": random(6, 6, 2),
        "M": random(CHANNELS, CHANNELS, 1),
        "M3": random(6, 6, 3),
    }
    converted_and_checked(before_gru(nodes, weights, size=6))


IMAGES = "it works over more axes than time, of which grurt knows one"


@pytest.mark.parametrize(
    ("text", "shape", "message", "reason"),
    [
        ("a = Conv (x, K3); c = Squeeze (a, three)", ("b", 2, "t", 6), IMAGES, DesignReason.IMAGES),
        (
            "a = Conv (x, K5); c = Squeeze (a, three)",
            ("b", 4, "t", 6, 6),
            "only convolutions over t",
            DesignReason.IMAGES,
        ),
        (
            "a = MaxPool <kernel_shape=[2, 2]> (x); c = Squeeze (a, three)",
            ("b", CHANNELS, "t", 6),
            IMAGES,
            DesignReason.IMAGES,
        ),
        (
            "a = MaxPool <kernel_shape=[2, 1]> (x); c = Squeeze (a, three)",
            ("b", CHANNELS, "t", 6),
            IMAGES,
            DesignReason.IMAGES,
        ),
        ("a = Pad (x, pads4); c = Squeeze (a, three)", ("b", CHANNELS, "t", 6), IMAGES, DesignReason.IMAGES),
        ("c = MaxPool <kernel_shape=[2, 2]> (x)", OPEN, "it pools over 2 axes of a tensor of shape", None),
        ("c, places = MaxPool <kernel_shape=[2]> (x)", OPEN, "it has 2 outputs, of which 1 are supported", None),
        (
            "c = MaxPool <kernel_shape=[2000]> (x)",
            OPEN,
            "it combines 2000 timesteps one by one; at most 1024 are supp",
            DesignReason.SIZE,
        ),
        ("c = Conv (x, K)", ("b", CHANNELS, 2), "it reads 2 timesteps, of which it needs 3 at least", None),
        (
            "r = Slice (x, last, back, two, last); c = Conv <strides=[2]> (r, K)",
            OPEN,
            "it reads a sequence that was reversed; reverse what it gives instead",
            None,
        ),
        ("f = Transpose <perm=[0, 2, 1]> (x); a = Conv (f, K); c = Add (a, f)", (2, 7, CHANNELS), "of size", None),
        (
            "a = Conv (x, K); c = Gather <axis=2> (a, some)",
            (2, CHANNELS, 9),
            "it selects 3 of 7 positions of the time axis of 'conv'; whole sequences must be kept, in order, or one ti",
            None,
        ),
        (
            "g = Gather <axis=1> (x, some); c = Transpose <perm=[0, 2, 1]> (g)",
            (2, 9, CHANNELS),
            "it works on 3 selected positions of axis 1 of input 'x', of size 9; a layer must read whole sequences",
            None,
        ),
        (
            "f = Transpose <perm=[1, 0, 2]> (x); r = Reshape (f, row); c = Conv (r, K)",
            (2, CHANNELS, 9),
            "it runs over several merged axes; each sequence must have an axis of its own",
            DesignReason.ACROSS_BATCH,
        ),
        (
            "m = GlobalAveragePool (x); c = Sub (x, m)",
            OPEN,
            "layer '.*': it reads a vector that is known only at the end of its own sequence",
            DesignReason.WHOLE_SEQUENCE,
        ),
    ],
)
def test_refused(text: str, shape: Any, message: str, reason: DesignReason | None) -> None:
    constants = {
        **CONSTANTS,
        "K": random(CHANNELS, CHANNELS, 3),
        "K3": random(8, 2, 3, 6),
        "K5": random(8, 4, 3, 6, 6),
        "three": np.array([3]),
        "some": np.array([0, 1, 3]),
        "row": np.array([1, CHANNELS, -1]),
        "pads4": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "back": np.array([-(2**62)]),
    }
    nodes = written(text)
    used = {name: constants[name] for each in nodes for name in each.input if name in constants}
    with pytest.raises(ConversionError, match=message) as caught:
        onnx_graphs.convert(before_gru(nodes, used, size=CHANNELS, shape=shape))
    if reason is not None:
        assert isinstance(caught.value, UnsupportedError)
        assert caught.value.reason is reason


def test_sequences_of_different_lengths_do_not_meet() -> None:
    nodes = written("a = Conv <pads=[0, 1]> (x, K); c = Add (a, x)")
    message = "layer 'add': expected inputs of one number of timesteps, got sequences that Unfold or RepeatVe"
    with pytest.raises(grurt.GrurtError, match=message):
        onnx_graphs.convert(before_gru(nodes, {"K": random(CHANNELS, CHANNELS, 3)}, size=CHANNELS))


def test_windows_of_padded_sequences() -> None:
    """With lengths, the source convolves what is behind the ends, too."""
    nodes = written("a = Conv <pads=[1, 1]> (x, K); b = Transpose <perm=[2, 0, 1]> (a)")
    nodes += [
        node("GRU", ["b", "W", "R", "B", "lens"], ["Y"], hidden_size=HIDDEN),
        node("Squeeze", ["Y", "one"], ["y"]),
    ]
    constants = {**gru_weights(size=CHANNELS), "K": random(CHANNELS, CHANNELS, 3), "one": np.array([1])}
    inputs: Any = {"x": OPEN, "lens": ("b",)}
    model = proto(nodes, inputs, ["y"], constants, dtypes={"lens": TensorProto.INT32})
    with pytest.raises(
        UnsupportedError, match=r"layer 'conv\.padded': it reads windows of sequences that have lengths"
    ):
        onnx_graphs.convert(model)


@pytest.mark.parametrize(
    "text",
    [
        "p = Pad(x, ahead); c = AveragePool <kernel_shape=[3]> (p)",
        "p = Pad(x, ahead); c = AveragePool <kernel_shape=[3], count_include_pad=1, pads=[0, 0]> (p)",
        "p = Concat <axis=2> (zeros, x); c = AveragePool <kernel_shape=[3]> (p)",
        "p = Concat <axis=2> (zeros, x); c = MaxPool <kernel_shape=[3]> (p)",
        "p = Concat <axis=2> (zeros, x); c = Conv(p, K)",
    ],
)
def test_what_reads_zeros_before_the_sequence_looks_back(text: str) -> None:
    """Moving averages and convolutions stream, however the zeros are put there."""
    constants = {"ahead": np.array([0, 0, 2, 0, 0, 0]), "zeros": np.zeros((2, CHANNELS, 2), np.float32)}
    weights = {**constants, "K": random(CHANNELS, CHANNELS, 3)}
    nodes = written(text)
    used = {name: weights[name] for each in nodes for name in each.input if name in weights}
    model = converted_and_checked(before_gru(nodes, used, size=CHANNELS, shape=(2, CHANNELS, 13)))
    assert model.unstreamable_reason is None


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("c = AveragePool <kernel_shape=[4], strides=[4]> (x)", 3),
        ("c = MaxPool <kernel_shape=[6], strides=[6], pads=[0, 0]> (x)", 2),
        ("u = Unsqueeze(x, two); p = MaxPool <kernel_shape=[1, 3], strides=[1, 3]> (u); c = Squeeze(p, two)", 4),
    ],
)
def test_pools_of_as_many_parts_of_any_sequence(text: str, parts: int) -> None:
    """PyTorch writes its adaptive pools so, for the number of timesteps of the example: others it does not tell."""
    nodes = written(text)
    used = {"two": np.array([2])} if len(nodes) > 1 else {}
    with pytest.raises(
        UnsupportedError, match=f"it makes {parts} parts of the 12 timesteps that the file was exported with, as an"
    ) as error:
        convert(before_gru(nodes, used, size=CHANNELS, shape=(2, CHANNELS, 12)))
    assert error.value.reason is DesignReason.SEQUENCE_LENGTH


def test_a_pool_of_all_timesteps() -> None:
    nodes = written("c = MaxPool <kernel_shape=[12]> (x)")
    with pytest.raises(UnsupportedError, match="it reads one vector, 'max_over_time', in place of a sequence; give it"):
        convert(before_gru(nodes, {}, size=CHANNELS, shape=(2, CHANNELS, 12)))


def test_the_first_timesteps_of_one_length() -> None:
    """As many are kept of sequences of any length, where a file of one length does not say that it cuts the last."""
    model = after_gru(
        written("y = Slice(s, first, two, first)"), {k: CONSTANTS[k] for k in ("first", "two")}, shape=(9, 2, 3)
    )
    with pytest.raises(
        UnsupportedError, match="it reads the first 2 of 9 timesteps; cut them off from the end"
    ) as error:
        convert(model)
    assert error.value.reason is DesignReason.SEQUENCE_LENGTH
