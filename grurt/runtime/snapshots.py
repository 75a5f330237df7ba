r"""Snapshots of many streams of one model: their states side by side, and one checksum.

steps      int64 (n,)          timesteps of each stream since its last reset
states     uint8 (n, n_bytes)  what a snapshot of one stream holds of its state: see `grurt.runtime.snapshot`; of a
                               stream with a context the digest of that, and then the state
checksum   48 bytes            all numbers little-endian::

magic         8 bytes   b"GRURTSM\0"
version       uint16    1; 2 of streams with contexts
reserved      6 bytes   zero
fingerprint   16 bytes  of the model
checksum      16 bytes  BLAKE2b of everything before it, of the steps and of the states
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from grurt.errors import GrurtError, SnapshotError
from grurt.escaping import described
from grurt.kernels.sizes import F32_BYTES
from grurt.network.versions import snapshot_version
from grurt.runtime import arrays, snapshot
from grurt.runtime.snapshot import (
    STEPS_END,
    by_name,
    expect_kept_inputs,
    expect_label,
    label,
    size_of,
)
from grurt.runtime.stream_context import DIGEST_SIZE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.array_types import Floats
    from grurt.network.network import Network
    from grurt.runtime.stream_context import StreamContext

_MAGIC = b"GRURTSM\0"
_WHERE = "restore_many"
_EXPECTED = "what StreamPool.snapshot_many returns"
_LABEL_SIZE = 32
_SIZE = _LABEL_SIZE + 16


class Snapshots(NamedTuple):
    """The states of many streams, as `StreamPool.snapshot_many` returns them: three things to keep, together."""

    steps: NDArray[np.int64]
    """``(n,)``: timesteps of each stream since its last reset."""
    states: NDArray[np.uint8]
    """``(n, n_bytes)``: float32, little-endian, of each state in model order; in front of them, where streams have
    contexts, the digest of that."""
    checksum: bytes
    """Of which model and version the others are, and a digest of them all."""


def pack_many(
    network: Network, steps: NDArray[np.int64], states: Mapping[str, Floats], contexts: Sequence[StreamContext | None]
) -> Snapshots:
    """Return a snapshot of states ``(n, ...)``, in the order of the mapping, and of the names of contexts."""
    parts = [state.reshape(len(steps), math.prod(state.shape[1:])) for state in states.values()]
    numbers = parts[0] if len(parts) == 1 else np.concatenate([np.empty((len(steps), 0), np.float32), *parts], axis=1)
    content = numbers.astype("<f4", copy=False).view(np.uint8)
    if network.context_shapes:
        digests = b"".join(context.digest for context in contexts if context is not None)
        content = np.hstack([np.frombuffer(digests, np.uint8).reshape(len(steps), DIGEST_SIZE), content])
    version = snapshot_version(network.context_shapes)
    return Snapshots(steps, content, _sealed(label(_MAGIC, version, network.fingerprint), steps, content))


def unpack_many(
    saved: Snapshots, network: Network, nonfinite: str
) -> tuple[NDArray[np.int64], dict[str, Floats], list[bytes]]:
    """Return steps ``(n,)``, states ``(n, ...)`` and digests of contexts, checked as by `snapshot.unpack`.

    There are no digests if the network has no contexts.
    """
    parts = tuple(saved) if isinstance(saved, tuple | list) else ()
    if len(parts) != 3:
        raise SnapshotError(f"{_WHERE}: expected the three parts of a snapshot of many streams, got {described(saved)}")
    steps, content, seal = _taken(*parts)
    expect_label(
        _WHERE,
        seal,
        _MAGIC,
        network,
        expected=_EXPECTED,
        is_whole=seal == _sealed(seal[:_LABEL_SIZE], steps, content),
    )
    named = DIGEST_SIZE if network.context_shapes else 0
    n_bytes = named + F32_BYTES * size_of(network.state_shapes)
    if content.shape != (len(steps), n_bytes) or not ((steps >= 0) & (steps < STEPS_END)).all():
        raise SnapshotError(f"{_WHERE}: the snapshot is damaged: its states do not have the model's size")
    numbers = np.ascontiguousarray(content[:, named:]).view("<f4").astype(np.float32, copy=False)
    states = by_name(numbers, network.state_shapes)
    expect_kept_inputs(_WHERE, states, network, nonfinite)
    return steps, states, [row.tobytes() for row in content[:, :named]] if named else []


def _taken(steps: object, states: object, seal: object) -> tuple[NDArray[np.int64], NDArray[np.uint8], bytes]:
    """Return copies of the parts of a snapshot, which nobody else has."""
    if not isinstance(seal, bytes) or len(seal) != _SIZE:
        raise SnapshotError(f"{_WHERE}: expected a checksum of {_SIZE} bytes, got {described(seal)}")
    content = arrays.own_copy(states) if isinstance(states, np.ndarray) else None
    if content is None or content.dtype != np.uint8 or content.ndim != 2:
        raise SnapshotError(f"{_WHERE}: expected states as an array of uint8 (n, n_bytes), got {described(states)}")
    try:
        numbers = arrays.integers(_WHERE, steps, "steps")  # type: ignore[arg-type]
    except GrurtError as error:
        raise SnapshotError(str(error)) from None
    if numbers.ndim != 1:
        raise SnapshotError(f"{_WHERE}: expected steps of shape (n,), got {numbers.shape}")
    return numbers, content, seal


def _sealed(start: bytes, steps: NDArray[np.int64], states: NDArray[np.uint8]) -> bytes:
    return start + snapshot.checksum(start, steps.astype("<i8", copy=False).data, states.data)
