r"""Snapshots: the state of a stream as bytes.

All numbers are little-endian::

    magic         8 bytes   b"GRURTSN\0"
    version       uint16    1; 2 of a stream with a context
    reserved      6 bytes   zero
    fingerprint   16 bytes  of the model
    steps done    uint64    timesteps since the last reset
    context       16 bytes  of version 2: the digest of the context, see `grurt.StreamContext`
    states        float32   of each layer in model order, every one in row-major order: a GRU's (hidden_size,), or
                            (positions, hidden_size) on a grid; a Conv1d's ((kernel_size - 1) * dilation, input_size),
                            oldest timestep first; those of a step program in its order, of its shapes
    context                 of version 2, or left out: what the context is made of, in the model's order; first how many
                            places there are, uint32, along each axis that is open, then all numbers, float32
    checksum      16 bytes  BLAKE2b of everything before it
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from grurt.digests import blake2b
from grurt.errors import SnapshotError
from grurt.kernels.sizes import F32_BYTES
from grurt.network.versions import SNAPSHOT_VERSION, snapshot_version
from grurt.runtime import arrays
from grurt.runtime.foreign import was_raised_below
from grurt.runtime.stream_context import DIGEST_SIZE

if TYPE_CHECKING:
    from grurt.array_types import Floats
    from grurt.network.layers.base import Shape
    from grurt.network.network import Network
    from grurt.runtime.stream_context import StreamContext

_MAGIC = b"GRURTSN\0"
_LABEL = struct.Struct("<8sH6s16s")
_STEPS = struct.Struct("<Q")
_RESERVED = bytes(6)
_HEADER_SIZE = _LABEL.size + _STEPS.size
_CHECKSUM_SIZE = 16
_PLACES_BYTES = 4
STEPS_END = 1 << 62
"""No stream has come so far."""

States: TypeAlias = "Mapping[str, Floats]"


@dataclass(frozen=True)
class Saved:
    """What a snapshot holds of a stream.

    Parameters
    ----------
    steps
        Timesteps since the last reset.
    states
        The states by name.
    digest
        That of the stream's context; empty if it had none.
    context_values
        What that was made of; None if the snapshot does not hold it.
    """

    steps: int
    states: States
    digest: bytes = b""
    context_values: Mapping[str, Floats] | None = None


def pack(
    network: Network, steps_done: int, states: States, context: StreamContext | None, *, with_context: bool = False
) -> bytes:
    """Return a snapshot of some states, in the order of the mapping; with what the context is made of, or its name."""
    version = snapshot_version(network.context_shapes)
    parts = [label(_MAGIC, version, network.fingerprint), _STEPS.pack(steps_done)]
    if context is not None:
        parts.append(context.digest)
    parts += [state.astype("<f4").tobytes() for state in states.values()]
    if context is not None and with_context:
        places = [context.values[name].shape[axis] for name, (axis, _) in network.open_contexts.items()]
        parts += [np.array(places, "<u4").tobytes()]
        parts += [array.astype("<f4").tobytes() for array in context.values.values()]
    content = b"".join(parts)
    return content + checksum(content)


def as_single(labelled: bytes, steps_done: int, content: bytes) -> bytes:
    """Return a snapshot that stands for itself of one stream of a snapshot of many.

    Parameters
    ----------
    labelled
        What begins with the `label` of the many.
    content
        What follows the number of timesteps.
    """
    _, version, _, fingerprint = _LABEL.unpack_from(labelled)
    whole = label(_MAGIC, version, fingerprint) + _STEPS.pack(steps_done) + content
    return whole + checksum(whole)


def unpack(snapshot: bytes, network: Network, nonfinite: str) -> Saved:
    """Return what a snapshot holds, checked to be whole and of the model.

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
        network,
        expected="the bytes that Stream.snapshot returns",
        is_whole=found == checksum(content),
    )
    (steps_done,) = _STEPS.unpack_from(content, _LABEL.size)
    begin = _HEADER_SIZE + (DIGEST_SIZE if network.context_shapes else 0)
    end = begin + F32_BYTES * size_of(network.state_shapes)
    if len(content) < end or steps_done >= STEPS_END or (len(content) > end and not network.context_shapes):
        raise SnapshotError("restore: the snapshot is damaged: its state does not have the model's size")
    states = by_name(_floats(content[begin:end]), network.state_shapes)
    expect_kept_inputs("restore", states, network, nonfinite)
    context_values = _context_values(content[end:], network) if len(content) > end else None
    return Saved(steps_done, states, content[_HEADER_SIZE:begin], context_values)


