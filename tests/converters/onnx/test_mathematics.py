"""Functions of one number, operations on two, conditions, reductions and places: graphs compared with onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphs
import pytest
from onnx import TensorProto
from onnx_graphs import HIDDEN, after_gru, converted_and_checked, kinds, node, proto, random, written

import grurt
from grurt.errors import UnsupportedError

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
    "depth": np.array(HIDDEN),
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
        ("y = Where(mask, s, infinity)", "a constant of it is not finite; use a large number in its place"),
        ("y = Max(s, nan)", "a constant of it is NaN; leave it out, or use a number in its place"),
        ("y = ReduceMax <keepdims=0> (s, first)", "it computes across timesteps or sequences"),
        ("y = ArgMax <axis=0> (s)", "it computes across timesteps or sequences"),
        (
            "a = ArgMax <axis=-1, select_last_index=1> (s); y = Cast <to=1> (a)",
            r"of several equal numbers it picks the last; pick the first \(select_last_index=0\)",
        ),
        ("a = ArgMax <axis=-1> (s); y = Mul(a, a)", "it computes with integers; token inputs must go to an embedding"),
        ("a = ArgMax <axis=-1> (s); o = OneHot(a, depth, off_on); y = Add(o, s)", "keeps its axis of features; use"),
        ("a = ArgMax <axis=-1> (s); y = OneHot <axis=0> (a, depth, off_on)", "its classes are not the last axis; supp"),
        (
            "a = ArgMax <axis=-1, keepdims=0> (s); y = OneHot (a, far, off_on)",
            "it has 4097 classes; at most 4096 are supported",
        ),
        ("t = Slice(s, first, last, first); y = Concat <axis=0> (ones, t)", "its input 0 is a constant where the feat"),
        ("y = Slice(s, second, far, first)", "it cuts an axis of open size at 1:4097; whole axes must be kept"),
        ("r = Slice(s, last, back, first, last); y = Pad(r, shift)", "that was reversed; a delay cannot look ahead"),
    ],
)
def test_refused(text: str, message: str) -> None:
    more = {
        "far": np.array(4097),
        "second": np.array([1]),
        "ones": np.ones((1, 2, HIDDEN), np.float32),
        "back": np.array([-(2**62)]),
        "shift": np.array([1, 0, 0, -1, 0, 0]),
    }
    nodes = written(text)
    constants = WEIGHTS | more
    used = {name: constants[name] for each in nodes for name in each.input if name in constants}
    if "far, first" in text:
        used["far"] = np.array([4097])
    with pytest.raises(UnsupportedError, match=message):
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
