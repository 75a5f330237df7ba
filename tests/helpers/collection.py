"""The model files in ``tests/data``, and what becomes of them when they are converted."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from paths import DATA

import grurt
from grurt.converters import convert
from grurt.errors import GrurtError

CHECKPOINTS: Mapping[str, tuple[str | None, str]] = {
    "sd_zip.pt": ("gru, fc", "io.npz"),
    "sd_legacy.pt": ("gru, fc", "io.npz"),
    "sd_dataparallel.pt": ("gru, fc", "io.npz"),
    "sd_bf16.pt": ("gru, fc", "io.npz"),
    "ckpt_lightning.ckpt": ("gru, fc", "io.npz"),
    "full_module.pt": ("gru, fc", "io.npz"),
    "model.safetensors": ("gru, fc", "io.npz"),
    "jit_trace.pt": ("gru, fc", "io.npz"),
    "export.pt2": (None, "io.npz"),
    "sd_weightnorm_new.pt": ("gru, fc", "sd_weightnorm_new_io.npz"),
    "list_params.pt": ("gru, fc", "io.npz"),
    "sd_dynquant.pt": ("gru, fc", "io.npz"),
    "b_lasthidden.pt": ("gru, last, fc", "b_lasthidden.npz"),
    "c_eachstep_bf.pt": ("gru, fc", "c_eachstep_bf.npz"),
    "d_bi.pt": ("gru, fc", "d_bi.npz"),
    "h_nsnet2.pt": ("fc1:relu, gru1, gru2, fc2:relu, fc3:relu, fc4:sigmoid", "h_nsnet2.npz"),
    "j_conv_causal.pt": ("conv:tanh, gru, fc", "j_conv_causal.npz"),
    "k_norms.pt": ("bn, gru, ln, fc", "k_norms.npz"),
}
"""Files in ``tests/data/torch``, the description of their layers, and where the answers are."""

WITHOUT_ANSWERS = ("gru_stateful.torch.onnx",)
"""Into which the exporter has written the state after other calls."""


@dataclass(frozen=True)
class Outcome:
    """What became of one file: a model and its largest difference from the answers, or a refusal."""

    file: str
    model: grurt.Model | None = None
    difference: float | None = None
    refusal: str = ""


def collection(folder: Path) -> Iterator[Outcome]:
    """Unpack ``tests/data/collection`` to a folder, convert every file, and compare."""
    with tarfile.open(DATA / "collection" / "collection.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    for path in sorted(folder.glob("*/*")):
        if path.suffix in (".onnx", ".keras", ".h5"):
            yield _outcome(path, folder, _architecture(path), _answers(path))


def checkpoints() -> Iterator[Outcome]:
    """Convert the files of ``tests/data/torch``, and compare."""
    for name, (layers, answers) in CHECKPOINTS.items():
        yield _outcome(DATA / "torch" / name, DATA, layers, _load(DATA / "torch" / answers))


def keras_files() -> Iterator[Outcome]:
    """Convert the files of ``tests/data/keras`` that hold whole models, and compare."""
    for path in sorted((DATA / "keras").glob("*")):
        if path.suffix in (".keras", ".h5") and not path.stem.endswith((".weights", ".weights_only")):
            yield _outcome(path, DATA, None, _answers(path))


def step_graphs(folder: Path) -> Iterator[Outcome]:
    """Unpack the graphs of one timestep to a folder, convert every file, and compare, frame by frame."""
    with tarfile.open(DATA / "collection" / "steps.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    for path in sorted(folder.glob("steps/*.onnx")):
        answers = _load(path.with_name(f"{path.name.partition('.')[0]}.npz"))
        model = convert(path, initial=_of_side(answers, "begin"), reference=False)
        yield Outcome(path.relative_to(folder).as_posix(), model, _difference_of_frames(model, answers))


def _difference_of_frames(model: grurt.Model, answers: Mapping[str, np.ndarray]) -> float:
    """Return the largest difference from answers to frames that are fed one after the other, of each output's size."""
    inputs, expected = (_of_side(answers, side) for side in ("in", "out"))
    blocks = {name: array.reshape(len(array), -1) for name, array in inputs.items()}
    blocks |= {port.name: blocks[port.name][:, 0] for port in model.inputs if isinstance(port, grurt.TokenInput)}
    answered = model.stream().run(blocks)
    found = answered if isinstance(answered, dict) else {model.outputs[0].name: answered}
    return max(
        float(np.abs(found[name].reshape(array.shape) - array).max() / np.abs(array).max())
        for name, array in expected.items()
    )


def _outcome(path: Path, folder: Path, layers: str | None, answers: Mapping[str, np.ndarray]) -> Outcome:
    file = path.relative_to(folder).as_posix()
    try:
        model = convert(path, layers, reference=False)
    except GrurtError as error:
        return Outcome(file, refusal=str(error).removeprefix(f"{path.name}: "))
    return Outcome(file, model, _difference(model, answers) if answers else None)


def _difference(model: grurt.Model, answers: Mapping[str, np.ndarray]) -> float:
    """Return the largest difference from answers; inputs and outputs are named, or in order."""
    inputs, expected = (_of_side(answers, side) for side in ("in", "out"))
    names = [port.name for port in model.signature.inputs]
    if not set(names) <= inputs.keys():
        inputs = dict(zip(names, inputs.values(), strict=False))
    if len(expected) > len(model.signature.outputs):  # of a stateful model, called twice
        (sequence,) = inputs.values()
        stream = model.stream()
        found = {name: stream.run(sequence[0])[None] for name in expected}
    else:
        found = model.run(inputs)
    if not expected.keys() <= found.keys():
        found = dict(zip(expected, found.values(), strict=False))
    if [found[name].shape for name in expected] != [array.shape for array in expected.values()]:
        return float("inf")
    return max(float(np.abs(found[name] - array).max()) for name, array in expected.items())


def _of_side(answers: Mapping[str, np.ndarray], side: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(side).lstrip("_"): array for name, array in answers.items() if name.startswith(side)}


def _answers(path: Path) -> Mapping[str, np.ndarray]:
    """Return the arrays in the ``.npz`` of the longest beginning of a file's name; none if there is none."""
    if path.name in WITHOUT_ANSWERS:
        return {}
    parts = path.name.split(".")
    names = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    found = next((each for each in (path.with_name(f"{name}.npz") for name in names) if each.exists()), None)
    return {} if found is None else _load(found)


def _load(path: Path) -> Mapping[str, np.ndarray]:
    with np.load(path) as arrays:
        answers = dict(arrays)
    return answers if "x" not in answers else {"in_x": answers["x"], "out_y": answers["y"]}


def _architecture(path: Path) -> str | None:
    """Return where the architecture of a file of weights is: written beside it, from the model of the same name."""
    if ".weights" not in path.name:
        return None
    stem = path.name.partition(".weights")[0]
    with zipfile.ZipFile(path.with_name(f"{stem}.keras")) as archive:
        path.with_name(f"{stem}.json").write_bytes(archive.read("config.json"))
    return str(path.with_name(f"{stem}.json"))
