"""Functions of one number, operations on two, conditions, reductions and places: graphs compared with onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphs
import pytest
from onnx import TensorProto
from onnx_graphs import HIDDEN, after_gru, converted_and_checked, kinds, node, proto, random, written

import grurt
from grurt.errors import ConversionError, UnsupportedError

Array = np.ndarray[Any, np.dtype[Any]]

WEIGHTS: dict[str, Array] = {
    "half": np.array(0.5, np.float32),
    "two": np.array([2.0], np.float32),
    "row": random(HIDDEN, seed=8),
    "positive": np.abs(random(HIDDEN, seed=9)) + np.float32(0.2),
    "mask": np.array([True, False, True, True, False]),
    "last": np.array([-1]),
    "first": np.array([0]),
    "infinity": np.array(-np.inf, np.float32),
    "nan": np.array(np.nan, np.float32),
    "row_of_nan": np.full(HIDDEN, np.nan, np.float32),
    "depth": np.array(HIDDEN),
    "axis": np.array(-1),
    "two_whole": np.array(2),
    "rows": np.broadcast_to(random(HIDDEN), (3, 2, HIDDEN)).copy(),
    "places": np.broadcast_to(np.array([2, 0, 2, 1]), (3, 2, 4)).copy(),
    "left": random(4, HIDDEN),
    "off_on": np.array([0, 1], np.float32),
    "classes": np.arange(HIDDEN, dtype=np.int64),
}


def graph(text: str, **options: Any) -> Any:
    """Return a graph that goes on behind a GRU, whose sequence is ``s``, with the weights that it reads."""
    nodes = written(text)
    used = {name: WEIGHTS[name] for each in nodes for name in each.input if name in WEIGHTS}
    return after_gru(nodes, used, **options)


FUNCTIONS = ["Exp(s)", "Reciprocal(p)", "Log(p)", "Sqrt(p)", "Abs(s)", "Sign(s)", "Round(w)", "Floor(w)", "Ceil(w)"]
FUNCTIONS += ["Sin(w)", "Cos(w)", "Erf(s)", "Pow(p, half)", "Pow(s, two)"]


@pytest.mark.parametrize("opset", [13, 18, 22])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions(function: str, opset: int) -> None:
    """Of numbers, of positive numbers (p), and of numbers of both signs that reach further (w)."""
    before = {"s": "", "p": "p = Exp(s); ", "w": "p = Exp(s); w = Sub(p, positive); "}
    text = before[function.split("(")[1][0]] + f"y = {function}"
    model = converted_and_checked(graph(text, opset=opset))
    assert set(kinds(model)) <= {"gru", "activation", "batch_norm", "mul"}


@pytest.mark.parametrize(
    "text",
    [
        "y = Div(s, e)",
        "y = Div(row, e)",
        "y = Div(half, e)",
        "y = Div(s, positive)",
        "y = Pow(e, s)",
        "y = Pow(half, s)",
        "y = Pow(e, row)",
        "y = Pow(positive, s)",
        "y = Max(s, half)",
        "y = Max(s, row, half)",
        "y = Min(s, row)",
        "y = Min(s, e, row, half)",
        "y = Max(s)",
        "g = Greater(s, row); y = Where(g, s, e)",
        "g = Less(s, half); y = Where(g, s, half)",
        "g = GreaterOrEqual(half, s); y = Where(g, row, half)",
        "g = LessOrEqual(s, s); y = Cast <to=1> (g)",
        "g = Equal(s, s); n = Not(g); y = Where(n, s, e)",
        "g = Less(s, row); k = Less(s, half); a = And(g, k); y = Cast <to=1> (a)",
        "g = Less(s, row); k = Less(s, half); a = Or(g, k); y = Cast <to=1> (a)",
        "g = Less(s, row); k = Less(s, half); a = Xor(g, k); y = Cast <to=1> (a)",
        "g = Less(s, row); a = And(g, mask); y = Cast <to=1> (a)",
        "y = Where(mask, s, e)",
        "w = Where(mask, s, infinity); y = Softmax(w)",
        "n = Neg(s); w = Where(mask, infinity, n); y = Exp(w)",
        "i = Where(mask, s, infinity); f = IsInf(i); n = IsNaN(s); y = Where(f, row, s)",
        "i = Where(mask, s, infinity); f = IsInf <detect_negative=0> (i); y = Where(f, row, s)",
        "a = ArgMax <axis=-1> (s); b = Mul(a, a); c = Add(b, two_whole); y = Cast <to=1> (c)",
        "a = ArgMax <axis=-1> (s); m = Mod(a, two_whole); y = Cast <to=1> (m)",
        "c = Cast <to=7> (e); d = Sub(c, two_whole); y = Cast <to=1> (d)",
        "c = Cast <to=9> (s); y = Cast <to=1> (c)",
        "y = Mod <fmod=1> (s, row)",
        "y = Mod <fmod=1> (row, e)",
        "y = CumSum(s, axis)",
        "y = CumSum <exclusive=1, reverse=1> (s, axis)",
        "y = Shrink <lambd=0.1> (s)",
        "y = Shrink <lambd=0.1, bias=0.1> (s)",
        "y = MatMul(s, row)",
        "t = Transpose <perm=[0, 2, 1]> (s); m = MatMul(left, t); y = Transpose <perm=[0, 2, 1]> (m)",
        'y = Einsum <equation="oi, tbi -> tbo"> (left, s)',
        'y = Einsum <equation="tbi,oi->obt"> (s, left)',
        "m = ReduceMax <keepdims=1> (s, last); g = Equal(s, m); y = Cast <to=1> (g)",
        "m = ReduceMax <keepdims=1> (s, last); g = Less(m, row); y = Where(g, s, e)",
    ],
)
def test_operations(text: str) -> None:
    converted_and_checked(graph(f"e = Exp(s); {text}"))


@pytest.mark.parametrize("op", ["Max", "Min", "Prod", "L1", "L2", "LogSumExp", "SumSquare", "Sum", "Mean"])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reductions(op: str, keepdims: int) -> None:
    model = converted_and_checked(graph(f"y = Reduce{op} <keepdims={keepdims}> (s, last)"))
    assert len(model.signature.outputs[0].axes) == 2 + keepdims


def test_the_logarithm_of_a_sum() -> None:
    converted_and_checked(graph("e = Exp(s); y = ReduceLogSum <keepdims=0> (e, last)"))


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin", "ReduceSum", "ReduceMean", "ReduceProd"])
def test_reductions_of_stacked_states(op: str) -> None:
    weights = onnx_graphs.gru_weights(2)
    nodes = [
        node(
            "GRU",
            ["x", "W", "R", "B"],
            ["Y", "Y_h"],
            hidden_size=HIDDEN,
            linear_before_reset=1,
            direction="bidirectional",
        ),
        node(op, ["Y_h", "axis"], ["y"], keepdims=0),
    ]
    model = proto(nodes, {"x": ("t", "b", 3)}, ["y"], {**weights, "axis": np.array([0])}, opset=18)
    converted_and_checked(model)


SIX = "m = MatMul(s, six); "
"""Makes six features of a timestep's."""

