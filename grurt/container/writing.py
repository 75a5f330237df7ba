"""Writes ``.grurt`` files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from grurt.atomic import write_atomically
from grurt.container.header import REFERENCE_INPUTS, REFERENCE_OUTPUTS, WEIGHTS, Header, ReferenceRunHeader
from grurt.network.network import Network
from grurt.network.versions import file_version

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def save(network: Network, path: str | os.PathLike[str]) -> None:
    """Write a network to a file, atomically; equal networks give equal bytes.

    Raises
    ------
    OSError
        If the file cannot be written; an older file at the path is untouched then.
    """
    write_atomically(path, encode(network))


def encode(network: Network) -> bytes:
    """Return the bytes of a file."""
    from safetensors.numpy import save as encode_safetensors

    run = network.reference_run
    header = Header(
        version=file_version(network.layers),
        inputs=network.inputs,
        layers=network.layers,
        outputs=network.outputs,
        signature=network.signature,
        source=network.source,
        reference_run=ReferenceRunHeader(run.produced_by) if run else None,
    )
    tensors: dict[str, NDArray[np.generic]] = {WEIGHTS + name: array for name, array in network.weights.items()}
    if run:
        tensors |= {REFERENCE_INPUTS + name: array for name, array in run.inputs.items()}
        tensors |= {REFERENCE_OUTPUTS + name: array for name, array in run.outputs.items()}
    return encode_safetensors(tensors, metadata={"grurt": msgspec.json.encode(header).decode()})
