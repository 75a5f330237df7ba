"""Measures models in C on emulated boards, for docs/microcontroller.md: ``python -m benchmarks.boards``."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

import grurt
from benchmarks.boards import plain, table
from benchmarks.boards.machines import MACHINES, DoesNotFitError, Machine, measure
from benchmarks.step_networks import lstm_policy, onnx_of
from grurt.converters import convert
from grurt.demo import load_model
from grurt.native.c99.export import export_c99

DEMO = "GRU of 32, 6 inputs"
STEP_GRAPH = "LSTM policy, a step graph"
BY_HAND = "float32, by hand"


def models() -> dict[str, grurt.Model]:
    """Return the models by name: the demo's, one of the layers and sizes of RNNoise (Valin 2018), and a step graph."""
    return {DEMO: load_model(), "RNNoise's size": rnnoise_sized(), STEP_GRAPH: step_graph()}


def step_graph() -> grurt.Model:
    """Return a robot's policy of random weights: 12 observations, an LSTM of 16, a layer of 16 and 4 actions."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.onnx"
        path.write_bytes(onnx_of(lstm_policy()))
        return convert(path, imported="literal", reference=False)


def rnnoise_sized() -> grurt.Model:
    """Return a model of random weights: a dense layer of 24, GRUs of 24, 48 and 96, 22 gains and a voice activity."""
    layers = [
        grurt.Linear(name="dense", inputs=("features",), input_size=42, output_size=24),
        grurt.Activation(name="dense_tanh", function=grurt.Tanh()),
        grurt.GRU(name="vad_gru", input_size=24, hidden_size=24, candidate_activation=grurt.Relu()),
        grurt.Linear(name="vad", input_size=24, output_size=1),
        grurt.Activation(name="activity", function=grurt.Sigmoid()),
        grurt.Concat(name="noise_input", inputs=("dense_tanh", "vad_gru", "features")),
        grurt.GRU(name="noise_gru", input_size=90, hidden_size=48, candidate_activation=grurt.Relu()),
        grurt.Concat(name="denoise_input", inputs=("vad_gru", "noise_gru", "features")),
        grurt.GRU(name="denoise_gru", input_size=114, hidden_size=96, candidate_activation=grurt.Relu()),
        grurt.Linear(name="denoise", input_size=96, output_size=22),
        grurt.Activation(name="gains", function=grurt.Sigmoid()),
    ]
    rng = np.random.default_rng(0)
    shapes = {f"{layer.name}.{name}": shape for layer in layers for name, shape in layer.weight_shapes().items()}
    weights = {name: rng.uniform(-0.2, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}
    outputs = [grurt.Output("gains", "gains"), grurt.Output("activity", "activity")]
    return grurt.Model(layers=layers, weights=weights, inputs=[grurt.Input("features", 42)], outputs=outputs)


def measured(
    model: grurt.Model, files: Mapping[str, bytes], name: str, flags: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """Yield what a model, whose files are given, takes on every board."""
    for machine in MACHINES:
        record = {"model": name, "cpu": machine.name}
        with tempfile.TemporaryDirectory() as folder:
            try:
                yield record | asdict(measure(machine, model, files, Path(folder), flags))
            except DoesNotFitError:
                yield record


def version(machine: Machine) -> str:
    """Return the first line that a compiler says of itself."""
    command = [machine.compiler[0], "--version"]
    line = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    name, _, number = line.partition(" ")
    return f"{name} {number.split()[-1] if number else ''}".strip()


@click.command(help=__doc__)
def main() -> None:
    """Measure, and write the results."""
    for machine in MACHINES:
        if machine.missing:
            raise click.ClickException(f"{machine.missing} is not installed")
    records = []
    for name, model in models().items():
        for weights, found in (("float32", model), ("int8", model.quantize("int8"))):
            records += measured(found, export_c99(found, name="m").files, f"{name}, {weights}")
        if name == DEMO:
            records += measured(model, plain.files(), f"{name}, {BY_HAND}", plain.FLAGS)
    versions = dict.fromkeys(map(version, MACHINES))
    table.write(records, f"{datetime.now(UTC):%Y-%m-%d}", list(versions))


if __name__ == "__main__":
    main()
