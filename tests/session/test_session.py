"""What a session is made of, what it takes beside that, and that threads may share it."""

from __future__ import annotations

import concurrent.futures
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import models
import numpy as np
import onnxruntime
import pytest
from onnx import helper
from onnx_graphs import DATA, proto, random

import grurt
from grurt.converters import convert
from grurt.kernels import codes
from grurt.runtime.feeds import feeds_for
from grurt.runtime.sequences import run_mapping

FILE = DATA / "a_h0_tf.ts.da.op18.onnx"
X = np.random.default_rng(0).standard_normal((4, 1, 4), np.float32)
H = np.random.default_rng(1).uniform(-1, 1, (1, 1, 8)).astype(np.float32)
FEED = {"x": X, "h0": H}


@pytest.fixture(scope="module")
def model() -> grurt.Model:
    return convert(FILE, reference=False)


@pytest.fixture(scope="module")
def expected(model: grurt.Model) -> list[np.ndarray]:
    return list(run_mapping(model, FEED, lengths=None, nonfinite="refuse").values())


def assert_bits(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert [(a.shape, a.tobytes()) for a in found] == [(a.shape, a.tobytes()) for a in expected]


def test_of_every_source(model: grurt.Model, expected: list[np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "model.grurt"
    model.save(path)
    for source in (FILE, str(FILE), FILE.read_bytes(), path, str(path), path.read_bytes(), model):
        session = grurt.InferenceSession(source)
        assert_bits(session.run(None, FEED), expected)
        assert_bits(session.run(None, dict(FEED)), expected)
        assert [(port.name, port.shape) for port in session.get_inputs()] == [
            ("x", ["time", "batch", 4]),
            ("h0", [1, "batch", 8]),
        ]
        assert session.get_modelmeta().producer_name.startswith("pytorch")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    (tmp_path / "empty.onnx").touch()
    lstm = proto(
        [helper.make_node("LSTM", ["x", "w", "r"], ["y", "h"], hidden_size=5)],
        {"x": [4, 1, 3]},
        ["y"],
        {"w": random(1, 20, 3), "r": random(1, 20, 5)},
    ).SerializeToString()
    (tmp_path / "lstm.onnx").write_bytes(lstm)
    torch_file = next(DATA.parent.joinpath("torch").glob("*.pt2"))
    for source, error, message in (
        (tmp_path / "lstm.onnx", grurt.UnsupportedError, "LSTM"),
        (lstm, grurt.UnsupportedError, "LSTM"),
        (tmp_path / "text.onnx", grurt.ConversionError, "text.onnx"),
        (tmp_path / "empty.onnx", grurt.ConversionError, "empty.onnx"),
        (tmp_path / "none.onnx", grurt.ConversionError, "none.onnx"),
        (tmp_path, grurt.ConversionError, "folder"),
        (
            torch_file,
            grurt.ConversionError,
            "expected an ONNX or a .grurt file, got one of the kind 'pt2': convert it with",
        ),
        (b"", grurt.ConversionError, "expected an ONNX model"),
        (b"no model", grurt.ConversionError, "expected an ONNX model"),
        (None, grurt.InputTypeError, "expected a path, the bytes of a file, or a grurt.Model, got NoneType"),
    ):
        with pytest.raises(error, match=message):
            grurt.InferenceSession(source)  # type: ignore[arg-type]


def test_damaged_grurt_files_are_refused(model: grurt.Model, tmp_path: Path) -> None:
    path = tmp_path / "model.grurt"
    model.save(path)
    cut = path.read_bytes()[:-1]
    (tmp_path / "cut.grurt").write_bytes(cut)
    for source in (cut, tmp_path / "cut.grurt"):
        with pytest.raises(grurt.ModelFileError):
            grurt.InferenceSession(source)


def options(**changes: Any) -> Any:
    made = onnxruntime.SessionOptions()
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_options_that_change_no_answer(model: grurt.Model, expected: list[np.ndarray]) -> None:
    level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    for accepted in (
        None,
        options(),
        options(intra_op_num_threads=8, inter_op_num_threads=1, log_severity_level=3, logid="a"),
        options(graph_optimization_level=level, enable_mem_pattern=False, use_deterministic_compute=True),
        options(execution_mode=onnxruntime.ExecutionMode.ORT_SEQUENTIAL),
        SimpleNamespace(intra_op_num_threads=1),
    ):
        session = grurt.InferenceSession(model, accepted)
        assert_bits(session.run(None, FEED, onnxruntime.RunOptions()), expected)


class HasProviders:
    def has_providers(self) -> bool:
        return True


def test_options_that_ask_for_what_there_is_not(model: grurt.Model) -> None:
    parallel = onnxruntime.ExecutionMode.ORT_PARALLEL
    for refused, message in (
        (options(enable_profiling=True), "got True: there is no profile of operators; time the calls of run"),
        (
            options(optimized_model_filepath="m.onnx"),
            "convert the file once, with grurt.converters.convert, and keep it",
        ),
        (options(inter_op_num_threads=2), "layers run one after the other; leave it 0 or 1"),
        (options(execution_mode=parallel), "layers run one after the other; leave it ORT_SEQUENTIAL"),
        (SimpleNamespace(intra_op_num_threads=-1), "expected intra_op_num_threads of 0 or more, got -1"),
        (SimpleNamespace(threads=1), "expected options of onnxruntime among"),
    ):
        with pytest.raises(grurt.InputValueError, match=message):
            grurt.InferenceSession(model, refused)
    with pytest.raises(grurt.EngineError, match="expected no providers of its own: give the argument providers"):
        grurt.InferenceSession(model, HasProviders())
    with pytest.raises(grurt.InputTypeError, match="expected enable_profiling to be a number, got None"):
        grurt.InferenceSession(model, SimpleNamespace(enable_profiling=None))
    ended = onnxruntime.RunOptions()
    ended.terminate = True
    with pytest.raises(grurt.InputValueError, match="a run cannot be ended from outside"):
        grurt.InferenceSession(model).run(None, FEED, ended)


def test_providers(model: grurt.Model) -> None:
    cpu, gpu = "CPUExecutionProvider", "CUDAExecutionProvider"
    for accepted in (None, [], [cpu], [gpu, cpu], [(cpu, {})], [(gpu, {"device_id": 0}), cpu]):
        assert grurt.InferenceSession(model, providers=accepted).get_providers() == [cpu]
    assert grurt.InferenceSession(model, None, [cpu], [{}]).get_provider_options() == {cpu: {}}
    for refused, error, message in (
        ([gpu], grurt.EngineError, "providers: grurt runs on CPUs only: expected"),
        ([(gpu, {})], grurt.EngineError, "'CPUExecutionProvider' in the list, got 'CUDAExecutionProvider'"),
        (cpu, grurt.InputTypeError, "providers: expected a list of names, got"),
        ([1], grurt.InputTypeError, "expected names, or tuples of a name and options, got 1"),
    ):
        with pytest.raises(error, match=message):
            grurt.InferenceSession(model, providers=refused)  # type: ignore[arg-type]
    with pytest.raises(grurt.InputValueError, match="provider_options: expected 1, one for each provider, got 2"):
        grurt.InferenceSession(model, None, [cpu], [{}, {}])


def test_values_of_onnxruntimes_own_are_refused(model: grurt.Model) -> None:
    session: Any = grurt.InferenceSession(model)
    for name in ("io_binding", "run_with_iobinding", "run_with_ort_values"):
        message = f"InferenceSession.{name}: inputs and outputs are NumPy arrays in the CPU's memory: call run"
        with pytest.raises(grurt.EngineError, match=message):
            getattr(session, name)()
    with pytest.raises(grurt.EngineError, match="end_profiling: no operator is timed by itself"):
        session.end_profiling()


def test_threads_share_a_session(model: grurt.Model) -> None:
    session = grurt.InferenceSession(model)
    rng = np.random.default_rng(3)
    feeds = [
        {"x": rng.standard_normal((n, batch, 4), np.float32), "h0": np.repeat(H, batch, 1)}
        for n in range(1, 20)
        for batch in (1, 1, 2)
    ]
    expected = [list(run_mapping(model, feed, lengths=None, nonfinite="refuse").values()) for feed in feeds]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            for found, own in zip(pool.map(lambda feed: session.run(None, feed), feeds), expected, strict=True):
                assert_bits(found, own)


def test_a_session_keeps_nothing_of_a_call(model: grurt.Model, expected: list[np.ndarray]) -> None:
    session = grurt.InferenceSession(model)
    first = session.run(None, FEED)
    with pytest.raises(grurt.InputValueError):
        session.run(None, FEED | {"h0": np.full_like(H, np.nan)})
    session.run(None, {"x": X[::-1].copy(), "h0": -H})
    assert_bits(first, expected)
    assert_bits(session.run(None, FEED), expected)


def test_inputs_are_neither_kept_nor_written(model: grurt.Model) -> None:
    session = grurt.InferenceSession(model)
    feed = {name: array.copy() for name, array in FEED.items()}
    session.run(None, feed)
    before = [sys.getrefcount(array) for array in feed.values()]
    for _ in range(10):
        session.run(None, feed)
        session.run(["y"], feed)
        model.run(feed)
    assert [sys.getrefcount(array) for array in feed.values()] == before
    assert_bits(list(feed.values()), list(FEED.values()))


def test_the_quick_way_takes_arrays_only(model: grurt.Model) -> None:
    """What is in the place of an array is never taken for one."""
    feeds = feeds_for(model)
    assert feeds is not None
    assert feeds.answers(FEED) is not None
    for x in (None, 1, (X,), [X], X.tolist(), X.astype(">f4"), X[::2], X[:, 0], X.astype(float), np.array(X, object)):
        assert feeds.answers(FEED | {"x": x}) is None
    for h in (None, 1, (H,), H[0], H.astype(float), H[..., :4], np.broadcast_to(H[..., :1], H.shape)):
        assert feeds.answers(FEED | {"h0": h}) is None
    assert feeds.answers({"x": X}) is None
    assert feeds.answers(FEED | {"other": X}) is None


def test_memory_of_tensors_is_held_while_kernels_run_without_the_gil() -> None:
    rng = np.random.default_rng(5)
    plain = models.gru_model(16, 128, rng)
    axes: tuple[Any, ...] = ("batch", "time", "feature")
    state = {"states": ("gru0",), "dtype": "float32", "axes": ("state", "batch", "feature")}
    signature = grurt.Signature(
        (grurt.ValuePort(name="x", value="x", dtype="float32", axes=axes), grurt.StatePort(name="h", **state)),
        (grurt.ValuePort(name="y", value="y", dtype="float32", axes=axes), grurt.StatePort(name="hn", **state)),
    )
    feeds = feeds_for(plain.replaced(signature=signature, reference_run=None))
    assert feeds is not None
    feed = {"x": rng.standard_normal((64, 50, 16), np.float32), "h": np.zeros((1, 64, 128), np.float32)}
    assert feeds.answers(feed) is not None
    (context,) = feeds.spare[64]
    outcomes: list[str] = []

    def resize() -> None:
        while not context.array[codes.CONTEXT_BUSY]:
            pass
        for array in feed.values():
            try:
                array.resize((1,), refcheck=False)
            except ValueError as error:
                outcomes.append(str(error)[:20])

    thread = threading.Thread(target=resize)
    thread.start()
    while thread.is_alive():  # a busy machine may not let the other thread run during the first call
        feeds.answers(feed)
    thread.join()
    assert outcomes == ["cannot resize an arr"] * 2
    feed["h"].resize((1,), refcheck=False)  # the hold has ended with the call


@pytest.mark.slow
def test_neither_onnxruntime_nor_for_grurt_files_onnx_is_imported(model: grurt.Model, tmp_path: Path) -> None:
    path = tmp_path / "model.grurt"
    model.save(path)
    for source, unwanted in ((path, {"onnx", "onnxruntime", "torch"}), (FILE, {"onnxruntime", "torch"})):
        code = f"import grurt, sys; grurt.InferenceSession({str(source)!r}); print(*sys.modules)"
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        assert not unwanted & set(found)
