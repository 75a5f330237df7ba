r"""Snapshots: the state of a stream as bytes.

All numbers are little-endian::

    magic         8 bytes   b"GRURTSN\0"
    version       uint16    1
    reserved      6 bytes   zero
    fingerprint   16 bytes  of the model
    steps done    uint64    timesteps since the last reset
    states        float32   of each layer in model order, every one in row-major order: a GRU's (hidden_size,), or
                            (positions, hidden_size) on a grid; a Conv1d's ((kernel_size - 1) * dilation, input_size),
                            oldest timestep first; those of a step program in its order, of its shapes
    checksum      16 bytes  BLAKE2b of everything before it
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from grurt.digests import blake2b
from grurt.errors import SnapshotError
from grurt.network.versions import SNAPSHOT_VERSION
from grurt.runtime import arrays
from grurt.runtime.foreign import was_raised_below

if TYPE_CHECKING:
    from grurt.array_types import Floats
    from grurt.network.network import Network

_MAGIC = b"GRURTSN\0"
_LABEL = struct.Struct("<8sH6s16s")
_STEPS = struct.Struct("<Q")
_RESERVED = bytes(6)
_HEADER_SIZE = _LABEL.size + _STEPS.size
_CHECKSUM_SIZE = 16
STEPS_END = 1 << 62
"""No stream has come so far."""

States: TypeAlias = "Mapping[str, Floats]"


def pack(fingerprint: bytes, steps_done: int, states: States) -> bytes:
    """Return a snapshot of some states, in the order of the mapping."""
    return pack_numbers(fingerprint, steps_done, b"".join(state.astype("<f4").tobytes() for state in states.values()))


def pack_numbers(fingerprint: bytes, steps_done: int, numbers: bytes) -> bytes:
    """Return a snapshot of some states, whose numbers are already as a snapshot holds them."""
    content = label(_MAGIC, fingerprint) + _STEPS.pack(steps_done) + numbers
    return content + checksum(content)


def fingerprint_of(labelled: bytes) -> bytes:
    """Return of what model something is that begins with a `label`."""
    fingerprint: bytes = _LABEL.unpack_from(labelled)[3]
    return fingerprint


def unpack(snapshot: bytes, network: Network, nonfinite: str) -> tuple[int, dict[str, Floats]]:
    """Return the number of timesteps and the states of a snapshot, checked to be whole and of the model.

    They are whatever a stream can reach: infinite or NaN as well, where sums have gone beyond float32.

    Raises
    ------
    SnapshotError
        If it is not a snapshot, is truncated or altered, is of a newer version, belongs to another model, or holds an
        input that was NaN or infinite, where that is to be refused.
    """
    content, found = _split(snapshot)
    expect_label(
        "restore",
        content,
        _MAGIC,
        network.fingerprint,
        expected="the bytes that Stream.snapshot returns",
        is_whole=found == checksum(content),
    )
    (steps_done,) = _STEPS.unpack_from(content, _LABEL.size)
    numbers = np.frombuffer(content, "<f4", offset=_HEADER_SIZE).astype(np.float32)
    if numbers.size != size_of(network) or steps_done >= STEPS_END:
        raise SnapshotError("restore: the snapshot is damaged: its state does not have the model's size")
    states = by_layer(numbers, network)
    expect_kept_inputs("restore", states, network, nonfinite)
    return steps_done, states


def label(magic: bytes, fingerprint: bytes) -> bytes:
    """Return what a snapshot begins with: of what kind it is, of what version, and of what model."""
    return _LABEL.pack(magic, SNAPSHOT_VERSION, _RESERVED, fingerprint)


def expect_label(
    where: str, content: bytes, magic: bytes, fingerprint: bytes, *, expected: str, is_whole: bool
) -> None:
    """Raise SnapshotError unless a snapshot begins with that `label`, and is whole: its checksum fits."""
    found, version, reserved, owner = _LABEL.unpack_from(content)
    if found != magic:
        raise SnapshotError(f"{where}: expected {expected}, got something else")
    if version > SNAPSHOT_VERSION:
        raise SnapshotError(
            f"{where}: the snapshot has format version {version}, newer than {SNAPSHOT_VERSION}: upgrade grurt"
        )
    if version != SNAPSHOT_VERSION or reserved != _RESERVED or not is_whole:
        raise SnapshotError(f"{where}: the snapshot is damaged: its checksum does not fit")
    if owner != fingerprint:
        raise SnapshotError(
            f"{where}: the snapshot belongs to another model: expected fingerprint {fingerprint.hex()}, "
            f"got {owner.hex()}; load the model that it was taken from"
        )


def expect_kept_inputs(where: str, states: States, network: Network, nonfinite: str) -> None:
    """Raise SnapshotError if a layer keeps an input that was NaN or infinite, where that is to be refused."""
    if nonfinite == "refuse" and not all(
        arrays.are_finite(states[name]) for name in network.kept_inputs & states.keys()
    ):
        raise SnapshotError(
            f"{where}: the snapshot holds a NaN or an infinity among the inputs that a layer keeps, which only a "
            'stream with nonfinite="propagate" takes'
        )


def size_of(network: Network) -> int:
    """Return how many numbers the states of a stream are."""
    return sum(math.prod(shape) for shape in network.state_shapes.values())


def by_layer(numbers: Floats, network: Network) -> dict[str, Floats]:
    """Return the parts of the states of streams, ``(..., size)``, that are the layers', ``(..., *shape)``."""
    states, start = {}, 0
    for name, shape in network.state_shapes.items():
        end = start + math.prod(shape)
        states[name] = numbers[..., start:end].reshape((*numbers.shape[:-1], *shape))
        start = end
    return states


def checksum(*contents: bytes | memoryview) -> bytes:
    """Return the digest of bytes, one after the other."""
    digest = blake2b(digest_size=_CHECKSUM_SIZE)
    for content in contents:
        digest.update(content)
    return digest.digest()


def _split(snapshot: bytes) -> tuple[bytes, bytes]:
    if not isinstance(snapshot, bytes | bytearray | memoryview):
        raise SnapshotError(f"restore: expected bytes, got {type(snapshot).__name__}")
    try:
        whole = bytes(snapshot)
    except ValueError as error:
        if was_raised_below(error):
            raise
        raise SnapshotError(f"restore: expected bytes that can be read: {error}") from None
    if len(whole) < _HEADER_SIZE + _CHECKSUM_SIZE or (len(whole) - _HEADER_SIZE - _CHECKSUM_SIZE) % 4:
        raise SnapshotError(f"restore: the snapshot is truncated: {len(whole)} bytes")
    return whole[:-_CHECKSUM_SIZE], whole[-_CHECKSUM_SIZE:]
