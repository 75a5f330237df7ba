"""Makes steps.tar.xz: graphs of one timestep by both ONNX exporters of PyTorch, and its answers in float64.

Usage:
    python -m tests.data.collection.make_steps
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from benchmarks.step_networks import NETWORKS, StepNetwork, onnx_of

ARCHIVE = Path(__file__).with_name("steps.tar.xz")

N_FRAMES = 20

EXPORTERS = {"ts": False, "dyn": True}


def main() -> None:
    """Write the archive."""
    with tarfile.open(ARCHIVE, "w:xz") as archive:
        for name, made in NETWORKS.items():
            torch.manual_seed(0)
            network = made()
            for exporter, dynamo in EXPORTERS.items():
                _add(archive, f"steps/{name}.{exporter}.onnx", _without_metadata(onnx_of(network, dynamo=dynamo)))
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **answers(network))  # in_, out_ and begin_ before the names
            _add(archive, f"steps/{name}.npz", buffer.getvalue())


def answers(network: StepNetwork) -> dict[str, np.ndarray[Any, Any]]:
    """Return inputs and answers of some timesteps, and what states begin as, where that is not 0."""
    random, module = np.random.default_rng(0), network.module.double()
    frames = [network.random_frames(random) for _ in range(N_FRAMES)]
    states, found = network.initial_states(), []
    result = {f"begin_{name}": array for name, array in states.items() if array.any()}
    for frame in frames:
        given = [torch.from_numpy(array) for array in (*frame.values(), *states.values())]
        with torch.no_grad():
            results = module(*(each.double() if each.is_floating_point() else each for each in given))
        arrays = dict(zip(network.output_names, (each.numpy() for each in results), strict=True))
        states = {name: arrays[becomes] for name, becomes in network.pairs.items()}
        found.append([arrays[name].astype(np.float32) for name in network.outputs])
    result |= {f"in_{name}": np.array([frame[name] for frame in frames]) for name in network.frames}
    return result | {f"out_{name}": np.array([row[i] for row in found]) for i, name in enumerate(network.outputs)}


def _without_metadata(data: bytes) -> bytes:
    """Return a graph without what the exporter notes of the code that it came from."""
    proto = onnx.load_from_string(data)
    for part in (proto, proto.graph, *proto.functions, *proto.graph.value_info):
        part.ClearField("metadata_props")
    for nodes in (proto.graph.node, *(function.node for function in proto.functions)):
        for node in nodes:
            node.ClearField("metadata_props")
            node.ClearField("doc_string")
    for tensor in (*proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        tensor.ClearField("metadata_props")
    proto.graph.ClearField("doc_string")
    return proto.SerializeToString()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


if __name__ == "__main__":
    main()
