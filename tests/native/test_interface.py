"""What exported models are called with beside a step: states read and set, blocks, and what streams are given once."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import c_programs
import context_programs
import every_layer
import models
import numpy as np
import pytest
import step_programs
from onnx_graphs import random
from step_graphs import step_proto

import grurt
from grurt.converters import convert
from grurt.demo import load_model
from grurt.kernels import codes
from grurt.native import linker
from grurt.native.export import export
from grurt.network.frames import frames_of

PLATFORM = "x86_64-linux-gnu"
N_STEPS = 7


class Exported:
    """An exported model in this process, with one stream."""

    def __init__(self, model: grurt.Model, folder: Path) -> None:
        c_programs.toolchain(PLATFORM)
        self.model = model
        found = export(model, PLATFORM)
        path = folder / f"model{len(list(folder.glob('*.so')))}.so"
        path.write_bytes(linker.link_library({"model": found.files["model.o"]}, "x86_64"))
        self._library = ctypes.CDLL(str(path))
        self.state, self.scratch, self.context = (
            np.full(size // 8, -1, np.int64) for size in (found.state_bytes, found.scratch_bytes, found.context_bytes)
        )
        self.size = sum(int(np.prod(shape)) for shape in model.state_shapes.values())
        self.call("reset", self.state)

    def call(self, name: str, *arguments: Any) -> int:
        function = getattr(self._library, f"model_{name}")
        function.restype = ctypes.c_int64 if name == "get_state" else ctypes.c_int32
        return function(
            *(ctypes.c_int64(x) if isinstance(x, int) else ctypes.c_void_p(x.ctypes.data) for x in arguments)
        )

    def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        n_steps = len(next(iter(inputs.values())))
        given = [np.ascontiguousarray(inputs[port.name]) for port in self.model.inputs]
        written = {port.name: np.full((n_steps, port.size), 9, np.float32) for port in self.model.plan.outputs}
        status = self.call("run", self.state, self.scratch, n_steps, *given, *written.values())
        return written if status == codes.OK else {"status": status}

    def step(self, inputs: dict[str, Any], t: int) -> dict[str, Any]:
        given = [np.ascontiguousarray(inputs[port.name][t]) for port in self.model.inputs]
        written = {port.name: np.zeros(port.size, np.float32) for port in self.model.plan.outputs}
        assert self.call("step", self.state, self.scratch, *given, *written.values()) == codes.OK
        return written

    def get_state(self) -> tuple[int, Any]:
        values = np.zeros(self.size, np.float32)
        return self.call("get_state", self.state, values), values

    def make_context(self, values: dict[str, Any]) -> int:
        arguments: list[Any] = []
        for name in self.model.context_shapes:
            arguments.append(np.ascontiguousarray(values[name], np.float32))
            if name in self.model.open_contexts:
                arguments.append(int(values[name].shape[self.model.open_contexts[name][0]]))
        status = self.call("make_context", self.context, self.scratch, *arguments)
        self.call("set_context", self.state, self.context)
        return status


def inputs_of(model: grurt.Model) -> dict[str, Any]:
    return models.random_inputs(model.inputs, N_STEPS, np.random.default_rng(0))


def flat(states: dict[str, Any]) -> Any:
    return np.concatenate([np.zeros(0, np.float32), *(array.ravel() for array in states.values())])


def named(model: grurt.Model, answers: Any) -> dict[str, Any]:
    found = answers if isinstance(answers, dict) else {model.outputs[0].name: answers}
    return {name: np.reshape(array, (N_STEPS, -1)) for name, array in found.items()}


STREAMING = {name: model for name, model in every_layer.all_models().items() if model.unstreamable_reason is None}
SOME = ["gru 17 True", "random 2", "random 3 int8"]


def expect_alike(model: grurt.Model, folder: Path) -> None:
    """A block has the bits of Python; the state goes back and forth; a set state goes on as it did."""
    program, stream, xs = Exported(model, folder), model.stream(), inputs_of(model)
    frames = frames_of(model)
    given = {name: frames.inputs[name].from_vectors(array) for name, array in xs.items()}
    expected = named(model, stream.run(given if len(given) > 1 else next(iter(given.values()))))
    own = {name: frame.from_vectors(array) for name, frame in frames.inputs.items() for array in [xs[name]]}
    found = program.run(own)
    for name, array in expected.items():
        assert found[name].tobytes() == array.astype(np.float32).tobytes()
    steps, values = program.get_state()
    assert steps == N_STEPS
    assert values.tobytes() == flat(stream.state).tobytes()
    other = Exported(model, folder)
    assert other.call("set_state", other.state, steps, values) == codes.OK
    assert other.get_state()[1].tobytes() == values.tobytes()
    after = program.step(own, 0)
    for name, array in other.step(own, 0).items():
        assert array.tobytes() == after[name].tobytes()


@pytest.mark.parametrize("name", SOME)
def test_layers(name: str, tmp_path: Path) -> None:
    expect_alike(STREAMING[name], tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("name", STREAMING)
def test_every_layer(name: str, tmp_path: Path) -> None:
    expect_alike(STREAMING[name], tmp_path)


@pytest.mark.parametrize("seed", range(2))
def test_step_programs(seed: int, tmp_path: Path) -> None:
    expect_alike(step_programs.random_step_program(seed), tmp_path)


def test_a_state_of_python_goes_on_in_c(tmp_path: Path) -> None:
    model = load_model()
    stream, xs = model.stream(), inputs_of(model)
    stream.run(xs["samples"])
    program = Exported(model, tmp_path)
    assert program.call("set_state", program.state, stream.steps, flat(stream.state)) == codes.OK
    assert program.step(xs, 0)["probabilities"].tobytes() == stream.step(xs["samples"][0]).tobytes()


def test_a_bad_number_leaves_no_trace(tmp_path: Path) -> None:
    model = load_model()
    program, xs = Exported(model, tmp_path), inputs_of(model)
    program.run(xs)
    before = program.state.tobytes()
    bad = xs["samples"].copy()
    bad[N_STEPS - 1, 2] = np.inf
    assert program.run({"samples": bad}) == {"status": codes.NONFINITE}
    values = np.zeros(program.size, np.float32)
    values[-1] = np.nan
    assert program.call("set_state", program.state, 3, values) == codes.NONFINITE
    assert program.state.tobytes() == before
    assert program.run({"samples": bad[:0]})["probabilities"].shape == (0, 4)
    assert program.state.tobytes() == before


def test_streams_share_scratch_memory(tmp_path: Path) -> None:
    model = load_model()
    program, xs = Exported(model, tmp_path), inputs_of(model)
    states = [program.state, program.state.copy()]
    found: list[list[bytes]] = [[], []]
    for t in range(N_STEPS):
        for state, answers in zip(states, found, strict=True):
            program.state = state
            answers.append(
                program.step({"samples": xs["samples"][:: 1 if state is states[0] else -1]}, t)[
                    "probabilities"
                ].tobytes()
            )
    assert b"".join(found[0]) == model.stream().run(xs["samples"]).tobytes()
    assert b"".join(found[1]) == model.stream().run(xs["samples"][::-1]).tobytes()


@pytest.mark.parametrize("seed", range(3))
def test_contexts(seed: int, tmp_path: Path) -> None:
    _, model = context_programs.random_pair(seed)
    values, xs = context_programs.values_of(model, seed), inputs_of(model)
    program = Exported(model, tmp_path)
    assert program.make_context(values) == codes.OK
    expected = named(model, model.stream(context=values).run(xs))
    for name, array in program.run(xs).items():
        assert array.tobytes() == expected[name].tobytes()


def test_contexts_of_several_lengths(tmp_path: Path) -> None:
    text = (
        "k = MatMul(m, w); q = MatMul(x, w); kt = Transpose<perm = [0, 2, 1]>(k); s = MatMul(q, kt); "
        "p = Softmax<axis = -1>(s); y = MatMul(p, m)"
    )
    proto = step_proto(text, {"m": (1, "n", 4), "x": (1, 1, 4)}, weights={"w": random(4, 5)})
    (tmp_path / "step.onnx").write_bytes(proto.SerializeToString())
    model = convert(tmp_path / "step.onnx", imported="literal", context=["m"], size={"n": 8})
    program, xs = Exported(model, tmp_path), inputs_of(model)
    for places in (8, 3, 1):
        values = {"m": random(1, places, 4)}
        assert program.make_context(values) == codes.OK
        program.call("reset", program.state)
        assert program.run(xs)["y"].tobytes() == model.stream(context=values).run(xs["x"]).tobytes()
    assert program.make_context({"m": random(1, 9, 4)}) == codes.NOT_PLAIN
    assert program.make_context({"m": random(1, 8, 4) * np.float32(np.nan)}) == codes.NONFINITE
    header = export(model, PLATFORM).files["model.h"].decode()
    assert "#define MODEL_M_SIZE 32 /* float, 1 by up to 8 by 4, row by row */" in header
    assert (
        "int model_make_context(model_context *context, model_scratch *scratch, const float *m, int64_t m_places);"
        in header
    )
    export(model, PLATFORM).write(tmp_path / "out")
    printed = c_programs.toolchain(PLATFORM).run(tmp_path / "out", "main.c", "model.o")
    assert len(printed.splitlines()) == 10


def test_the_header_says_what_model_it_is() -> None:
    model = load_model()
    header = export(model, PLATFORM).files["model.h"].decode()
    assert f'#define MODEL_FINGERPRINT "{model.fingerprint.hex()}"' in header
    assert f'#define MODEL_VERSION "{grurt.__version__}"' in header
    assert "#define MODEL_STATE_SIZE 32\n" in header
    assert "context" not in header


@pytest.mark.slow
def test_a_stream_that_is_full_says_so_and_is_as_it_was(tmp_path: Path) -> None:
    layers = [
        grurt.LastStep(name="last", inputs=("x",)),
        grurt.Attention(name="y", inputs=("last", "x", "x"), size=3, key_size=3, max_steps=N_STEPS),
    ]
    model = models.layer_model(*layers, rng=np.random.default_rng(8), inputs=[grurt.Input("x", 3)])
    program, xs = Exported(model, tmp_path), inputs_of(model)
    assert program.run(xs)["y"].tobytes() == model.stream().run(xs["x"]).tobytes()
    before = program.state.copy()
    assert program.run({"x": xs["x"][:1]}) == {"status": codes.MEMORY_FULL}
    np.testing.assert_array_equal(program.state, before)
    header = next(content for name, content in export(model, PLATFORM).files.items() if name.endswith(".h"))
    assert f"#define MODEL_MEMORY_FULL {codes.MEMORY_FULL} " in header.decode()
