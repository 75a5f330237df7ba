"""The compiled engine: its code for other CPUs, what a step costs in memory, and threads."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import every_layer
import llvmlite.binding
import models
import numpy as np
import pytest
from floats import is_denormal
from memory import memory_stays_flat
from numba.core import event

import grurt
from grurt import reference
from grurt.errors import GrurtError

TOLERANCE = 2e-6


@dataclass
class Elsewhere:
    """What a process did whose kernels were compiled for another CPU, and could not be kept."""

    answers: dict[str, Any]
    stderr: list[str]


def answer_elsewhere(cpu: str, folder: Path) -> Elsewhere:
    (folder / "file").touch()
    environment = os.environ | {
        "NUMBA_CPU_NAME": cpu,
        "NUMBA_CPU_FEATURES": "",
        "GRURT_CACHE_DIR": str(folder / "file" / "cache"),  # below a file: not even root can write there
    }
    finished = subprocess.run(
        [sys.executable, every_layer.__file__, folder / "answers.npz"],
        env=environment,
        check=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    return Elsewhere(dict(np.load(folder / "answers.npz")), finished.stderr.splitlines())


@pytest.fixture(scope="module")
def haswell(tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    skip_unless_this_cpu_has("avx2", "fma")
    return answer_elsewhere("haswell", tmp_path_factory.mktemp("haswell"))


def skip_unless_this_cpu_has(*features: str) -> None:
    if platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("only x86-64 can run code for other x86-64 CPUs")
    found = llvmlite.binding.get_host_cpu_features()
    if lacking := [feature for feature in features if not found.get(feature)]:
        pytest.skip(f"this CPU has no {', '.join(lacking)}")


def assert_same_bits(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    different = [
        name
        for name, array in expected.items()
        if (found[name].dtype, found[name].tobytes()) != (array.dtype, array.tobytes())
    ]
    assert not different


def test_the_models_hold_every_kind_of_layer() -> None:
    kinds = {layer.kind for model in every_layer.all_models().values() for layer in model.layers}
    assert kinds == {kind.__struct_config__.tag for kind in grurt.network.layers.AnyLayer.__args__}


@pytest.mark.slow
def test_code_for_another_cpu_gives_the_same_bits(haswell: Elsewhere) -> None:
    assert_same_bits(haswell.answers, every_layer.answers())


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_no_error_and_is_said_once(haswell: Elsewhere) -> None:
    start, end = haswell.stderr
    assert start == "grurt: compiling the kernels for this CPU (haswell), once ..."
    assert end.startswith("grurt: kernels compiled in ")
    assert end.endswith(" s, not kept: no cache directory can be written")


@pytest.mark.long
@pytest.mark.parametrize(
    ("cpu", "features"),
    [
        ("x86-64-v2", ("sse4.2",)),  # without fused multiply-add: a call of fmaf for each
        ("x86-64-v3", ("avx2", "fma")),
        ("znver3", ("avx2", "fma")),
        ("skylake-avx512", ("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512cd")),
        ("alderlake", ("avx2", "fma", "avxvnni")),
        ("znver4", ("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512cd", "avx512vnni")),
    ],
)
def test_code_for_many_cpus_gives_the_same_bits(cpu: str, features: tuple[str, ...], tmp_path: Path) -> None:
    skip_unless_this_cpu_has(*features)
    elsewhere = answer_elsewhere(cpu, tmp_path)
    assert elsewhere.stderr[0] == f"grurt: compiling the kernels for this CPU ({cpu}), once ..."
    assert_same_bits(elsewhere.answers, every_layer.answers())


@pytest.mark.slow
def test_a_hundred_thousand_steps() -> None:
    """Memory does not grow, and the answers stay with the reference to the end."""
    rng = np.random.default_rng(51)
    model = models.gru_model(3, 6, rng, output_size=2)
    xs = rng.normal(size=(100_000, 3)).astype(np.float32)
    ys = np.ones((100_000, 2), np.float32)
    stream = model.stream()
    stream.fork().step(xs[0], out=ys[0])
    with memory_stays_flat():
        for x, y in zip(xs, ys, strict=True):
            stream.step(x, out=y)
    expected, states = reference.run(model, {"x": xs})
    np.testing.assert_allclose(ys, expected["y"], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(stream.state["gru0"], states["gru0"], rtol=0, atol=TOLERANCE)


@pytest.mark.slow
def test_nothing_else_leaks_either() -> None:
    rng = np.random.default_rng(52)
    model = models.random_model(rng)
    stream = model.stream()
    inputs = models.random_inputs(model.inputs, 5, rng)
    bad = inputs | {"tokens": np.full(5, -1)}

    def call_everything_and_check() -> None:
        stream.run(inputs)
        stream.step({name: xs[0] for name, xs in inputs.items()})
        stream.restore(stream.fork().snapshot())
        stream.state = stream.state
        model.run({name: xs[np.newaxis] for name, xs in inputs.items()})
        with pytest.raises(GrurtError, match="token id"):
            stream.run(bad)

    for _ in range(5):
        call_everything_and_check()
    with memory_stays_flat(slack=48_000):
        for _ in range(500):
            call_everything_and_check()


def test_a_step_borrows_its_arrays() -> None:
    stream = models.gru_model(3, 4, np.random.default_rng(53)).stream()
    x, y = np.zeros(3, np.float32), np.zeros(4, np.float32)
    before = sys.getrefcount(x), sys.getrefcount(y), sys.getrefcount(stream._array)
    for _ in range(100):
        stream.step(x, out=y)
        with pytest.raises(GrurtError, match="expected shape"):
            stream.step(y, out=y)
    assert (sys.getrefcount(x), sys.getrefcount(y), sys.getrefcount(stream._array)) == before


class _Recorder(event.Listener):  # type: ignore[misc]
    """Keeps the names of Numba's events."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_start(self, event: Any) -> None:
        self.seen.append(event.kind)

    def on_end(self, event: Any) -> None:
        pass