SHAPE = (3, 2, 3)
"""Of an input in files whose constants are written out for as many timesteps and sequences."""


@pytest.mark.parametrize(
    "text",
    [
        "y = Concat <axis=-1> (s, rows)",
        "e = Exp(s); y = Concat <axis=2> (rows, s, e)",
        "y = GatherElements <axis=2> (s, places)",
        "y = Add(s, rows)",
        "u = Unsqueeze(s, end); c = Concat <axis=3> (u, u); y = Reshape(c, wide)",
        "u = Unsqueeze(s, last); c = Concat <axis=2> (u, u); y = Reshape(c, wide)",
        "u = Unsqueeze(s, end); t = Tile(u, twice); y = Reshape(t, wide)",
        "y = Tile(s, features_twice)",
        "g = Gather <axis=2> (s, grid); y = Reshape(g, flat4)",
        "g = Gather <axis=2> (s, grid); y = ReduceMax <keepdims=0> (g, end)",
        "t = Transpose <perm=[2, 0, 1]> (s); g = GatherND(t, nd); y = Transpose <perm=[1, 2, 0]> (g)",
        "y = Pad(s, around)",
        "y = Pad(s, around, half)",
        "y = Pad(s, within)",
        "f = Reshape(s, flat); n = GroupNormalization <num_groups=5> (f, row, row); y = Reshape(n, back_again)",
        f"{SIX}f = Reshape(m, flat6); n = GroupNormalization <num_groups=3> (f, three, three); y = Reshape(n, back6)",
        f"{SIX}f = Reshape(m, groups); n = InstanceNormalization(f, three, three); y = Reshape(n, back6)",
        f"{SIX}f = Reshape(m, groups); n = InstanceNormalization(f, ones3, zeros3); y = Reshape(n, back6)",
    ],
)
def test_features_in_other_places(text: str) -> None:
    integers = {
        "wide": [3, 2, 2 * HIDDEN],
        "end": [3],
        "grid": [[4, 0], [2, 2]],
        "flat4": [3, 2, 4],
        "nd": [[4], [1], [2]],
        "twice": [1, 1, 1, 2],
        "features_twice": [1, 1, 2],
        "around": [0, 0, 2, 0, 0, 1],
        "within": [0, 0, -1, 0, 0, -2],
        "flat": [6, HIDDEN],
        "back_again": [3, 2, HIDDEN],
        "flat6": [6, 6],
        "groups": [6, 3, 2],
        "back6": [3, 2, 6],
    }
    more = {name: np.array(value) for name, value in integers.items()}
    more |= {"six": random(HIDDEN, 6), "three": random(3), "ones3": np.ones(3, np.float32)}
    more |= {"zeros3": np.zeros(3, np.float32)}
    nodes = written(text)
    used = {name: (WEIGHTS | more)[name] for each in nodes for name in each.input if name in WEIGHTS | more}
    converted_and_checked(after_gru(nodes, used, shape=SHAPE))


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
def test_places_are_integers(op: str, keepdims: int) -> None:
    model = converted_and_checked(
        graph(f"y = {op} <axis=-1, keepdims={keepdims}> (s)", dtypes={"y": TensorProto.INT64})
    )
    assert kinds(model) == ["gru", "reduce"]
    found = model.run({"x": random(4, 2, 3)})["y"]
    assert found.dtype == np.int64
    assert found.shape == ((4, 2, 1) if keepdims else (4, 2))


