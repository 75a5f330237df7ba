"""The same program with onnxruntime and with grurt: one line differs, and nothing that it sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx_graphs import DATA, TOLERANCE

import grurt

REFUSED = ("oss062", "qdyn", "t_copies_open_length")
FILES = sorted(path for path in DATA.glob("*.onnx") if not any(part in path.name for part in REFUSED))
STATEFUL = DATA / "a_h0_tf.ts.da.op18.onnx"
Feed = dict[str, np.ndarray]
DTYPES = {
    "tensor(float)": np.float32,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}


def options() -> Any:
    made = onnxruntime.SessionOptions()
    made.intra_op_num_threads = made.inter_op_num_threads = 1
    made.log_severity_level = 4
    return made


def opened(path: Path) -> tuple[Any, grurt.InferenceSession]:
    """Return both sessions, of one line each."""
    providers = ["CPUExecutionProvider"]
    theirs = onnxruntime.InferenceSession(str(path), options(), providers=providers)
    return theirs, grurt.InferenceSession(str(path), options(), providers=providers)


def feed_of(session: grurt.InferenceSession, batch: int, n_steps: int, seed: int = 0) -> Feed:
    """Return inputs of what a session declares, with these sizes where it leaves them open."""
    rng = np.random.default_rng([batch, n_steps, seed])
    feed = {}
    for node, port in zip(session.get_inputs(), session.model.signature.inputs, strict=True):
        sizes = {"batch": batch, "time": n_steps, "batch_position": batch * getattr(port, "positions", 1)}
        shape = [
            size if isinstance(size, int) else sizes[axis] for size, axis in zip(node.shape, port.axes, strict=True)
        ]
        is_tokens = "int" in node.type or "tokens" in session.model.source.file
        numbers = rng.integers(1, 3, shape) if is_tokens else rng.uniform(-0.9, 0.9, shape)
        feed[node.name] = numbers.astype(DTYPES[node.type])
    return feed


def feeds(session: grurt.InferenceSession) -> Iterator[Feed]:
    is_open = any(not isinstance(size, int) for port in session.get_inputs() for size in port.shape)
    for batch, n_steps in ((1, 1), (1, 6), (3, 1), (5, 4)) if is_open else ((1, 1),):
        yield feed_of(session, batch, n_steps)


def assert_same(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> None:
    assert isinstance(found, list)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_answers_are_those_of_onnxruntime(path: Path) -> None:
    theirs, ours = opened(path)
    for feed in feeds(ours):
        expected = theirs.run(None, feed)
        assert_same(ours.run(None, feed), expected)
        names = [port.name for port in theirs.get_outputs()][::-1]
        assert_same(ours.run(names, feed), theirs.run(names, feed))
        assert_same(ours.run(names[-1:], feed), expected[:1])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_inputs_and_outputs_are_described_alike(path: Path) -> None:
    theirs, ours = opened(path)

    def described(ports: Any) -> list[tuple[str, list[Any], str]]:
        return [(port.name, port.shape, port.type) for port in ports]

    assert described(ours.get_inputs()) == described(theirs.get_inputs())
    assert [port.name for port in ours.get_outputs()] == [port.name for port in theirs.get_outputs()]
    for own, other in zip(ours.get_outputs(), theirs.get_outputs(), strict=True):
        assert own.type == other.type
        for mine, its in zip(own.shape, other.shape, strict=True):
            assert mine == its or (isinstance(mine, int) and isinstance(its, str))  # it knows more than the file says
    for name in vars(ours.get_modelmeta()):
        assert getattr(ours.get_modelmeta(), name) == getattr(theirs.get_modelmeta(), name)
    assert ours.get_providers() == theirs.get_providers()
    assert ours.get_provider_options() == theirs.get_provider_options()
    assert ours.get_overridable_initializers() == theirs.get_overridable_initializers() == []


def test_states_are_fed_back_by_the_program() -> None:
    answers = []
    for session in opened(STATEFUL):
        rng = np.random.default_rng(4)
        h = np.zeros((1, 1, 8), np.float32)
        for _ in range(50):
            y, h = session.run(["y", "hn"], {"x": rng.standard_normal((1, 1, 4), np.float32), "h0": h})
        answers.append([y, h])
    assert_same(answers[1], answers[0])


def test_outputs_in_every_way_to_ask_for_them() -> None:
    theirs, ours = opened(STATEFUL)
    for feed in feeds(ours):
        for names in (None, [], ["y"], ["hn"], ("hn", "y"), ["y", "y"], ["hn", "y", "hn"]):
            found = ours.run(names, feed)
            assert_same(found, theirs.run(names, feed))
            assert not any(np.shares_memory(a, b) for i, a in enumerate(found) for b in found[:i])


def bad_feeds() -> Iterator[tuple[str, Any, type[Exception]]]:
    x, h = np.ones((5, 1, 4), np.float32), np.ones((1, 1, 8), np.float32)
    shape, dtype = grurt.InputShapeError, grurt.InputTypeError
    yield "no h0", {"x": x}, shape
    yield "and none of another name, got 'q'", {"x": x, "h0": h, "q": h}, shape
    yield "expected shape", {"x": x[0], "h0": h}, shape
    yield "expected shape", {"x": x, "h0": h[..., :5]}, shape
    yield "expected a batch size", {"x": x, "h0": np.ones((1, 2, 8), np.float32)}, shape
    yield "expected an array of float32, got float64: convert it before", {"x": x.astype(np.float64), "h0": h}, dtype
    yield "got float16", {"x": x, "h0": h.astype(np.float16)}, dtype
    yield "got int64", {"x": x.astype(np.int64), "h0": h}, dtype
    yield "expected a mapping of inputs by name, got list", [x, h], dtype
    yield "expected real numbers", {"x": x, "h0": None}, dtype
    yield "expected shape", {"x": 1.0, "h0": h}, shape


@pytest.mark.parametrize(("message", "feed", "error"), list(bad_feeds()))
def test_what_onnxruntime_refuses_is_refused(message: str, feed: Any, error: type[Exception]) -> None:
    theirs, ours = opened(STATEFUL)
    with pytest.raises(Exception):  # noqa: B017, PT011 - onnxruntime's exceptions have no base class of their own
        theirs.run(None, feed)
    with pytest.raises(error, match=message.replace("no h0", "no 'h0'")) as caught:
        ours.run(None, feed)
    assert str(caught.value).startswith("InferenceSession.run: ")


def test_no_such_output() -> None:
    theirs, ours = opened(STATEFUL)
    feed = feed_of(ours, 1, 2)
    for names, error, message in (
        (["zz"], grurt.InputValueError, r"expected outputs among \['y', 'hn'\], got 'zz'"),
        ([1], grurt.InputValueError, "expected outputs among"),
        ([["y"]], grurt.InputValueError, "expected outputs among"),
        ("y", grurt.InputTypeError, "expected a list of names of outputs, got 'y'"),
    ):
        with pytest.raises(error, match=message):
            ours.run(names, feed)  # type: ignore[arg-type]
        with pytest.raises(Exception):  # noqa: B017, PT011
            theirs.run(names, feed)
    with pytest.raises(grurt.InputTypeError, match="expected a list of names of outputs"):
        ours.run(np.array(["y"]), feed)  # type: ignore[arg-type]


def test_other_inputs_that_onnxruntime_takes() -> None:
    theirs, ours = opened(STATEFUL)
    feed = feed_of(ours, 1, 5)
    x, h = feed["x"], feed["h0"]
    wide = np.repeat(x, 2, axis=-1)[..., ::2]
    for other in ({"x": x.tolist(), "h0": h}, {"x": wide, "h0": h}, {"x": np.asfortranarray(x), "h0": h.tolist()}):
        assert_same(ours.run(None, other), theirs.run(None, other))
    assert_same(ours.run(None, {"x": x.astype(">f4"), "h0": h}), theirs.run(None, feed))


def test_sizes_that_a_file_fixes_are_those_of_every_call() -> None:
    theirs, ours = opened(DATA / "a_h0_bf.ts.op17.onnx")
    feed = feed_of(ours, 1, 5)
    assert_same(ours.run(None, feed), theirs.run(None, feed))
    longer = feed | {"x": np.ones((1, 6, 4), np.float32)}
    for session, error in ((theirs, Exception), (ours, grurt.InputShapeError)):
        with pytest.raises(error):
            session.run(None, longer)


def test_what_is_not_finite_is_refused_unless_it_is_to_be_computed_with() -> None:
    """Of a NaN, onnxruntime's GRU makes the state as it was before; of an infinity, what it should."""
    theirs, ours = opened(STATEFUL)
    propagating = grurt.InferenceSession(STATEFUL, nonfinite="propagate")
    for number in (np.inf, np.nan):
        for batch in (1, 3):
            feed = feed_of(ours, batch, 3)
            expected = ours.run(None, feed)
            feed["x"][1, 0, 2] = number
            message = r"InferenceSession.run: .*input 'x' at .*: expected finite numbers"
            with pytest.raises(grurt.InputValueError, match=message):
                ours.run(None, feed)
            y, final = propagating.run(None, feed)
            if np.isnan(number):
                assert np.isnan(y[1:, 0]).all()
                assert np.isnan(final[:, 0]).all()
                assert_same([y[0], y[:, 1:], final[:, 1:]], [expected[0][0], expected[0][:, 1:], expected[1][:, 1:]])
            else:
                assert_same([y, final], theirs.run(None, feed))
