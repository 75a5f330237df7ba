"""Reads ``.grurt`` files, which anybody may have written.

What is at the front is looked at before what is behind it is read: the length of the header, the header, the tensors.
Each tensor is read into memory of its own, and not copied after that.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, BinaryIO

import msgspec

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
    decode_header,
)
from grurt.container.tensors import MISFIT, Entry, in_order
from grurt.digests import sha256
from grurt.errors import ModelError, ModelFileError
from grurt.escaping import listed
from grurt.network.costs import Limits
from grurt.network.network import Network
from grurt.network.reference_run import ReferenceRun
from grurt.network.values import weight_dtypes
from grurt.network.versions import FILE_VERSION, file_version
from grurt.regular_files import NotRegularError, open_regular_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FOREIGN = {
    b"PK\x03\x04": "a zip archive, as PyTorch (.pt) and Keras (.keras) write them",
    b"\x89HDF": "an HDF5 file, as Keras (.h5) writes them",
    b"\x80\x02": "a pickle, as old PyTorch checkpoints are",
    b"\x08": "something else, perhaps an ONNX file",
    b"{": "a JSON text",
}
"""How foreign files begin."""

_BEGINNING = f'{{"{METADATA}":{{"'.encode()
"""How the header of a ``.grurt`` file begins, as this package writes it."""

_MAX_HEADER = 1 << 25
"""Bytes of a header: some ten times what 4,096 layers need."""

_LENGTH = 8

_DAMAGE = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What decoding JSON raises if it is not JSON, not UTF-8, not of the type, or too deep."""


class _Container(msgspec.Struct, frozen=True):
    """The part of a safetensors header that is not about tensors."""

    metadata: dict[str, str] = msgspec.field(name=METADATA, default_factory=dict)


class _Version(msgspec.Struct, frozen=True):
    version: int


def read(path: str | bytes | os.PathLike[str], limits: Limits | None = None) -> Network:
    """Read a file; all of it is checked before anything is used, and nothing in it is ever run.

    Raises
    ------
    ModelFileError
        If it is not a ``.grurt`` file, is damaged, contradicts itself, is of a newer version, or costs too much.
    OSError
        If there is no such file, or it cannot be read.
    """
    path = _openable(path)
    try:
        with open_regular_file(path) as file:
            return _read(file, os.fstat(file.fileno()).st_size, limits or Limits())
    except NotRegularError as error:
        raise ModelFileError(f"{path}: expected a .grurt file, got {error.found}") from error
    except (ModelFileError, ModelError) as error:
        raise ModelFileError(f"{path}: {error}") from error


def _openable(path: str | bytes | os.PathLike[str]) -> str:
    """Return a path as text; raise ModelFileError if no file can have it."""
    name = os.fsdecode(path)
    try:
        encoded = os.fsencode(name)
    except UnicodeEncodeError:
        encoded = b"\0"
    if b"\0" in encoded:
        raise ModelFileError(f"{name}: expected a path, got one that no file can have: it has a null, or a surrogate")
    return name


def decode(content: bytes, limits: Limits | None = None) -> Network:
    """Return the network in the bytes of a file, checked as `read` does; raise ModelFileError if there is none."""
    try:
        return _read(io.BytesIO(content), len(content), limits or Limits())
    except ModelError as error:
        raise ModelFileError(str(error)) from error


def digest_of(path: str | os.PathLike[str]) -> str | None:
    """Return the SHA-256 that stands in a file which has been read, in hexadecimal digits; None if it is older."""
    with open_regular_file(path) as file:
        start = file.read(DIGEST_PLACE + len(NO_DIGEST))
    return start[DIGEST_PLACE:].decode() if _has_digest(start[_LENGTH:]) else None


def _has_digest(header: bytes) -> bool:
    return header.startswith(_BEGINNING + f'{DIGEST}":"'.encode())


def _read(file: BinaryIO, size: int, limits: Limits) -> Network:
    if limits.max_bytes is not None and size > limits.max_bytes:
        raise ModelFileError(
            f"the file has {size:,} bytes, expected at most {limits.max_bytes:,}: allow more with max_bytes={size}"
        )
    length = file.read(_LENGTH)
    header = _header(file, length, size)
    metadata = _metadata(header)
    description = _description(metadata[DESCRIPTION])
    stated = _stated_digest(header, metadata)
    del metadata
    tensors = in_order(_entries(header))
    end = _LENGTH + len(header) + (tensors[-1][1].data_offsets[1] if tensors else 0)
    if size != end:
        raise ModelFileError(_truncated(end, size) if size < end else MISFIT)
    digest = sha256(size)
    for part in _without_digest(length, header) if stated else ():
        digest.update(part)
    del header
    arrays = {}
    for name, entry in tensors:
        data = _data(file, name, entry)
        arrays[name] = entry.array(data)
        if stated:
            digest.update(data)
    if stated and digest.hexdigest() != stated:
        raise ModelFileError(f"the file is damaged: expected the SHA-256 {stated}, got {digest.hexdigest()}")
    return _network(description, arrays, limits)


def _header(file: BinaryIO, length: bytes, size: int) -> bytes:
    """Return the header, whose length is at the front of the file; what comes behind it is not looked at."""
    front = file.read(len(_BEGINNING))
    if not front.startswith(b"{"):
        raise ModelFileError(_not_a_container(length))
    stated = int.from_bytes(length, "little")
    if stated > size - _LENGTH:
        is_model = front.startswith(_BEGINNING)
        raise ModelFileError(_truncated(_LENGTH + stated, size) if is_model else _not_a_container(length))
    if stated > _MAX_HEADER:
        raise ModelFileError(f"the header is damaged: expected at most {_MAX_HEADER:,} bytes, got {stated:,}")
    return (front + file.read(max(0, stated - len(front))))[:stated]


