"""Contexts of several lengths: the answers of onnxruntime to each, and those of a shorter one among larger ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from commandline import fail, succeed
from onnx import ModelProto, TensorProto, helper
from onnx_graphs import node, random
from step_graphs import step_proto

import grurt
from grurt import reference
from grurt.converters import convert
from grurt.errors import ConversionError, InputShapeError, SnapshotError, UnsupportedError
from grurt.runtime.snapshot import checksum

MOST = 8
LENGTHS = (1, 3, MOST)
TOLERANCE = 2e-6
WEIGHTS = {
    "w": random(4, 5),
    "b": random(5),
    "v": random(5, 4),
    "one": np.array([1]),
    "two": np.array([2]),
    "zero": np.array([0]),
    "last": np.array([-1]),
    "end": np.array([-9]),
    "rows": np.array([-1, 4]),
    "flat": np.array([1, -1]),
    "taps": random(3, 4, 1),
}
ATTENTION = "k = MatMul(m, w); q = MatMul(x, w); kt = Transpose<perm = [0, 2, 1]>(k); s = MatMul(q, kt); "

TEXTS = {
    "attention": ATTENTION + "p = Softmax<axis = -1>(s); y = MatMul(p, m)",
    "with a bias": "k = MatMul(m, w); kb = Add(k, b); kt = Transpose<perm = [0, 2, 1]>(kb); q = MatMul(x, w); "
    "s = MatMul(q, kt); p = Softmax<axis = 2>(s); f = MatMul(p, kb); y = MatMul(f, v)",
    "without a softmax": "k = MatMul(m, w); kb = Add(k, b); q = MatMul(x, w); kt = Transpose<perm = [0, 2, 1]>(kb); "
    "s = MatMul(q, kt); y = MatMul(s, kb)",
    "softmax by hand": ATTENTION + "t = ReduceMax<keepdims = 1>(s, two); d = Sub(s, t); e = Exp(d); "
    "a = ReduceSum<keepdims = 1>(e, two); p = Div(e, a); y = MatMul(p, m)",
    "additive": "k = MatMul(m, w); q = MatMul(x, w); a = Add(k, q); t = Tanh(a); s = MatMul(t, v); "
    "p = Softmax<axis = 1>(s); c = Mul(p, m); y = ReduceSum<keepdims = 0>(c, one)",
    "sum": "c = Sub(x, m); y = ReduceSum<keepdims = 0>(c, one)",
    "mean": "c = Sub(x, m); y = ReduceMean<keepdims = 1>(c, one)",
    "mean of all": "c = Sub(x, m); y = ReduceMean<keepdims = 1>(c)",
    "maximum": "c = Sub(m, x); a = Abs(c); n = Neg(a); y = ReduceMax<keepdims = 0>(n, one)",
    "minimum": "c = Sub(m, x); a = Abs(c); y = ReduceMin<keepdims = 0>(a, one)",
    "l1": "c = Sub(m, x); y = ReduceL1<keepdims = 0>(c, one)",
    "l2": "c = Sub(m, x); y = ReduceL2<keepdims = 0>(c, one)",
    "sum of squares": "c = Sub(m, x); y = ReduceSumSquare<keepdims = 0>(c, one)",
    "the first place": "f = Slice(m, zero, one, one); y = Add(f, x)",
    "along features": "c = Add(m, x); p = Softmax<axis = 2>(c); y = ReduceSum<keepdims = 0>(p, one)",
    "as rows": "r = Reshape(m, rows); k = MatMul(r, w); a = Add(k, b); y = ReduceSum<keepdims = 0>(a, zero)",
    "beside": "a = Exp(m); c = Concat<axis = 2>(a, m); t = ReduceMax<keepdims = 0>(c, one); z = Tanh(x); y = Add(t, t)",
    "of as many places": "y = Sub(x, m)",
    "expanded": "s = Shape(m); e = Expand(x, s); y = ReduceSum<keepdims = 0>(e, one)",
}

REFUSED = {
    "the last place": (
        "f = Slice(m, last, end, one, last); y = Add(f, x)",
        "slice .*: its starts would be .* in place of",
    ),
    "turned round": (
        "y = Slice(m, last, end, one, last); z = Add(x, x)",
        "slice .*: its starts would be .* in place of",
    ),
    "a convolution": (
        "t = Transpose<perm = [0, 2, 1]>(m); y = Conv(t, taps); z = Add(x, x)",
        "conv .* has no meaning without some of the places",
    ),
    "a logarithm": (
        "c = Add(m, x); y = LogSoftmax<axis = 1>(c)",
        "softmax .* has no meaning without some of the places",
    ),
    "longer by one": (
        "y = Concat<axis = 1>(m, x)",
        "a value of shape .* would be of shape .* where it is larger by one",
    ),
    "flat": (
        "f = Reshape(m, flat); z = Add(x, x); y = Tanh(f)",
        r"a value of shape \(1, 32\) would be of shape \(1, 36\)",
    ),
    "the size itself": (
        "s = Shape<start = 1, end = 2>(m); f = Cast<to = 1>(s); y = Div(x, f)",
        "numbers that it computes with are others for another size",
    ),
}


def graph(text: str) -> ModelProto:
    weights = {
        name: array
        for name, array in WEIGHTS.items()
        if name in text.replace("(", " ").replace(",", " ").replace(")", " ").split()
    }
    return step_proto(text, {"m": (1, "n", 4), "x": (1, 1, 4)}, weights=weights)


def written(text: str, tmp_path: Path) -> Path:
    path = tmp_path / "step.onnx"
    path.write_bytes(graph(text).SerializeToString())
    return path


def memory(length: int) -> Any:
    return np.random.default_rng(length).normal(size=(1, length, 4)).astype(np.float32)


X = np.random.default_rng(99).normal(size=(1, 1, 4)).astype(np.float32)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_every_length_agrees_with_onnxruntime(text: str, tmp_path: Path) -> None:
    path = written(text, tmp_path)
    model = convert(path, imported="literal", context=["m"], size={"n": MOST})
    assert model.context_shapes == {"m": (1, MOST, 4)}
    assert model.source.notes[-1] == f"size n: {MOST} at most"
    assert model.verify().ok
    source = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for length in LENGTHS:
        (expected,) = source.run(["y"], {"m": memory(length), "x": X, "h": np.zeros((1, 2), np.float32)})
        found = model.stream(context={"m": memory(length)}).step(X)
        truth = reference.step_outputs(model, {"x": X.reshape(1, 4)}, {"m": memory(length)})["y"]
        for answer in (found, truth):
            numbers = np.ravel(answer)
            assert not numbers[expected.size :].any()
            scale = max(1.0, np.abs(expected).max())
            assert np.abs(numbers[: expected.size] - expected.ravel()).max() < TOLERANCE * scale


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_meaning_without_some_places_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=f"size 'n': the graph does more along it .*{message}"):
        convert(written(text, tmp_path), imported="literal", context=["m"], size={"n": MOST})


def test_a_graph_that_does_something_else_of_another_size_is_refused(tmp_path: Path) -> None:
    def branch(op: str) -> Any:
        return helper.make_graph([node(op, ["x"], ["y"])], op, [], [helper.make_tensor_value_info("y", 1, None)])

    text = "s = Shape<start = 1, end = 2>(m); e = Equal(s, most); c = Squeeze(e); z = ReduceSum<keepdims = 0>(m, one)"
    weights = {"most": np.array([MOST]), "one": WEIGHTS["one"]}
    proto = step_proto(text, {"m": (1, "n", 4), "x": (1, 1, 4)}, ("y", "z"), weights)
    proto.graph.node.append(node("If", ["c"], ["y"], then_branch=branch("Tanh"), else_branch=branch("Softmax")))
    path = tmp_path / "step.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(UnsupportedError, match="the size changes what is computed"):
        convert(path, imported="literal", context=["m"], size={"n": MOST})


def test_the_largest_size_changes_no_bit(tmp_path: Path) -> None:
    path = written(TEXTS["with a bias"], tmp_path)
    answers = set()
    for most in (5, 8, 20, 70):
        model = convert(path, imported="literal", context=["m"], size={"n": most}, reference=False)
        answers.add(model.stream(context={"m": memory(5)}).step(X).tobytes())
    assert len(answers) == 1


def test_streams_of_a_pool_have_lengths_of_their_own(tmp_path: Path) -> None:
    model = convert(written(TEXTS["attention"], tmp_path), imported="literal", context=["m"], size={"n": MOST})
    lengths = [1, 8, 3, 5, 2, 7]
    pool = model.pool()
    for length in lengths:
        pool.add(context={"m": memory(length)})
    found = pool.step(np.arange(6), np.repeat(X, 6, axis=0).reshape(6, 4))
    for row, length in zip(found, lengths, strict=True):
        assert np.array_equal(row, model.stream(context={"m": memory(length)}).step(X))


def test_a_snapshot_holds_a_shorter_one(tmp_path: Path) -> None:
    model = convert(written(TEXTS["attention"], tmp_path), imported="literal", context=["m"], size={"n": MOST})
    stream, other = model.stream(context={"m": memory(3)}), model.stream(context={"m": memory(MOST)})
    stream.step(X)
    saved = stream.snapshot(with_context=True)
    assert len(saved) == len(stream.snapshot()) + 4 + memory(3).nbytes
    other.restore(saved)
    assert other.context is not None
    assert other.context.values["m"].shape == (1, 3, 4)
    assert np.array_equal(other.step(X), stream.step(X))
    padded = np.concatenate([memory(3), np.zeros((1, 1, 4), np.float32)], axis=1)
    assert model.context(m=padded).digest != model.context(m=memory(3)).digest
    content = saved[:-20]
    with pytest.raises(SnapshotError, match="the snapshot is damaged: its context does not have the model's size"):
        other.restore(content + checksum(content))


@pytest.mark.parametrize("shape", [(1, 0, 4), (1, 9, 4), (1, 3, 5), (2, 3, 4), (3,), (9, 4)])
def test_what_is_too_long_or_of_another_shape_is_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    model = convert(written(TEXTS["sum"], tmp_path), imported="literal", context=["m"], size={"n": MOST})
    with pytest.raises(InputShapeError, match=r"'m': expected shape \(.*\), got"):
        model.stream(context={"m": np.zeros(shape, np.float32)})
    assert model.stream(context={"m": np.zeros((3, 4), np.float32)}).context is not None


def test_contexts_of_one_size_have_as_many_places(tmp_path: Path) -> None:
    text = "k = Mul(m, c); y = ReduceSum<keepdims = 0>(k, one); z = Add(x, x)"
    proto = step_proto(
        text,
        {"m": (1, "n", 4), "c": (1, "n", 1), "x": (1, 1, 4)},
        weights={"one": WEIGHTS["one"]},
        dtypes={"c": TensorProto.FLOAT},
    )
    path = tmp_path / "step.onnx"
    path.write_bytes(proto.SerializeToString())
    model = convert(path, imported="literal", context=["m", "c"], size={"n": MOST})
    given = {"m": memory(3), "c": np.ones((1, 3, 1), np.float32)}
    np.testing.assert_allclose(model.stream(context=given).step(X), memory(3).sum(axis=1)[0], atol=1e-6)
    with pytest.raises(InputShapeError, match="'c': expected 3 places, as 'm' has, got 4"):
        model.context(m=memory(3), c=np.ones((4, 1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": ["m"], "size": {"k": 3}}, "size: the graph leaves no size 'k' open; it leaves n"),
        ({"context": ["m"], "size": {"n": 0}}, "size: 'n': expected a number of places from 1 on, got 0"),
        ({"context": ["m"], "size": {"n": 2.5}}, "size: 'n': expected a number of places from 1 on, got 2.5"),
        ({"size": {"n": 3}}, "size: 'n' is one of the input 'm', too, which is no context"),
    ],
)
def test_what_is_said_of_sizes_has_to_be_so(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(written(TEXTS["sum"], tmp_path), imported="literal", **options)


def test_a_graph_that_leaves_two_sizes_open_may_say_one(tmp_path: Path) -> None:
    path = tmp_path / "step.onnx"
    proto = step_proto(
        "k = Mul(m, c); y = ReduceSum<keepdims = 0>(k)", {"m": (1, "n", 4), "c": ("k", "k"), "x": (1, 4)}
    )
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ConversionError, match="size: expected one size that contexts have, got k, n"):
        convert(path, context=["m", "c"], size={"k": 2, "n": 2})
    with pytest.raises(ConversionError, match="size: the input 'c' has 'k' along two axes"):
        convert(path, context=["m", "c"], size={"k": 2})


def test_a_state_of_as_many_places_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "step.onnx"
    proto = step_proto(
        "s = ReduceSum<keepdims = 1>(m, two); c_out = Add(c, s); z = Add(x, x); y = Tanh(z)",
        {"m": (1, "n", 4), "x": (1, 4), "c": (1, 1, 1)},
        outputs=("y", "c_out"),
        weights={"two": WEIGHTS["two"]},
    )
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ConversionError, match=r"cannot become the output|has as many places as a context"):
        convert(path, imported="literal", context=["m"], size={"n": 3}, state={"c": "c_out"})


def test_the_command_takes_the_largest_size(tmp_path: Path) -> None:
    path, model = written(TEXTS["attention"], tmp_path), tmp_path / "step.grurt"
    text = succeed("convert", path, "--import", "literal", "--context", "m", "--size", "n=8", "-o", model)
    assert "note: size n: 8 at most" in text
    assert succeed("verify", model, "--against", path, "--size", "n=8").endswith("ok\n")
    assert grurt.load(model).open_contexts == {"m": (1, "mask of n")}
    assert "expected a number" in fail("convert", path, "--context", "m", "--size", "n=many", "-o", model)