def test_nothing_is_compiled_after_the_stream_is_made() -> None:
    rng = np.random.default_rng(54)
    model = models.gru_model(3, 4, rng, output_size=2)
    several = models.random_model(rng)
    stream, streams = model.stream(), several.stream()
    recorder = _Recorder()
    with event.install_listener("numba:compile", recorder), event.install_listener("numba:run_pass", recorder):
        stream.step(np.zeros(3, np.float32))
        stream.step([1, 2, 3])
        stream.run(np.zeros((70, 3)))
        with pytest.raises(GrurtError, match="finite"):
            stream.step([np.nan, 0, 0])
        stream.restore(stream.fork().snapshot())
        model.run(np.zeros((2, 5, 3)))
        streams.run(models.random_inputs(several.inputs, 5, rng))
    assert recorder.seen == []


def test_other_threads_run_while_a_kernel_does() -> None:
    rng = np.random.default_rng(55)
    stream = models.gru_model(64, 256, rng, n_layers=2).stream()
    xs = rng.normal(size=(8_000, 64)).astype(np.float32)
    turns = {"before": 0, "during": 0}
    phase = "before"
    finished = threading.Event()

    def count() -> None:
        while not finished.is_set():
            turns[phase] += 1
            time.sleep(0.001)

    other = threading.Thread(target=count)
    other.start()
    phase = "during"
    stream.run(xs)
    phase = "before"
    finished.set()
    other.join()
    assert turns["during"] > 20


def test_threads_with_streams_of_their_own_share_a_model() -> None:
    rng = np.random.default_rng(56)
    model = models.gru_model(5, 33, rng, n_layers=2, output_size=3)
    xs = rng.normal(size=(4, 2_000, 5)).astype(np.float32)
    expected = model.run(xs)
    found = np.zeros_like(expected)
    start = threading.Barrier(4)

    def answer(row: int) -> None:
        stream = model.stream()
        start.wait()
        for t in range(1_000):
            stream.step(xs[row, t], out=found[row, t])
        found[row, 1_000:] = stream.run(xs[row, 1_000:])

    threads = [threading.Thread(target=answer, args=(row,)) for row in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("linear_before_reset", [True, False])
@pytest.mark.parametrize("hidden_size", [3, 16, 40])
def test_a_state_that_decays_holds_no_denormal_numbers(hidden_size: int, linear_before_reset: bool) -> None:
    """They would make every step several times slower, for as long as the silence lasts."""
    gru = grurt.GRU(
        name="gru",
        input_size=2,
        hidden_size=hidden_size,
        bias=False,
        initial_state="learned",
        linear_before_reset=linear_before_reset,
    )
    model = models.layer_model(gru, rng=np.random.default_rng(57))
    stream = model.stream()
    ys = stream.run(np.zeros((3_000, 2), np.float32))
    assert not is_denormal(ys).any()
    assert (np.abs(ys) < 1e-20).any(axis=1).sum() > 10  # the state went there slowly
    assert not ys[-1].any()
    stream.state = {"gru": np.full(hidden_size, 1e-40)}
    assert not is_denormal(stream.step(np.zeros(2, np.float32))).any()
    assert not is_denormal(stream.state["gru"]).any()
