"""`grurt export --target c99` of step graphs: beside onnxruntime, beside the engine, and with contexts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import c99_models
import context_programs
import models
import numpy as np
import pytest
import step_networks
from c99_models import CompiledModel
from onnx_graphs import random
from step_graphs import step_proto

import grurt
from grurt import host_cpu
from grurt.converters import convert
from grurt.kernels import codes
from grurt.native.c99.export import export_c99
from grurt.native.c99.header import NO_CONTEXT
from grurt.network import operators as op

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc"),
]

needs_fma = pytest.mark.skipif(not {"fma"} <= set(host_cpu.host_flags()), reason="this CPU has no fused multiply-add")

N_STEPS = 7

ATTENTION = (
    "k = MatMul(m, w); q = MatMul(x, w); kt = Transpose<perm = [0, 2, 1]>(k); s = MatMul(q, kt); "
    "p = Softmax<axis = -1>(s); y = MatMul(p, m)"
)


def attention(folder: Path) -> grurt.Model:
    """Return a model that attends to a memory of up to eight places."""
    proto = step_proto(ATTENTION, {"m": (1, "n", 4), "x": (1, 1, 4)}, weights={"w": random(4, 5)})
    (folder / "step.onnx").write_bytes(proto.SerializeToString())
    return convert(folder / "step.onnx", imported="literal", context=["m"], size={"n": 8})


def streamed(model: grurt.Model, inputs: dict[str, Any], context: Any = None) -> dict[str, Any]:
    """Return what a stream answers, by output ``(n_steps, elements)``."""
    stream = model.stream(context=context)
    answers = []
    for t in range(N_STEPS):
        answer = stream.step({name: xs[t] for name, xs in inputs.items()})
        answers.append(answer if isinstance(answer, dict) else {model.outputs[0].name: answer})
    return {name: np.array([np.ravel(each[name]) for each in answers]) for name in answers[0]}


def made_up(model: grurt.Model) -> dict[str, Any]:
    return models.random_inputs(model.inputs, N_STEPS, np.random.default_rng(43))


@needs_fma
@pytest.mark.parametrize("name", ["gtcrn", "lstm_policy", "mamba", "conv_gru"])
def test_the_answers_of_onnxruntime(name: str, tmp_path: Path) -> None:
    """And the bits of the engine, also with weights in int8."""
    of, model = step_networks.network(name), step_networks.imported(name, tmp_path)
    frames = step_networks.random_frames(of, N_STEPS)
    wanted = step_networks.source_answers(of, step_networks.session(step_networks.exported(name, dynamo=False)), frames)
    inputs = {port.name: np.stack([np.ravel(frame[port.name]) for frame in frames]) for port in model.inputs}
    compiled = CompiledModel(model, tmp_path, c99_models.FUSED)
    status, found = compiled.run(inputs, N_STEPS)
    assert status == codes.OK
    for output, answers in wanted.items():
        scale = max(1.0, float(np.abs(answers).max()))
        np.testing.assert_allclose(found[output], answers.reshape(N_STEPS, -1), rtol=0, atol=1e-5 * scale)
    for output, same in streamed(model, inputs).items():
        np.testing.assert_array_equal(found[output], same)
    assert compiled.selftest()
    quantized = model.quantize("int8")
    (tmp_path / "int8").mkdir()
    _, found = CompiledModel(quantized, tmp_path / "int8", c99_models.FUSED).run(inputs, N_STEPS)
    for output, same in streamed(quantized, inputs).items():
        np.testing.assert_array_equal(found[output], same)


def test_what_the_engine_computes_together_is_kept_apart(tmp_path: Path) -> None:
    """Small GRUs and groups of channels, which are one matrix with many zeros for the kernels."""
    model = step_networks.imported("gtcrn", tmp_path)
    weights = sum(array.nbytes for array in model.weights.values())
    assert export_c99(model).weight_bytes < 1.2 * weights < model.plan.weights.nbytes / 2


def test_places_that_no_loops_go_through_stand_in_a_table(tmp_path: Path) -> None:
    """Two values whose axes are cut in different places, in one."""
    program = grurt.Program(
        name="program",
        inputs=("a", "b"),
        input_shapes=((2, 3), (3, 2)),
        operators=(
            op.Transpose(inputs=("a",), outputs=("a turned",), perm=(1, 0)),
            op.Reshape(inputs=("a turned",), outputs=("a flat",), shape=(6,)),
            op.Transpose(inputs=("b",), outputs=("b turned",), perm=(1, 0)),
            op.Reshape(inputs=("b turned",), outputs=("b flat",), shape=(6,)),
            op.Combine(inputs=("a flat", "b flat"), outputs=("sum",), operation="add"),
        ),
        results=("sum",),
    )
    model = grurt.Model(layers=[program], weights={}, inputs=[grurt.Input("a", 6), grurt.Input("b", 6)])
    assert b"sum_places[6][3]" in export_c99(model, name="m").files["m.c"]
    inputs = made_up(model)
    compiled = CompiledModel(model, tmp_path)
    (found,) = compiled.run(inputs, N_STEPS)[1].values()
    a, b = inputs["a"].reshape(-1, 2, 3), inputs["b"].reshape(-1, 3, 2)
    np.testing.assert_array_equal(found, (a.swapaxes(1, 2).reshape(-1, 6) + b.swapaxes(1, 2).reshape(-1, 6)))


def test_values_that_are_called_as_the_files_functions(tmp_path: Path) -> None:
    """With the model's name in front, as Keras has it."""
    program = grurt.Program(
        name="m_advance",
        inputs=("m_tanh",),
        input_shapes=((3,),),
        states=(grurt.ProgramState("m_step", (3,), "m_fma"),),
        operators=(
            op.Apply(inputs=("m_tanh",), outputs=("m_exp",), function=grurt.Tanh()),
            op.Combine(inputs=("m_exp", "m_step"), outputs=("m_fma",), operation="add"),
            op.Apply(inputs=("m_fma",), outputs=("m_flush",), function=grurt.Sigmoid()),
        ),
        results=("m_flush",),
    )
    ports = {"inputs": [grurt.Input("m_tanh", 3)], "outputs": [grurt.Output("m_run", "m_advance")]}
    model = grurt.Model(layers=[program], weights={}, **ports)
    compiled, inputs = CompiledModel(model, tmp_path), made_up(model)
    (found,) = compiled.run(inputs, N_STEPS)[1].values()
    np.testing.assert_allclose(found, streamed(model, inputs)["m_run"], rtol=0, atol=1e-6)
    c99_models.compile_c("gcc", "-x", "c++", *c99_models.STRICT, "-fsyntax-only", tmp_path / "main.c")


