"""`grurt export --target c99`: models in C, compiled by this machine's compilers, beside the engine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import c99_models
import commandline
import every_layer
import models
import numpy as np
import pytest
from c99_models import CompiledModel
from paths import ROOT

import grurt
from grurt import host_cpu
from grurt.demo import MODEL_PATH, load_model
from grurt.errors import EngineError, StreamingError
from grurt.kernels import codes
from grurt.native.c99 import layers, snippets, text
from grurt.native.c99.export import export_c99
from grurt.network import functions
from grurt.network.signature import Signature, ValuePort

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc"),
]

DEMO = ROOT / "grurt" / "demo" / "activity.grurt"
N_STEPS = 37

WITHOUT_C = {"attention"}
"""Kinds of layers of which there are streams, and no source text of C."""

MODELS = {
    name: model
    for name, model in every_layer.all_models().items()
    if model.unstreamable_reason is None and WITHOUT_C.isdisjoint(layer.kind for layer in model.layers)
}

OF_THE_C_LIBRARY = {"mathematics", "program 4"}
"""Models with functions that are the C library's: powers, sines and cosines."""

needs_fma = pytest.mark.skipif(not {"fma"} <= set(host_cpu.host_flags()), reason="this CPU has no fused multiply-add")


def streamed(model: grurt.Model, inputs: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], grurt.Stream]:
    """Return what a stream answers, by output ``(n_steps, elements)``, and the stream."""
    stream = model.stream()
    answers = []
    for t in range(N_STEPS):
        answer = stream.step({name: xs[t] for name, xs in inputs.items()})
        answers.append(answer if isinstance(answer, dict) else {model.outputs[0].name: answer})
    return {name: np.array([np.ravel(each[name]) for each in answers]) for name in answers[0]}, stream


def flat_state(stream: grurt.Stream) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.float32), *(np.ravel(state) for state in stream.state.values())])


def made_up(model: grurt.Model) -> dict[str, np.ndarray]:
    return models.random_inputs(model.inputs, N_STEPS, np.random.default_rng(43))


@needs_fma
@pytest.mark.parametrize("name", MODELS)
def test_the_same_bits_as_the_engine(name: str, tmp_path: Path) -> None:
    model = MODELS[name]
    compiled = CompiledModel(model, tmp_path, c99_models.FUSED)
    inputs = made_up(model)
    wanted, stream = streamed(model, inputs)
    status, found = compiled.run(inputs, N_STEPS)
    assert status == codes.OK
    tolerance = 1e-6 if name in OF_THE_C_LIBRARY else 0
    for output, answers in wanted.items():
        np.testing.assert_allclose(found[output], answers, rtol=tolerance, atol=tolerance)
    n_steps, state = compiled.get_state(flat_state(stream).size)
    assert n_steps == stream.steps == N_STEPS
    np.testing.assert_array_equal(state, flat_state(stream))
    assert compiled.selftest()


@pytest.mark.parametrize("name", [name for name in MODELS if "int" not in name and name not in OF_THE_C_LIBRARY])
def test_close_to_the_engine_where_multiply_adds_are_rounded_twice(name: str, tmp_path: Path) -> None:
    model = MODELS[name]
    compiled = CompiledModel(model, tmp_path, ["-ffp-contract=off"])
    inputs = made_up(model)
    for output, answers in streamed(model, inputs)[0].items():
        np.testing.assert_allclose(compiled.run(inputs, N_STEPS)[1][output], answers, rtol=1e-6, atol=1e-6)
        compiled.reset()
    assert compiled.selftest()


def test_steps_are_what_a_run_is_made_of(tmp_path: Path) -> None:
    model = MODELS["random 1"]
    compiled = CompiledModel(model, tmp_path)
    inputs = made_up(model)
    _, whole = compiled.run(inputs, N_STEPS)
    compiled.reset()
    for t in range(N_STEPS):
        status, answers = compiled.step({name: xs[t] for name, xs in inputs.items()})
        assert status == codes.OK
        for output, answer in answers.items():
            np.testing.assert_array_equal(answer, whole[output][t])


