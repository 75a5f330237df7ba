"""Parameters of ONNX operators that contradict what they work on, or ask for what grurt does not have."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_graphs import HIDDEN, INPUT, Array, after_gru, convert, random, written

from grurt.errors import ConversionError

WEIGHTS: dict[str, Array] = {
    "M": random(HIDDEN, 4),
    "M3": random(4, HIDDEN, 4),
    "low": random(3, 4),
    "K": random(4, HIDDEN, 3),
    "K4": random(4, HIDDEN, 3, 3),
    "features": random(HIDDEN),
    "three": random(3),
    "rows": random(2, 4),
    "over": random(2, 1, HIDDEN),
    "bounds": random(2),
    "half": np.array([0.5], np.float32),
    "two": np.array([2]),
    "none": np.array([], np.int64),
    "zeros": np.array([0, 0]),
    "ones": np.array([1, 1]),
    "triple": np.array([1, 2, 3]),
    "sevens": np.array([7, 7]),
    "cube": np.array([[[0, 1], [1, 0]]]),
    "wide": np.array([3, 2, HIDDEN]),
    "wide4": np.array([4, 1, 1, 1]),
    "twice": np.array([1, 2, 1]),
    "before": np.array([1, 0, 0, 0, 0, 0]),
    "half_pads": np.array([1, 0, 0]),
    "before4": np.array([1, 0, 0, 0, 0, 0, 0, 0]),
    "huge": np.array([2**40, 2**20]),
    "large": np.array([2**17, 2**16]),
}
"""Constants that a node may name; those that none does stay out of its graph."""


def graph_of(text: str) -> None:
    """Convert a GRU over 4 timesteps of 2 sequences, and nodes behind it."""
    nodes = written(text)
    read = {name for one in nodes for name in one.input}
    convert(after_gru(nodes, {name: array for name, array in WEIGHTS.items() if name in read}, shape=(4, 2, INPUT)))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (
            "y = MatMul(s)",
            r"node 'y' \(MatMul\): its input 1 is missing: the file is damaged or was not written by an ONNX",
        ),
        ("y = MatMul(s, M3)", r"expected a matrix of floating-point weights, got float32 \(4, 5, 4\)"),
        ("y = MatMul(s, low)", r"it expects 3 features, and gets a tensor of shape \(4, 2, 5\)"),
        ("y = Gemm(h, M, three)", "its bias has 3 elements, its matrix gives 4"),
        ("y = Gemm(h, M, rows)", r"its bias, of shape \(2, 4\), differs between the rows of the batch"),
        ("y = Add(h, over)", r"it combines a value of shape \(2, 5\) with a constant of shape \(2, 1, 5\)$"),
        ('y = Gelu <approximate = "erf">(s)', "unknown approximation 'erf'"),
        ("y = Gelu <approximate = 1>(s)", "expected a string as its attribute 'approximate'"),
        ("y = Softmax <axis = 1.5>(s)", "expected an integer as its attribute 'axis'"),
        ("y = Transpose <perm = 1>(s)", "expected a list as its attribute 'perm'"),
        ("y = Softmax <axis = 7>(s)", "the axis 7 is none of the 3 of its input: the file is damaged"),
        ("y = Flatten <axis = 9>(s)", "the axis 9 is none of the 3 of its input: the file is damaged"),
        ("y = Unsqueeze(s, zeros)", r"the axes \(0, 0\) repeat themselves"),
        ("y = Unsqueeze(s, half)", "expected a short list of integers as its axes"),
        ("y = Clip(s, bounds)", "expected one number as its min"),
        ("y = Transpose <perm = [0, 0, 1]>(s)", r"\(0, 0, 1\) is not a permutation of its 3 axes"),
        ("y = Reshape(s, sevens)", r"it reshapes \(4, 2, 5\) to \(7, 7\), which has not as many elements"),
        ("y, z = Split <axis = 2>(s, ones)", r"it splits an axis of size 5 into 2 parts of sizes \(1, 1\)"),
        ("y = Slice(s, ones, two)", "its starts, ends, axes and steps do not fit together"),
        ("y = Expand(s, wide)", r"it expands a value of shape \(4, 2, 5\) to \(3, 2, 5\)"),
        ("y = Tile(s, two)", "expected a number of repeats for each of 3 axes, got 1"),
        ("y = Gather(s, cube)", r"it selects positions of the shape \(1, 2, 2\); one position is supported"),
        ("y = Gather(s, none)", r"it selects 0 positions of a tensor of shape \(4, 2, 5\)"),
        ("y = Gather <axis = 2>(s, none)", r"it selects 0 positions of a tensor of shape \(4, 2, 5\)"),
        ("y = Concat <axis = 0>(s, h)", "its inputs have different numbers of axes"),
        ("a, mask = Dropout(s); y = Where(mask, a, a)", "it has 2 outputs, of which 1 are supported"),
        ("y = LayerNormalization(s, three)", r"expected weights of shape \(5,\), got float32 \(3,\)"),
        (
            "a, mean = LayerNormalization(s, features); y = Add(a, mean)",
            "its outputs of mean and deviation are not supported",
        ),
        (
            "y = LayerNormalization <axis = 1>(s, M)",
            "it normalizes several axes; only the features of a timestep can be normalized",
        ),
        (
            "y = BatchNormalization <training_mode = 1>(h, features, features, features, features)",
            "it computes statistics of the batch; call model.eval",
        ),
        ("y = Conv(M3, s)", "its input 0 is a constant where the features of a timestep are expected"),
        ("y = Conv(s, K4)", r"only convolutions over time are supported, got weights float32 \(4, 5, 3, 3\)"),
        ("y = Conv <strides = [2, 2]>(s, K)", "its attributes do not fit together"),
        ("y = Conv <strides = [0]>(s, K)", "its attributes do not fit together"),
        ('y = Conv <auto_pad = "LEFT">(s, K)', "its auto_pad is 'LEFT'"),
        ("y = Conv <kernel_shape = [5]>(s, K)", "its attributes do not fit its weights"),
        ('y = Pad <mode = "reflect">(s, before)', "it pads in the mode 'reflect'; only padding with a finite number"),
        ("y = Pad(s, half_pads)", "its pads and axes do not fit together"),
        ("u = Unsqueeze(s, zero); y = Pad(u, before4)", "'y': 2 of its axes serve as the time axis"),
        (
            "y = Tile(s, twice)",
            (
                r"it repeats a value of shape \(4, 2, 5\) \(1, 2, 1\) times; "
                "a vector can be repeated along the time axis of another value"
            ),
        ),
    ],
)
def test_what_an_operator_cannot_do(nodes: str, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        graph_of(nodes)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ('c = Constant <value_string = "five">()', "its value is of a kind that is not supported"),
        ("c = ConstantOfShape(huge)", "it makes a constant of the shape .*, which is too large"),
        (
            "d = ConstantOfShape(large); c = Concat <axis = 0>(d, d)",
            "the constants that the graph computes are too large",
        ),
        ("c = Concat <axis = 0>(two, cube)", r"\(Concat\): its inputs do not fit together: the file is damaged"),
        ("c = Mul(zeros, triple)", "the shapes of its inputs do not fit together"),
    ],
)
def test_what_the_graph_cannot_compute_of_constants(nodes: str, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        graph_of(f"{nodes}; y = Add(s, c)")


def test_a_spelled_out_normalization_over_timesteps() -> None:
    nodes = written("p = Mul(s, s); m = ReduceMean(p, zero); e = Add(m, tiny); r = Sqrt(e); y = Div(s, r)")
    with pytest.raises(ConversionError, match="it normalizes other axes than the last; only the features can be norma"):
        convert(after_gru(nodes, {"tiny": np.array(1e-5, np.float32)}, shape=(4, 2, INPUT)))
