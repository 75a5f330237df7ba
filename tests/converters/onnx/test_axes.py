"""Axes that are merged, selected from or combined as no layer can, and states that are no state of a GRU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from onnx import TensorProto
from onnx_graphs import HIDDEN, INPUT, Array, Shapes, convert, gru_weights, proto, random, written

from grurt.errors import ConversionError

WEIGHTS: dict[str, Array] = {
    **gru_weights(),
    "both_W": random(2, 3 * HIDDEN, INPUT),
    "both_R": random(2, 3 * HIDDEN, HIDDEN),
    "wide": random(HIDDEN, 130),
    "table": random(7, INPUT),
    "other": random(9, INPUT),
    "M": random(INPUT, HIDDEN),
    "cube": random(7, 2, INPUT),
    "h0": random(1, 2, HIDDEN + 1),
    "fours": random(4, 1, 1),
    "threes": random(3),
    "first": np.array(0),
    "second": np.array(1),
    "even": np.arange(0, 130, 2),
    "zero": np.array([0]),
    "one": np.array([1]),
    "two": np.array([2]),
    "joined": np.array([8, 3, 5]),
    "flat": np.array([2, 3, 20]),
    "rows": np.array([-1, INPUT]),
    "rows3": np.array([-1, 2, INPUT]),
    "line": np.array([-1]),
    "numbers": np.arange(2),
    "back": np.arange(2)[::-1],
    "none": np.zeros(2, np.int64),
}
"""Constants that a node may name; those that none does stay out of its graph."""

INTEGERS = {"tokens": TensorProto.INT64, "lens": TensorProto.INT32}


def refused(text: str, message: str, inputs: Shapes, outputs: Sequence[str] = ("y",)) -> None:
    """Convert nodes, and expect a message."""
    nodes = written(text)
    read = {name for one in nodes for name in one.input}
    weights = {name: array for name, array in WEIGHTS.items() if name in read}
    with pytest.raises(ConversionError, match=message):
        convert(proto(nodes, inputs, outputs, weights, dtypes=INTEGERS))


@pytest.mark.parametrize(
    ("nodes", "inputs", "message"),
    [
        (
            "a = Reshape(z, joined); b = Add(a, u); y = Relu(b)",
            {"z": (4, 2, 3, 5), "u": (8, 3, 5)},
            r"it combines values of the shapes \(8, 3, 5\) and \(8, 3, 5\), whose axes are not the same; a ve",
        ),
        (
            "a = Reshape(z, flat); b = Concat <axis = 2>(a, a); y = Relu(b)",
            {"z": (2, 3, 4, 5)},
            "it concatenates along 2 merged axes",
        ),
        (
            "a = Reshape(z, joined); y = Gather(a, second)",
            {"z": (4, 2, 3, 5)},
            "it selects from a dimension of 2 merged axes",
        ),
        (
            "a = Slice(z, zero, two, zero); y = Softmax(a)",
            {"z": (4, 2, 3)},
            "it picks position 1 of 4 on axis 0 of input 'z'; only the last or first timestep can be picked",
        ),
        (
            "a = Reshape(z, line); y = Shape(a)",
            {"z": (2**20, 2**20)},
            r"its input of shape \(1099511627776,\) is too large",
        ),
        (
            "a = Add(z, fours); y = Add(a, threes)",
            {"z": (4, 1, 3)},
            "'y': 2 of its axes serve as the feature axis, as where GRUs scan different axes of a tensor; each GRU m",
        ),
        ("y = Relu(tokens)", {"tokens": (4, 2)}, "it computes with integers; token inputs must go to an embedding"),
        ("y = Abs(tokens)", {"tokens": (4, 2)}, "it computes with integers; token inputs must go to an embedding"),
        ("y = Neg(tokens)", {"tokens": (4, 2)}, "it computes with integers; token inputs must go to an embedding"),
        ("y = Softmax(tokens)", {"tokens": (4, 2)}, "it computes with integers; token inputs must go to an embedding"),
        ("y = Identity(tokens)", {"tokens": (4, 2)}, "output 'y': it is not computed by any layer"),
        (
            "y = Gather(cube, tokens)",
            {"tokens": (4, 2)},
            r"it looks up tokens in a table of shape \(7, 2, 3\), not \(tokens, features\)",
        ),
        (
            "a = Gather(tokens, first); y = Gather(table, a)",
            {"tokens": (4, 2)},
            "the tokens of an embedding must be an input of the model",
        ),
        (
            "a = Gather(table, tokens); b = Gather(other, tokens); y = Add(a, b)",
            {"tokens": (4, 2)},
            "the input 'tokens' is looked up in tables of 7 and of 9 tokens",
        ),
    ],
)
def test_values(nodes: str, inputs: Shapes, message: str) -> None:
    """Nodes beside a GRU, whose outputs squeezed are ``s``."""
    gru = "Y = GRU(x, W, R, B); s = Squeeze(Y, one)"
    refused(f"{gru}; {nodes}", message, {"x": (4, 2, INPUT), **inputs}, ["s", "y"])


@pytest.mark.parametrize(
    ("nodes", "inputs", "message"),
    [
        ("y = GRU(x, W, R)", {"x": (2, INPUT)}, r"expected an input of 3 axes, got the shape \(2, 3\)"),
        (
            "a = Reshape(z, rows3); y = GRU(a, W, R)",
            {"z": (4, 2, 2, INPUT)},
            "it scans sequences that are made of several axes .axis 0 of input 'z' and axis 1 of input 'z'",
        ),
        ("y = GRU <hidden_size = 6>(x, W, R)", {"x": (4, 2, INPUT)}, "its hidden_size is not the 5 of its weights"),
        (
            "y = GRU(x, W, R, B, , h0)",
            {"x": (4, 2, INPUT)},
            r"expected an initial state of shape \(1, batch, 5\), got \(1, 2, 6\)",
        ),
        (
            "y = GRU(x, W, R, B, , h)",
            {"x": (4, 2, INPUT), "h": (2, HIDDEN)},
            r"expected an initial state of 3 axes, got the shape \(2, 5\)",
        ),
        (
            "y = GRU(x, W, R, B, , h)",
            {"x": (4, 2, INPUT), "h": (3, 2, HIDDEN)},
            r"its initial state, of shape \(3, 2, 5\), is made of merged axes or too many states",
        ),
        (
            "a = Gather(h, second); b = Gather(a, second); c = Unsqueeze(b, zero); y = GRU(x, W, R, B, , c)",
            {"x": (4, 2, INPUT), "h": (2, 3, 2, HIDDEN)},
            "its initial state is selected along several axes of an input",
        ),
        (
            'a = GRU <direction = "bidirectional">(x, both_W, both_R); y = Softmax <axis = 1>(a)',
            {"x": (4, 2, INPUT)},
            "it works on 2 values stacked along an axis of their own; pick one of them, or merge",
        ),
    ],
)
def test_recurrent_layers(nodes: str, inputs: Shapes, message: str) -> None:
    refused(nodes, message, inputs)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (
            "a = Unsqueeze(lens, zero); y = GRU(x, W, R, B, a)",
            r"its sequence_lens are computed by other nodes; give the lengths as an input of the model, \(batch,\)",
        ),
        (
            "a = ScatterElements(none, lens, numbers); b = Gather <axis = 1>(x, a); y = GRU(b, W, R)",
            "it scatters something else than the positions of sorted sequences",
        ),
        (
            "a, o = TopK(lens, two); b = ScatterElements(none, o, back); c = Gather <axis = 1>(x, b); y = GRU(c, W, R)",
            "it scatters something else than the positions of sorted sequences",
        ),
        (
            "a, order = TopK(lens, two); c = Gather <axis = 1>(x, order); y = GRU(c, W, R, B, a)",
            "output 'y': axis 0 of input 'lens', sorted is in another order than in the inputs; export the",
        ),
        (
            "a, order = TopK(lens, two); b = Reshape(x, rows); c = Gather(b, order); y = GRU(c, W, R)",
            "it sorts a dimension of 2 merged axes",
        ),
        (
            "Y = GRU(x, W, R, B, lens); e = Gather(table, lens); a = Squeeze(Y, one); b = MatMul(e, M); y = Add(a, b)",
            "input 'lens': it gives the lengths of sequences, and layers read it too",
        ),
    ],
)
def test_lengths(nodes: str, message: str) -> None:
    refused(nodes, message, {"x": (4, 2, INPUT), "lens": (2,)})