def fingerprint_of(snapshot: bytes) -> bytes:
    """Return the fingerprint of the model of which a snapshot says to be, unchecked; b"" of what is too short."""
    return bytes(_LABEL.unpack_from(snapshot)[3]) if len(snapshot) >= _LABEL.size else b""


def _context_values(content: bytes, network: Network) -> dict[str, Floats]:
    """Return what a context is made of: how many places open axes have, and all its numbers."""
    shapes, opened = dict(network.context_shapes), network.open_contexts
    begin = _PLACES_BYTES * len(opened)
    places = np.frombuffer(content[:begin], "<u4").tolist()
    for (name, (axis, _)), size in zip(opened.items(), places, strict=False):
        shapes[name] = (*shapes[name][:axis], min(size, shapes[name][axis]), *shapes[name][axis + 1 :])
    if len(content) != begin + F32_BYTES * size_of(shapes):
        raise SnapshotError("restore: the snapshot is damaged: its context does not have the model's size")
    return by_name(_floats(content[begin:]), shapes)


def _floats(content: bytes) -> Floats:
    return np.frombuffer(content, "<f4").astype(np.float32)


def label(magic: bytes, version: int, fingerprint: bytes) -> bytes:
    """Return what a snapshot begins with: of what kind it is, of what version, and of what model."""
    return _LABEL.pack(magic, version, _RESERVED, fingerprint)


def expect_label(where: str, content: bytes, magic: bytes, network: Network, *, expected: str, is_whole: bool) -> None:
    """Raise SnapshotError unless a snapshot begins with that `label`, and is whole: its checksum fits."""
    found, version, reserved, owner = _LABEL.unpack_from(content)
    if found != magic:
        raise SnapshotError(f"{where}: expected {expected}, got something else")
    if version > SNAPSHOT_VERSION:
        raise SnapshotError(
            f"{where}: the snapshot has format version {version}, newer than {SNAPSHOT_VERSION}: upgrade grurt"
        )
    if not version > 0 or reserved != _RESERVED or not is_whole:
        raise SnapshotError(f"{where}: the snapshot is damaged: its checksum does not fit")
    if owner != network.fingerprint:
        raise SnapshotError(
            f"{where}: the snapshot belongs to another model: expected fingerprint {network.fingerprint.hex()}, "
            f"got {owner.hex()}; load the model that it was taken from"
        )
    if version != snapshot_version(network.context_shapes):
        raise SnapshotError(f"{where}: the snapshot is damaged: the model's are not of version {version}")


def expect_kept_inputs(where: str, states: States, network: Network, nonfinite: str) -> None:
    """Raise SnapshotError if a layer keeps an input that was NaN or infinite, where that is to be refused."""
    if nonfinite == "refuse" and not all(
        arrays.are_finite(states[name]) for name in network.kept_inputs & states.keys()
    ):
        raise SnapshotError(
            f"{where}: the snapshot holds a NaN or an infinity among the inputs that a layer keeps, which only a "
            'stream with nonfinite="propagate" takes'
        )


def size_of(shapes: Mapping[str, Shape]) -> int:
    """Return how many numbers arrays of some shapes are."""
    return sum(map(math.prod, shapes.values()))


def by_name(numbers: Floats, shapes: Mapping[str, Shape]) -> dict[str, Floats]:
    """Return the arrays of some shapes, ``(..., *shape)``, that lie one after the other, ``(..., size)``."""
    found, start = {}, 0
    for name, shape in shapes.items():
        end = start + math.prod(shape)
        found[name] = numbers[..., start:end].reshape((*numbers.shape[:-1], *shape))
        start = end
    return found


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