def test_a_state_goes_from_python_to_c_and_back(tmp_path: Path) -> None:
    """Of a model with a ring, whose oldest timestep stands anywhere."""
    model = models.layer_model(
        grurt.Conv1d(name="conv", input_size=5, output_size=6, kernel_size=3, dilation=2),
        grurt.GRU(name="gru", input_size=6, hidden_size=7, initial_state="learned"),
        rng=np.random.default_rng(3),
    )
    xs = np.random.default_rng(4).standard_normal((11, 5)).astype(np.float32)
    stream, compiled = model.stream(), CompiledModel(model, tmp_path)
    stream.run(xs[:5])
    compiled.run({model.inputs[0].name: xs[:3]}, 3)
    assert compiled.set_state(stream.steps, flat_state(stream)) == codes.OK
    _, answers = compiled.run({model.inputs[0].name: xs[5:]}, 6)
    np.testing.assert_allclose(answers[model.outputs[0].name], stream.run(xs[5:]), rtol=0, atol=1e-6)
    n_steps, values = compiled.get_state(flat_state(stream).size)
    assert n_steps == stream.steps == 11
    restored = model.stream()
    sizes = np.cumsum([state.size for state in stream.state.values()])[:-1]
    parts = zip(stream.state.items(), np.split(values, sizes), strict=True)
    restored.state = {name: part.reshape(state.shape) for (name, state), part in parts}
    np.testing.assert_allclose(restored.step(xs[0]), stream.step(xs[0]), rtol=0, atol=1e-6)


def test_a_state_that_cannot_be(tmp_path: Path) -> None:
    """A GRU's state is finite; what a convolution has read is what an earlier layer may have made infinite."""
    model = models.layer_model(
        grurt.Linear(name="fc", input_size=2, output_size=2),
        grurt.Conv1d(name="conv", input_size=2, output_size=3, kernel_size=2),
        grurt.GRU(name="gru", input_size=3, hidden_size=2),
        rng=np.random.default_rng(3),
    )
    compiled = CompiledModel(model, tmp_path)
    before = compiled.state.raw
    numbers = np.zeros(4, np.float32)
    for place, status in ((0, codes.OK), (3, codes.NONFINITE)):
        numbers[:] = 0
        numbers[place] = np.inf
        compiled.reset()
        assert compiled.set_state(5, numbers) == status
        assert (compiled.state.raw == before) == (status != codes.OK)


@pytest.mark.parametrize("nonfinite", [np.nan, np.inf, -np.inf])
def test_what_cannot_be_computed_leaves_no_trace(nonfinite: float, tmp_path: Path) -> None:
    model = MODELS["random 2"]
    compiled = CompiledModel(model, tmp_path)
    inputs = made_up(model)
    compiled.run(inputs, 3)
    state, wrong = compiled.state.raw, {name: xs.copy() for name, xs in inputs.items()}
    wrong["features"][5, 0] = nonfinite
    status, answers = compiled.run(wrong, N_STEPS)
    assert (status, compiled.state.raw) == (codes.NONFINITE, state)
    assert all(np.isnan(answer).all() for answer in answers.values())
    wrong = {name: xs.copy() for name, xs in inputs.items()}
    wrong["tokens"][6] = model.inputs[1].size
    assert compiled.run(wrong, N_STEPS)[0] == codes.TOKEN_OUT_OF_RANGE
    wrong["tokens"][6] = -1
    assert compiled.run(wrong, N_STEPS)[0] == codes.TOKEN_OUT_OF_RANGE
    assert compiled.state.raw == state


def test_a_self_test_fails_where_a_weight_is_another(tmp_path: Path) -> None:
    compiled = CompiledModel(load_model(), tmp_path)
    assert compiled.selftest()
    source = (tmp_path / "m.c").read_text()
    begin = source.index("m_linear_bias[4]")
    (tmp_path / "m.c").write_text(source[:begin] + source[begin:].replace("{\n    ", "{\n    1.0f + ", 1))
    c99_models.compile_c("gcc", "-std=c99", "-shared", "-fPIC", tmp_path / "m.c", "-o", tmp_path / "other.so", "-lm")
    library = c99_models.loaded(tmp_path / "other.so")
    assert not library.m_selftest(compiled.state, compiled.scratch)


