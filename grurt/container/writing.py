"""Writes ``.grurt`` files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from grurt.atomic import write_atomically
from grurt.container.header import (
    DESCRIPTION,
    DIGEST,
    DIGEST_PLACE,
    METADATA,
    NO_DIGEST,
    REFERENCE_INPUTS,
    REFERENCE_OUTPUTS,
    WEIGHTS,
    Header,
    ReferenceRunHeader,
)
from grurt.container.tensors import arranged, entries
from grurt.digests import sha256
from grurt.network.network import Network
from grurt.network.versions import file_version

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ALIGNMENT = 8


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
    run = network.reference_run
    header = Header(
        version=version_of(network),
        inputs=network.inputs,
        layers=network.layers,
        outputs=network.outputs,
        signature=network.signature,
        source=network.source,
        reference_run=ReferenceRunHeader(run.produced_by, run.precision) if run else None,
        vocabularies=dict(network.vocabularies),
    )
    tensors: dict[str, NDArray[np.generic]] = {WEIGHTS + name: array for name, array in network.weights.items()}
    if run:
        tensors |= {REFERENCE_INPUTS + name: array for name, array in run.inputs.items()}
        tensors |= {REFERENCE_OUTPUTS + name: array for name, array in run.outputs.items()}
    return container(_description(header), tensors)


def version_of(network: Network) -> int:
    """Return the version of the file that a network is written to."""
    precision = network.reference_run.precision if network.reference_run else None
    return file_version(network.layers, network.inputs, network.signature, precision, bool(network.vocabularies))


def _description(header: Header) -> str:
    """Return a header as JSON, without what older releases do not know and nothing uses."""
    described = msgspec.to_builtins(header)
    if not header.vocabularies:
        del described["vocabularies"]
    for layer, fields in zip(header.layers, described["layers"], strict=True):
        for name in layer.unused_fields:
            del fields[name]
    for port in (*described["signature"]["inputs"], *described["signature"]["outputs"]):
        if port.get("packed") is True:
            del port["packed"]
        if port.get("shape") == ():
            del port["shape"]
    return msgspec.json.encode(described).decode()


def container(description: str, tensors: dict[str, NDArray[np.generic]]) -> bytes:
    """Return the bytes of a file with any description and tensors."""
    ordered = arranged(tensors)
    metadata = {DIGEST: NO_DIGEST.decode(), DESCRIPTION: description}
    header = msgspec.json.encode({METADATA: metadata, **entries(ordered)})
    header += b" " * (-len(header) % _ALIGNMENT)
    front = len(header).to_bytes(8, "little") + header
    parts: list[bytes | memoryview] = [front, *(array.reshape(-1).view(np.uint8).data for array in ordered.values())]
    digest = sha256(sum(map(len, parts)))
    for part in parts:
        digest.update(part)
    parts[0] = front[:DIGEST_PLACE] + digest.hexdigest().encode() + front[DIGEST_PLACE + len(NO_DIGEST) :]
    return b"".join(parts)