def test_a_number_is_chosen_where_the_other_is_none() -> None:
    """The logarithms of numbers below 0 are NaN, and so would be what is made of them."""
    text = "m = ReduceMax <keepdims=1> (s, last); g = Equal(m, m); l = Log(s); y = Where(g, half, l)"
    model = converted_and_checked(graph(text))
    assert (model.run({"x": random(4, 2, 3)})["y"] == 0.5).all()


def test_conditions_as_integers() -> None:
    text = "g = Greater(s, row); y = Cast <to=7> (g)"
    model = converted_and_checked(graph(text, dtypes={"y": TensorProto.INT64}))
    assert model.signature.outputs[0].dtype == "int64"


@pytest.mark.parametrize(
    "text",
    [
        "a = ArgMax <axis=-1, keepdims=0> (s); o = OneHot (a, depth, off_on); y = Add(o, s)",
        "a = ArgMax <axis=-1, keepdims=1> (s); g = Equal(a, classes); y = Where(g, s, half)",
        "a = ArgMax <axis=-1, keepdims=1> (s); f = Cast <to=1> (a); y = Mul(f, s)",
    ],
)
def test_places_among_the_features(text: str) -> None:
    converted_and_checked(graph(text))


@pytest.mark.parametrize("values", [(0, 1), (-0.5, 2)])
def test_one_hot_tokens_are_an_embedding(values: tuple[float, float]) -> None:
    nodes = [
        node("OneHot", ["tokens", "depth", "values"], ["x"]),
        node("GRU", ["x", "W", "R", "B"], ["Y"], hidden_size=HIDDEN, linear_before_reset=1),
        node("Squeeze", ["Y", "one"], ["y"]),
    ]
    constants = {
        **onnx_graphs.gru_weights(),
        "depth": np.array(3),
        "values": np.array(values, np.float32),
        "one": np.array([1]),
    }
    model = converted_and_checked(
        proto(nodes, {"tokens": ("t", "b")}, ["y"], constants, dtypes={"tokens": TensorProto.INT64})
    )
    assert kinds(model) == ["embedding", "gru"]
    assert isinstance(model.inputs[0], grurt.TokenInput)


