"""Exported models, compiled and run for every platform that can be run here: the same bits as in Python."""

from __future__ import annotations

from pathlib import Path

import c_programs
import every_layer
import models
import numpy as np
import pytest

import grurt
from grurt.demo import load_model
from grurt.native.export import export

pytestmark = pytest.mark.slow

STREAMING = {name: model for name, model in every_layer.all_models().items() if model.unstreamable_reason is None}
N_STEPS = 12


def assert_same_bits(model: grurt.Model, platform: str, folder: Path, cpu: str | None = None) -> None:
    cpu = cpu or c_programs.toolchain(platform, cpu).cpu
    inputs = models.random_inputs(model.inputs, N_STEPS, np.random.default_rng(5))
    found = c_programs.answers(export(model, platform, cpu=cpu), platform, model, inputs, folder)
    stream = model.stream()
    for t in range(N_STEPS):
        answer = stream.step({port: xs[t] for port, xs in inputs.items()})
        ys = list(answer.values()) if isinstance(answer, dict) else [answer]
        for name, y, z in zip((port.name for port in model.outputs), ys, (each[t] for each in found), strict=True):
            assert z.tobytes() == y.tobytes(), (name, t, np.abs(z - y).max())


DEMO = [
    *((platform, weights) for platform in c_programs.TOOLCHAINS for weights in ("float32", "int8")),
    *(("thumbv7em-none-eabihf", weights) for weights in ("float16", "int4")),
]
ARM_DOT_PRODUCT = ("aarch64-linux-gnu", "armv8.2-a+dotprod")
SHORT = ("gates", "functions", "gru 17 False", "random 1", "random 9 int8")


@pytest.mark.parametrize(("platform", "weights"), DEMO)
def test_the_demo(platform: str, weights: str, tmp_path: Path) -> None:
    model = load_model()
    assert_same_bits(model if weights == "float32" else model.quantize(weights), platform, tmp_path)


@pytest.mark.parametrize("name", ["extremes", "gru 17 True int8", "gru 17 False int4", "random 1 float16"])
def test_narrow_weights_with_arms_dot_product(name: str, tmp_path: Path) -> None:
    platform, cpu = ARM_DOT_PRODUCT
    assert_same_bits(STREAMING[name], platform, tmp_path, cpu)


@pytest.mark.parametrize("name", SHORT)
def test_some_layers(name: str, tmp_path: Path) -> None:
    assert_same_bits(STREAMING[name], "x86_64-linux-gnu", tmp_path)


@pytest.mark.parametrize(("name", "platform"), [("program 3", "riscv64-linux-gnu"), ("program in int8", "wasm32")])
def test_some_step_programs(name: str, platform: str, tmp_path: Path) -> None:
    assert_same_bits(STREAMING[name], platform, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize(
    ("platform", "cpu"), [*((platform, None) for platform in c_programs.TOOLCHAINS), ARM_DOT_PRODUCT]
)
@pytest.mark.parametrize("name", STREAMING)
def test_every_layer(name: str, platform: str, cpu: str | None, tmp_path: Path) -> None:
    assert_same_bits(STREAMING[name], platform, tmp_path, cpu)
