"""Networks as people stream them, exported as one timestep: fed frame by frame beside onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import step_networks
from step_networks import Array

import grurt
from benchmarks.step_networks import NETWORKS
from grurt.network.signature import StatePort

TOLERANCE = 2e-6
"""Of the size of an output's largest number."""

N_FRAMES = 60


def compare(name: str, model: grurt.Model, n_frames: int, *, dynamo: bool = False) -> None:
    network = step_networks.network(name)
    frames = step_networks.random_frames(network, n_frames)
    source = step_networks.session(step_networks.exported(name, dynamo=dynamo))
    expected = step_networks.source_answers(network, source, frames)
    found = step_networks.steps(network, model.stream(), frames)
    for output, array in expected.items():
        error = np.abs(found[output] - array.reshape(n_frames, -1)).max()
        assert error < TOLERANCE * np.abs(array).max() > 0, output


def same_bits(found: dict[str, Array], expected: dict[str, Array]) -> None:
    assert {name: array.tobytes() for name, array in found.items()} == {
        name: array.tobytes() for name, array in expected.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_agrees_with_onnxruntime(name: str, tmp_path: Path) -> None:
    compare(name, step_networks.imported(name, tmp_path), N_FRAMES)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # torch.export warns of itself
@pytest.mark.parametrize("name", NETWORKS)
def test_programs_of_torch_export_agree_too(name: str, tmp_path: Path) -> None:
    compare(name, step_networks.imported_program(name, tmp_path), N_FRAMES)


@pytest.mark.parametrize("name", ["gru_policy", "luong_decoder", "detector", "memory_cell"])
def test_a_policy_a_decoder_a_detector_and_a_cell_agree_with_onnxruntime(name: str, tmp_path: Path) -> None:
    compare(name, step_networks.imported(name, tmp_path), N_FRAMES)


@pytest.mark.long
@pytest.mark.parametrize("dynamo", [False, True], ids=["script", "dynamo"])
@pytest.mark.parametrize("name", NETWORKS)
def test_agrees_with_onnxruntime_for_long(name: str, dynamo: bool, tmp_path: Path) -> None:
    compare(name, step_networks.imported(name, tmp_path, dynamo=dynamo), 600, dynamo=dynamo)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_pairs_are_found_by_name(name: str, tmp_path: Path) -> None:
    model, network = step_networks.imported(name, tmp_path), step_networks.network(name)
    found = {port.states: port.name for port in model.signature.outputs if isinstance(port, StatePort)}
    assert found == {(given,): becomes for given, becomes in network.pairs.items()}
    assert [port.name for port in model.inputs] == list(network.frames)
    assert [port.name for port in model.outputs] == list(network.outputs)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_blocks_pools_saved_models_and_forks_give_the_bits_of_steps(name: str, tmp_path: Path) -> None:
    model, network = step_networks.imported(name, tmp_path), step_networks.network(name)
    frames = step_networks.random_frames(network, 9)
    stream = model.stream()
    expected = step_networks.steps(network, stream, frames)
    same_bits(step_networks.block(network, model.stream(), frames), expected)
    same_bits(step_networks.pooled(network, model.pool(2), frames), expected)
    model.save(tmp_path / "saved.grurt")
    loaded = grurt.load(tmp_path / "saved.grurt").stream()
    same_bits(step_networks.steps(network, loaded, frames[:4]), {key: each[:4] for key, each in expected.items()})
    fork = loaded.fork()
    same_bits(step_networks.block(network, fork, frames[4:]), {key: each[4:] for key, each in expected.items()})
    assert fork.snapshot() == stream.snapshot()
