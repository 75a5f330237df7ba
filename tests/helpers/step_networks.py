"""The step networks of the benchmarks, exported, and run frame by frame by onnxruntime and by grurt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

import grurt
from benchmarks.step_networks import NETWORKS, StepNetwork, onnx_of, pt2_of
from grurt.converters import convert

Array = np.ndarray[Any, Any]
Frame = Mapping[str, Array]


@cache
def network(name: str) -> StepNetwork:
    """Return a network, always the same."""
    torch.manual_seed(0)
    return NETWORKS[name]()


@cache
def exported(name: str, *, dynamo: bool) -> bytes:
    """Return the file that one of PyTorch's exporters makes of a network."""
    return onnx_of(network(name), dynamo=dynamo)


def imported(name: str, folder: Path, *, dynamo: bool = False) -> grurt.Model:
    """Return a network as grurt has it; states begin as they should."""
    path = folder / f"{name}.onnx"
    path.write_bytes(exported(name, dynamo=dynamo))
    initial = {state: array for state, array in network(name).initial_states().items() if array.any()}
    return convert(path, imported="literal", reference=False, initial=initial)


def imported_program(name: str, folder: Path) -> grurt.Model:
    """Return a network as grurt has it of ``torch.export``, whose names of states are paired by their order."""
    of, path = network(name), folder / f"{name}.pt2"
    path.write_bytes(pt2_of(of))
    names = torch.export.load(path).graph_signature
    given, becomes = names.user_inputs[len(of.frames) :], names.user_outputs[len(of.outputs) :]
    arrays = zip(given, of.initial_states().values(), strict=True)
    initial = {state: array for state, array in arrays if array.any()}
    state = dict(zip(given, becomes, strict=True))
    return convert(path, imported="literal", reference=False, state=state, initial=initial)


def session(data: bytes) -> onnxruntime.InferenceSession:
    """Return a session of one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def random_frames(of: StepNetwork, count: int, seed: int = 0) -> list[Frame]:
    """Return frames, always the same."""
    random = np.random.default_rng(seed)
    return [of.random_frames(random) for _ in range(count)]


def source_answers(of: StepNetwork, source: onnxruntime.InferenceSession, frames: Sequence[Frame]) -> dict[str, Array]:
    """Return what the source answers to frames, its states handed back: ``(frames, *shape)`` each."""
    states, found = of.initial_states(), []
    for frame in frames:
        answers = dict(zip(of.output_names, source.run(of.output_names, {**frame, **states}), strict=True))
        states = {given: answers[becomes] for given, becomes in of.pairs.items()}
        found.append([answers[name] for name in of.outputs])
    return {name: np.array(each) for name, each in zip(of.outputs, zip(*found, strict=True), strict=True)}


def steps(of: StepNetwork, stream: grurt.Stream, frames: Sequence[Frame]) -> dict[str, Array]:
    """Return what a stream answers, frame by frame: ``(frames, numbers)`` each."""
    found = [_named(of, stream.step(*(_given(of, name, frame[name]) for name in of.frames))) for frame in frames]
    return {name: np.array([each[name].ravel() for each in found]) for name in of.outputs}


def pooled(of: StepNetwork, pool: grurt.StreamPool, frames: Sequence[Frame]) -> dict[str, Array]:
    """Return what the second of two streams of a pool answers, frame by frame; the first reads them backwards."""
    found = []
    for pair in zip(frames[::-1], frames, strict=True):
        rows = {name: np.array([frame[name].ravel() for frame in pair]) for name in of.frames}
        rows |= {name: rows[name][:, 0] for name in of.tokens}
        found.append({name: array[1] for name, array in _named(of, pool.step([0, 1], rows)).items()})
    return {name: np.array([each[name].ravel() for each in found]) for name in of.outputs}


def block(of: StepNetwork, stream: grurt.Stream, frames: Sequence[Frame]) -> dict[str, Array]:
    """Return what a stream answers to all frames at once: ``(frames, numbers)`` each."""
    blocks = {name: np.array([frame[name].ravel() for frame in frames]) for name in of.frames}
    blocks |= {name: blocks[name][:, 0] for name in of.tokens}
    found = _named(of, stream.run(blocks))
    return {name: array.reshape(len(frames), -1) for name, array in found.items()}


def _given(of: StepNetwork, name: str, array: Array) -> Any:
    return array.item() if name in of.tokens else array


def _named(of: StepNetwork, answer: Any) -> dict[str, Array]:
    answers = answer.values() if len(of.outputs) > 1 else [answer]
    return {name: np.asarray(each) for name, each in zip(of.outputs, answers, strict=True)}