def test_a_state_with_channels_last_goes_to_python_and_back(tmp_path: Path) -> None:
    model = step_networks.imported("gtcrn", tmp_path)
    inputs = made_up(model)
    stream, compiled = model.stream(), CompiledModel(model, tmp_path)
    for t in range(3):
        stream.step({name: xs[t] for name, xs in inputs.items()})
    flat = np.concatenate([np.ravel(state) for state in stream.state.values()])
    assert compiled.set_state(stream.steps, flat) == codes.OK
    n_steps, values = compiled.get_state(flat.size)
    assert n_steps == 3
    np.testing.assert_array_equal(values, flat)
    status, found = compiled.step({name: xs[3] for name, xs in inputs.items()})
    assert status == codes.OK
    wanted = stream.step({name: xs[3] for name, xs in inputs.items()})
    np.testing.assert_allclose(next(iter(found.values())), np.ravel(wanted), rtol=0, atol=1e-5)


@needs_fma
@pytest.mark.parametrize("seed", range(4))
def test_contexts(seed: int, tmp_path: Path) -> None:
    _, model = context_programs.random_pair(seed)
    values, inputs = context_programs.values_of(model, seed), made_up(model)
    compiled = CompiledModel(model, tmp_path, c99_models.FUSED)
    assert compiled.make_context(values) == codes.OK
    _, found = compiled.run(inputs, N_STEPS)
    for output, answers in streamed(model, inputs, values).items():
        np.testing.assert_array_equal(found[output], answers)
    assert compiled.selftest()