@pytest.mark.parametrize(
    "text",
    [
        "t = Slice(s, first, last, first); y = Concat <axis=0> (zeros, t)",
        "t = Slice(s, first, last, first); y = Pad(t, one_before)",
        "y = Pad(s, one_later)",
        "p = Pad(s, one_before); y = Slice(p, first, last, first)",
        "p = Pad(s, two_before); a = Slice(p, first, minus_two, first); b = Slice(p, two, end, first); y = Sub(b, a)",
    ],
)
def test_delays(text: str) -> None:
    """Of one timestep, or the difference with that two timesteps before."""
    shifts = {
        "zeros": np.zeros((1, 2, HIDDEN), np.float32),
        "one_before": np.array([1, 0, 0, 0, 0, 0]),
        "two_before": np.array([2, 0, 0, 0, 0, 0]),
        "one_later": np.array([1, 0, 0, -1, 0, 0]),
        "minus_two": np.array([-2]),
        "two": np.array([2]),
        "end": np.array([2**62]),
        "first": np.array([0]),
        "last": np.array([-1]),
    }
    nodes = written(text)
    used = {name: shifts[name] for each in nodes for name in each.input if name in shifts}
    model = converted_and_checked(after_gru(nodes, used, shape=("t", 2, 3)))
    assert "conv1d" in kinds(model)
    assert model.unstreamable_reason is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("y = Where(mask, s, row_of_nan)", "a constant of it is not finite; use a large number in its place"),
        ("a = ArgMax <axis=-1> (s); b = Div(a, a); y = Cast <to=1> (b)", "it divides integers; cast them to floating"),
        (
            "y = Shrink <lambd=0.5, bias=0.25> (s)",
            "its lambd is 0.5 and its bias 0.25; supported are hard and soft shrinkage",
        ),
        (
            "y = Concat <axis=0> (s, rows)",
            "it puts a constant of shape .* beside a value of shape .*; the same numbers",
        ),
        ("y = Concat <axis=2> (s, , s)", "one of its inputs is left out"),
        (
            "p = Exp(s); y = Concat <axis=2> (p, rows)",
            "it puts a constant of shape .* the same numbers can be put beside",
        ),
        ("y = GatherElements <axis=2> (s, places)", "it selects other features at each timestep; select the same at"),
        (
            'y = Einsum <equation="tbi,tbj->tbij"> (s, s)',
            "its equation is 'tbi,tbj->tbij'; supported is a product with a",
        ),
        ("y = GroupNormalization <num_groups=3> (h, row, row)", "it divides 5 features into 3 groups"),
        ("y = GatherND(s, pairs)", r"it selects positions of the shape \(1, 2\); select along one axis"),
        ("y = Pad(s, all)", "it cuts all of 5 features off"),
        (
            'c = ScatterElements <reduction="add"> (row, first, half_of_one); y = Add(s, c)',
            "it adds up what it places",
        ),
        (
            "f = Reshape(s, back_to_rows); y = Softmax <axis=0> (f)",
            "its axis 0 of 2 is not that of the features of one",
        ),
        (
            "w = MatMul(s, broad); u = Unsqueeze(w, three); c = Concat <axis=3> (u, u); y = Reshape(c, joined)",
            "it puts 4098 features in another order; at most 4096 are supported",
        ),
        ("y = Max(s, nan)", "a constant of it is NaN; leave it out, or use a number in its place"),
        ("y = ReduceProd <keepdims=0> (s, first)", "it computes across timesteps or sequences"),
        ("y = ArgMax <axis=0> (s)", "it computes across timesteps or sequences"),
        (
            "a = ArgMax <axis=-1, select_last_index=1> (s); y = Cast <to=1> (a)",
            r"of several equal numbers it picks the last; pick the first \(select_last_index=0\)",
        ),
        ("a = ArgMax <axis=-1> (s); o = OneHot(a, depth, off_on); y = Add(o, s)", "keeps its axis of features; use"),
        ("a = ArgMax <axis=-1> (s); y = OneHot <axis=0> (a, depth, off_on)", "its classes are not the last axis; supp"),
        (
            "a = ArgMax <axis=-1, keepdims=0> (s); y = OneHot (a, far, off_on)",
            "it has 4097 classes; at most 4096 are supported",
        ),
        ("y = Slice(s, second, far, first)", "it cuts an axis of open size at 1:4097; whole axes must be kept"),
        ("r = Slice(s, last, back, first, last); y = Pad(r, shift)", "that was reversed; a delay cannot look ahead"),
    ],
)
def test_refused(text: str, message: str) -> None:
    more = {
        "pairs": np.array([[0, 1]]),
        "all": np.array([0, 0, -3, 0, 0, -2]),
        "back_to_rows": np.array([-1, HIDDEN]),
        "half_of_one": np.full(1, 0.5, np.float32),
        "broad": random(HIDDEN, 2049),
        "three": np.array([3]),
        "joined": np.array([0, 0, -1]),
        "far": np.array(4097),
        "second": np.array([1]),
        "back": np.array([-(2**62)]),
        "shift": np.array([1, 0, 0, -1, 0, 0]),
    }
    nodes = written(text)
    constants = WEIGHTS | more
    used = {name: constants[name] for each in nodes for name in each.input if name in constants}
    if "far, first" in text:
        used["far"] = np.array([4097])
    with pytest.raises(ConversionError, match=message):
        onnx_graphs.convert(after_gru(nodes, used, shape=("t", 2, 3)))