def _not_a_container(start: bytes) -> str:
    if not start:
        return "expected a .grurt file, got an empty file"
    for beginning, description in _FOREIGN.items():
        if start.startswith(beginning):
            return f"expected a .grurt file, got {description}: use `grurt convert` to make a model of it"
    return "expected a .grurt file, got something else"


def _truncated(expected: int, size: int) -> str:
    return f"the file is truncated: expected {expected} bytes, got {size}"


def _fault(error: Exception, wanted: object) -> str:
    """Return what is wrong with a text that was to be decoded as a type."""
    from grurt.network.misfits import misfit

    return misfit(error, wanted) if isinstance(error, msgspec.ValidationError) else str(error)


def _metadata(header: bytes) -> dict[str, str]:
    try:
        metadata = msgspec.json.decode(header, type=_Container).metadata
    except _DAMAGE as error:
        raise ModelFileError(f"the header is damaged: {_fault(error, _Container)}") from error
    if DESCRIPTION not in metadata:
        raise ModelFileError(
            "expected a .grurt file, got another safetensors file: use `grurt convert` to make a model of it"
        )
    if unknown := sorted(metadata.keys() - {DESCRIPTION, DIGEST}):
        raise ModelFileError(f"the header is damaged: metadata that a model does not have: {listed(unknown)}")
    return metadata


def _stated_digest(header: bytes, metadata: dict[str, str]) -> str | None:
    """Return the digest of the file; None if it is from before there were any."""
    stated = metadata.get(DIGEST)
    place = DIGEST_PLACE - _LENGTH
    if _has_digest(header) != (stated is not None) or (
        stated is not None and header[place : place + len(NO_DIGEST)] != stated.encode()
    ):
        raise ModelFileError("the header is damaged: the SHA-256 is not where it belongs")
    return stated


def _without_digest(length: bytes, header: bytes) -> tuple[bytes | memoryview, ...]:
    """Return what is digested of the front of a file."""
    place = DIGEST_PLACE - _LENGTH
    return length, header[:place], NO_DIGEST, memoryview(header)[place + len(NO_DIGEST) :]


def _entries(header: bytes) -> dict[str, Entry]:
    try:
        entries = msgspec.json.decode(header, type=dict[str, Entry])
    except _DAMAGE as error:
        raise ModelFileError(f"the header is damaged: {_fault(error, dict[str, Entry])}") from error
    del entries[METADATA]
    return entries


def _description(text: str) -> Header:
    try:
        version = msgspec.json.decode(text, type=_Version).version
        if version > FILE_VERSION:
            raise ModelFileError(
                f"expected format version {FILE_VERSION}, got the newer version {version}: upgrade grurt to read it"
            )
        if version < 1:
            raise ModelFileError(f"expected format version 1 to {FILE_VERSION}, got version {version}")
        header = decode_header(text)
    except _DAMAGE as error:
        raise ModelFileError(f"the header is damaged: {_fault(error, Header)}") from error
    precision = header.reference_run.precision if header.reference_run else None
    if version < file_version(header.layers, header.inputs, header.signature, precision, bool(header.vocabularies)):
        kinds = ", ".join(sorted({layer.kind for layer in header.layers if layer.first_file_version > version}))
        beside = "the precision of a reference run" if precision else "the dtypes or axes of its signature"
        beside = "vocabularies" if header.vocabularies else beside
        lacking = f"the layers {kinds}" if kinds else beside
        raise ModelFileError(f"the header is damaged: format version {version} does not have {lacking}")
    return header


def _data(file: BinaryIO, name: str, entry: Entry) -> bytes:
    begin, end = entry.data_offsets
    try:
        data = file.read(end - begin)
    except (MemoryError, OverflowError) as error:
        raise ModelFileError(f"tensor {name}: it has {end - begin:,} bytes, which memory cannot hold") from error
    if len(data) < end - begin:
        raise ModelFileError("the file is truncated: it became shorter while it was read")
    return data


def _network(header: Header, tensors: dict[str, NDArray[np.generic]], limits: Limits) -> Network:
    weights = _take(tensors, WEIGHTS)
    inputs = _take(tensors, REFERENCE_INPUTS)
    outputs = _take(tensors, REFERENCE_OUTPUTS)
    if tensors:
        raise ModelFileError(f"tensors that a model does not have: {listed(sorted(tensors))}")
    dtypes = weight_dtypes(header.layers)
    for name, array in weights.items():
        if array.dtype != (expected := dtypes.get(name, "float32")):
            raise ModelFileError(f"weight {name}: expected {expected}, got {array.dtype}")
    stated = header.reference_run
    run = ReferenceRun(inputs, outputs, stated.produced_by, stated.precision) if stated else None
    if run is None and (inputs or outputs):
        raise ModelFileError("the file has tensors of a reference run, but its header describes none")
    return Network(
        inputs=header.inputs,
        layers=header.layers,
        outputs=header.outputs,
        weights=weights,
        signature=header.signature,
        source=header.source,
        reference_run=run,
        limits=limits,
        vocabularies=header.vocabularies,
    )


def _take(tensors: dict[str, NDArray[np.generic]], prefix: str) -> dict[str, NDArray[np.generic]]:
    """Remove the tensors whose names begin with the prefix, and return them by the rest of their names."""
    names = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}