def test_contexts_of_several_lengths(tmp_path: Path) -> None:
    model = attention(tmp_path)
    compiled, inputs = CompiledModel(model, tmp_path), made_up(model)
    assert compiled.run(inputs, N_STEPS)[0] == NO_CONTEXT
    assert compiled.step({"x": inputs["x"][0]})[0] == NO_CONTEXT
    for places in (8, 3, 1):
        values = {"m": random(1, places, 4)}
        assert compiled.make_context(values) == codes.OK
        compiled.reset()  # which leaves the context
        (found,) = compiled.run(inputs, N_STEPS)[1].values()
        (wanted,) = streamed(model, inputs, values).values()
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
    before = compiled.context.raw
    assert compiled.make_context({"m": random(1, 9, 4)}) == codes.NOT_PLAIN
    assert compiled.make_context({"m": random(1, 0, 4)}) == codes.NOT_PLAIN
    assert compiled.make_context({"m": random(1, 8, 4) * np.float32(np.nan)}) == codes.NONFINITE
    assert compiled.context.raw == before
    assert compiled.selftest()
    assert compiled.step({"x": inputs["x"][0]})[0] == NO_CONTEXT


def test_the_header_and_the_example_of_contexts(tmp_path: Path) -> None:
    model = attention(tmp_path)
    exported = export_c99(model, name="m")
    header = exported.files["m.h"].decode()
    assert "#define M_M_SIZE 32 /* float, 1 by up to 8 by 4, row by row */" in header
    assert "int m_make_context(m_context *context, m_scratch *scratch, const float *m, int64_t m_places);" in header
    assert f", {exported.context_bytes:,} for a context" in exported.sizes_text()
    exported.write(tmp_path)
    program = tmp_path / "program"
    sources = (tmp_path / "main.c", tmp_path / "m.c")
    c99_models.compile_c("gcc", "-std=c99", *c99_models.STRICT, *sources, "-o", program, "-lm")
    shown = c99_models.printed(program).splitlines()
    stream = model.stream(context={"m": (np.arange(32) * 5 % 13 - 6).astype(np.float32).reshape(1, 8, 4) / 8})
    for t, line in enumerate(shown):
        x = np.float32([((7 * t + 3 * i) % 11 - 5) / 8 for i in range(4)])
        np.testing.assert_allclose(np.float32(line.split()), stream.step(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("standard", ["c99", "c++98", "c++17"])
def test_there_is_no_warning(standard: str, tmp_path: Path) -> None:
    found = {
        "gtcrn": step_networks.imported("gtcrn", tmp_path).quantize("int8"),
        "luong": step_networks.imported("luong_decoder", tmp_path),
        "attention": attention(tmp_path),
    }
    language = "c++" if "+" in standard else "c"
    for name, model in found.items():
        export_c99(model, name=name).write(tmp_path / name)
        for file in (f"{name}.c", "main.c"):
            options = ("-x", language, f"-std={standard}", *c99_models.STRICT, "-fsyntax-only")
            c99_models.compile_c("gcc", *options, tmp_path / name / file)


def test_an_arduino_sketch_with_a_context(tmp_path: Path) -> None:
    files = export_c99(attention(tmp_path), name="m", package="arduino").files
    (sketch,) = (content.decode() for file, content in files.items() if file.endswith(".ino"))
    assert "m_make_context(&context, &scratch, m, 8);\n    m_set_context(&state, &context);" in sketch
    assert "m_selftest(&state, &scratch, &context)" in sketch
