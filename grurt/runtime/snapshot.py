r"""Snapshots: the state of a stream as bytes.

All numbers are little-endian::

    magic         8 bytes   b"GRURTSN\0"
    version       uint16    1
    reserved      6 bytes   zero
    fingerprint   16 bytes  of the model
    steps done    uint64    timesteps since the last reset
    state         float32   of each stateful layer in model order: a GRU's (hidden_size,), a Conv1d's
                            ((kernel_size - 1) * dilation, input_size), oldest timestep first
    checksum      16 bytes  BLAKE2b of everything before it
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from grurt.digests import blake2b
from grurt.errors import SnapshotError
from grurt.network.versions import SNAPSHOT_VERSION
from grurt.runtime.foreign import was_raised_below

if TYPE_CHECKING:
    from grurt.array_types import Floats
    from grurt.network.network import Network

_MAGIC = b"GRURTSN\0"
_HEADER = struct.Struct("<8sH6s16sQ")
_RESERVED = bytes(6)
_CHECKSUM_SIZE = 16

States: TypeAlias = "Mapping[str, Floats]"


def pack(fingerprint: bytes, steps_done: int, states: States) -> bytes:
    """Return a snapshot of some states, in the order of the mapping."""
    header = _HEADER.pack(_MAGIC, SNAPSHOT_VERSION, _RESERVED, fingerprint, steps_done)
    content = header + b"".join(state.astype("<f4").tobytes() for state in states.values())
    return content + _checksum(content)


def unpack(snapshot: bytes, network: Network, nonfinite: str) -> tuple[int, dict[str, Floats]]:
    """Return the number of timesteps and the states of a snapshot, checked to be whole and of the model.

    They are whatever a stream can reach: infinite or NaN as well, where sums have gone beyond float32.

    Raises
    ------
    SnapshotError
        If it is not a snapshot, is truncated or altered, is of a newer version, belongs to another model, or holds an
        input that was NaN or infinite, where that is to be refused.
    """
    fingerprint, shapes = network.fingerprint, network.state_shapes
    content, checksum = _split(snapshot)
    magic, version, reserved, owner, steps_done = _HEADER.unpack_from(content)
    if magic != _MAGIC:
        raise SnapshotError("restore: expected the bytes that Stream.snapshot returns, got something else")
    if version > SNAPSHOT_VERSION:
        raise SnapshotError(
            f"restore: the snapshot has format version {version}, newer than {SNAPSHOT_VERSION}: upgrade grurt"
        )
    if version != SNAPSHOT_VERSION or reserved != _RESERVED or checksum != _checksum(content):
        raise SnapshotError("restore: the snapshot is damaged: its checksum does not fit")
    if owner != fingerprint:
        raise SnapshotError(
            f"restore: the snapshot belongs to another model: expected fingerprint {fingerprint.hex()}, "
            f"got {owner.hex()}; load the model that it was taken from"
        )
    numbers = np.frombuffer(content, "<f4", offset=_HEADER.size).astype(np.float32)
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    if numbers.size != sum(sizes) or steps_done >= 1 << 62:
        raise SnapshotError("restore: the snapshot is damaged: its state does not have the model's size")
    parts = np.split(numbers, np.cumsum(sizes)[:-1]) if sizes else []
    states = {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
    if nonfinite == "refuse" and not all(
        np.isfinite(states[name]).all() for name in network.kept_inputs & states.keys()
    ):
        raise SnapshotError(
            "restore: the snapshot holds a NaN or an infinity among the inputs that a layer keeps, which only a stream "
            'with nonfinite="propagate" takes'
        )
    return steps_done, states


def _split(snapshot: bytes) -> tuple[bytes, bytes]:
    if not isinstance(snapshot, bytes | bytearray | memoryview):
        raise SnapshotError(f"restore: expected bytes, got {type(snapshot).__name__}")
    try:
        whole = bytes(snapshot)
    except ValueError as error:
        if was_raised_below(error):
            raise
        raise SnapshotError(f"restore: expected bytes that can be read: {error}") from None
    if len(whole) < _HEADER.size + _CHECKSUM_SIZE or (len(whole) - _HEADER.size - _CHECKSUM_SIZE) % 4:
        raise SnapshotError(f"restore: the snapshot is truncated: {len(whole)} bytes")
    return whole[:-_CHECKSUM_SIZE], whole[-_CHECKSUM_SIZE:]


def _checksum(content: bytes) -> bytes:
    return blake2b(content, digest_size=_CHECKSUM_SIZE).digest()