def test_a_frame_with_channels_first(tmp_path: Path) -> None:
    signature = Signature(
        inputs=(
            ValuePort(name="x", dtype="float32", axes=("batch", "feature", "time", "position"), value="x", positions=3),
        ),
        outputs=(
            ValuePort(name="y", dtype="float32", axes=("batch", "feature", "time", "position"), value="y", positions=3),
        ),
    )
    model = models.layer_model(
        grurt.Unflatten(name="grid", positions=3),
        grurt.GRU(name="gru", input_size=2, hidden_size=4),
        grurt.LayerNorm(name="norm", size=4),
        grurt.Flatten(name="flat"),
        rng=np.random.default_rng(9),
        inputs=[grurt.Input("x", 6)],
        outputs=[grurt.Output("y", "flat")],
    )
    model = grurt.Model(
        layers=model.layers, weights=model.weights, inputs=model.inputs, outputs=model.outputs, signature=signature
    )
    frames = np.random.default_rng(10).standard_normal((8, 2, 3)).astype(np.float32)
    wanted = model.stream().run(frames)
    assert wanted.shape == (8, 4, 3)
    _, found = CompiledModel(model, tmp_path).run({"x": frames}, 8)
    np.testing.assert_allclose(found["y"], wanted.reshape(8, 12), rtol=0, atol=1e-6)


@needs_fma
@pytest.mark.parametrize("factor_size", [1, 4])
@pytest.mark.parametrize("weight_format", ["float32", "int8"])
def test_a_grid_with_masks_and_factors(factor_size: int, weight_format: str, tmp_path: Path) -> None:
    model = models.layer_model(
        grurt.Unflatten(name="grid", inputs=("x",), positions=3),
        grurt.FeatureMask(name="mask", inputs=("grid",)),
        grurt.Linear(name="factor", inputs=("grid",), input_size=2, output_size=factor_size),
        grurt.GRU(
            name="gru", inputs=("grid", "mask", "factor"), input_size=2, hidden_size=4, masked=True, scaled_state=True
        ),
        grurt.GRU(name="across", input_size=4, hidden_size=3, scan="positions", direction="reverse"),
        grurt.RMSNorm(name="norm", size=3),
        grurt.Activation(name="softmax", function=grurt.Softmax()),
        grurt.Reduce(name="largest", operation="max"),
        grurt.Concat(name="both", inputs=("softmax", "largest")),
        grurt.Slice(name="part", start=1, stop=4),
        grurt.Flatten(name="flat"),
        rng=np.random.default_rng(12),
        inputs=[grurt.Input("x", 6)],
    )
    model = model if weight_format == "float32" else model.quantize("int8")
    xs = np.random.default_rng(13).standard_normal((9, 6)).astype(np.float32)
    xs[::3, 2:4] = 0
    compiled = CompiledModel(model, tmp_path, c99_models.FUSED)
    np.testing.assert_array_equal(compiled.run({"x": xs}, 9)[1][model.outputs[0].name], model.stream().run(xs))


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize(
    "name", ["functions", "mathematics", "gates int8", "random 6 int4", "random 10 float16", "program 1"]
)
def test_there_is_no_warning_in_c_or_in_cpp(name: str, compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler}")
    export_c99(MODELS[name], name="m").write(tmp_path)
    for language in (("c", "c99"), ("c", "c11"), ("c++", "c++98"), ("c++", "c++17")):
        options = ("-x", language[0], f"-std={language[1]}", *c99_models.STRICT)
        for file in ("m.c", "main.c"):
            c99_models.compile_c(compiler, *options, "-fsyntax-only", tmp_path / file)


def test_names_that_are_taken_in_c(tmp_path: Path) -> None:
    """Layers and ports that are called what C, the file's own functions and its variables are called."""
    names = [
        "tanh",
        "step",
        "state",
        "scratch",
        "grurt_tanh",
        "INFINITY",
        "sqrtf",
        "values",
        "x",
        "q",
        "int",
        "*/ x /*",
    ]
    layers = [grurt.GRU(name=name, inputs=("m_step",), input_size=3, hidden_size=2, bias=False) for name in names]
    everything = grurt.Concat(name="everything??/", inputs=tuple(names))
    model = models.layer_model(
        *layers,
        everything,
        rng=np.random.default_rng(0),
        inputs=[grurt.Input("m_step", 3)],
        outputs=[grurt.Output("n_steps", "everything??/"), grurt.Output("M_STEP", "x")],
    )
    xs = np.random.default_rng(1).standard_normal((4, 3)).astype(np.float32)
    wanted = model.stream().run(xs)
    _, found = CompiledModel(model, tmp_path).run({"m_step": xs}, 4)
    for name, answer in wanted.items():
        np.testing.assert_allclose(found[name], answer, rtol=0, atol=1e-6)