def test_a_delay_of_too_many_axes() -> None:
    nodes = [
        node("Pad", ["x", "pads"], ["shifted"]),
        node("Reshape", ["shifted", "shape"], ["r"]),
        node("GRU", ["r", "W", "R", "B"], ["y"], hidden_size=HIDDEN, linear_before_reset=1),
    ]
    constants = {"pads": np.array([1, 0, 0, 0, -1, 0, 0, 0]), "shape": np.array([0, 0, 6])}
    model = proto(nodes, {"x": ("t", "b", 2, 3)}, ["y"], {**onnx_graphs.gru_weights(size=6), **constants})
    with pytest.raises(UnsupportedError, match=r"it shifts a value of shape .* in time; a delay is of \(batch, time"):
        onnx_graphs.convert(model)


def test_a_condition_is_an_output_of_booleans() -> None:
    model = onnx_graphs.convert(graph("y = Greater(s, row)", dtypes={"y": TensorProto.BOOL}))
    assert model.signature.outputs[0].dtype == "bool"


def test_computed_places_are_no_tokens() -> None:
    nodes = written("a = ArgMax <axis=-1, keepdims=0> (s); y = Gather <axis=0> (table, a)")
    with pytest.raises(UnsupportedError, match="the tokens of an embedding must be an input of the model"):
        onnx_graphs.convert(after_gru(nodes, {"table": random(HIDDEN, 4)}))


def test_tokens_are_looked_up_in_the_first_axis_of_a_table() -> None:
    nodes = [
        node("Gather", ["table", "tokens"], ["e"], axis=1),
        node("GRU", ["e", "W", "R", "B"], ["y"], hidden_size=HIDDEN, linear_before_reset=1),
    ]
    weights = {**onnx_graphs.gru_weights(), "table": random(3, 4)}
    model = proto(nodes, {"tokens": ("t", "b")}, ["y"], weights, dtypes={"tokens": TensorProto.INT64})
    with pytest.raises(UnsupportedError, match=r"in a table of shape \(3, 4\), but not in its first axis"):
        onnx_graphs.convert(model)