def test_memory_is_used_again() -> None:
    """A chain of layers needs room for two neighbours, and none for what a state or the caller has."""
    layers = [grurt.Linear(name=f"fc{i}", input_size=10, output_size=10) for i in range(8)]
    model = models.layer_model(
        *layers, grurt.GRU(name="gru", input_size=10, hidden_size=5), rng=np.random.default_rng(0)
    )
    exported = export_c99(model)
    assert (exported.state_bytes, exported.scratch_bytes) == (8 + 4 * 6, 4 * 20)


def test_the_numbers_of_the_file_are_those_of_the_weights() -> None:
    rng = np.random.default_rng(5)
    numbers = np.concatenate([rng.standard_normal(1000), [0.0, 1e-45, 1e-38, 3.4028235e38]]).astype(np.float32)
    for number in numbers:
        assert np.float32(text.literal(number).removesuffix("f")) == number


def test_a_file_has_the_functions_that_its_model_needs() -> None:
    source = export_c99(load_model(), name="m").files["m.c"].decode()
    assert "m_tanh(" in source
    assert "m_log(" not in source
    assert "grurt" not in source.split("*/", 1)[1].replace("What grurt answers", "")


def test_the_functions_stand_in_order() -> None:
    """Each is defined before it is called, as C wants it."""
    seen: set[str] = set()
    for name, block in snippets.functions().items():
        calls = {other for other in snippets.functions() if f"grurt_{other}(" in block} - {name}
        assert calls <= seen
        seen.add(name)


def test_every_function_can_be_written() -> None:
    for function in (*models.ALL_FUNCTIONS, *models.MATHEMATICAL_FUNCTIONS, functions.Sqrt()):
        model = models.layer_model(
            grurt.Activation(name="f", function=function), rng=np.random.default_rng(0), inputs=[grurt.Input("x", 2)]
        )
        assert b"x[i]" in export_c99(model).files["model.c"] or b"softmax" in export_c99(model).files["model.c"]


def test_it_needs_no_numba(tmp_path: Path) -> None:
    code = "import sys; sys.modules['numba'] = sys.modules['llvmlite'] = None; from grurt.__main__ import main; main()"
    command = [sys.executable, "-c", code, "export", str(MODEL_PATH), "-o", str(tmp_path), "--target", "c99"]
    environment = {**os.environ, "GRURT_ENGINE": "python"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    assert (tmp_path / "model.c").read_bytes() == export_c99(load_model()).files["model.c"]


def test_what_cannot_run_one_timestep_at_a_time() -> None:
    with pytest.raises(StreamingError, match="cannot be exported to C: layer 'ahead' looks 1 timestep ahead"):
        export_c99(every_layer.all_models()["windows"])


def test_layers_that_nobody_has_written(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StreamingError, match="layer 'heads' is of the kind attention, for which there is no C source"):
        export_c99(every_layer.all_models()["attention"])
    monkeypatch.delitem(layers.WRITERS, grurt.GRU)
    with pytest.raises(StreamingError, match="layer 'gru' is of the kind gru, for which there is no C source text"):
        export_c99(load_model())


@pytest.mark.parametrize("name", ["int", "9", "a b", "état", ""])
def test_a_name_that_c_cannot_have(name: str) -> None:
    with pytest.raises(EngineError, match="expected a name that C can have"):
        export_c99(load_model(), name=name)


def test_the_command(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("export", DEMO, "-o", out, "--target", "c99", "--name", "activity")
    printed = commandline.succeed(*command)
    assert "bytes of weights for flash, 136 bytes of RAM for each stream, " in printed
    *_, hint = printed.splitlines()
    assert hint == f"compile: cc -O2 {out / 'main.c'} {out / 'activity.c'} -o activity -lm"
    subprocess.run(hint.removeprefix("compile: ").split(), check=True, cwd=tmp_path)
    shown = subprocess.run([tmp_path / "activity"], check=True, capture_output=True, text=True).stdout
    stream = load_model().stream()
    for t, line in enumerate(shown.splitlines()):
        sample = np.float32([((7 * t + 3 * i) % 11 - 5) / 8 for i in range(6)])
        np.testing.assert_allclose(np.float32(line.split()), stream.step(sample), rtol=0, atol=1e-6)
    assert "weights for flash" in commandline.succeed("inspect", DEMO, "--target", "c99").splitlines()[-1]


def test_a_cpu_for_c(tmp_path: Path) -> None:
    message = commandline.fail("export", DEMO, "-o", tmp_path / "out", "--target", "c99", "--cpu", "cortex-m4", code=2)
    assert "--cpu: c99 is for any CPU" in message
    assert not list(tmp_path.iterdir())
