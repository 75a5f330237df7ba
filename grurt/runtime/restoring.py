"""Takes streams to what was saved of them: their states, and the contexts that they had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from grurt.errors import SnapshotError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from grurt.array_types import Floats
    from grurt.network.network import Network
    from grurt.runtime.context import Nonfinite
    from grurt.runtime.snapshot import Saved
    from grurt.runtime.states import States
    from grurt.runtime.stream_context import StreamContext


def restore(states: States, slot: int, saved: Saved, network: Network, nonfinite: Nonfinite) -> None:
    """Take a stream to what a snapshot holds.

    Raises
    ------
    SnapshotError
        If it was taken from a stream with another context, and does not hold that. Nothing has changed then.
    """
    context = states.context(slot)
    if context is None or context.digest == saved.digest:
        states.write_all(slot, saved.steps, saved.states)
    else:
        states.write_all(slot, saved.steps, saved.states, _context_of(saved, context, network, nonfinite))


def _context_of(saved: Saved, own: StreamContext, network: Network, nonfinite: Nonfinite) -> StreamContext:
    from grurt.runtime.making_contexts import make_context

    if saved.context_values is None:
        raise _other_context("restore", own.digest, saved.digest)
    context = make_context(network, saved.context_values, nonfinite)
    if context.digest != saved.digest:
        raise SnapshotError("restore: the snapshot is damaged: the digest of its context does not fit")
    return context


def restore_many(
    states: States,
    slots: NDArray[np.int64],
    steps: NDArray[np.int64],
    values: Mapping[str, Floats],
    digests: Sequence[bytes],
) -> None:
    """Take streams to states that were saved together, if they have the contexts that these have had.

    Raises
    ------
    SnapshotError
        If one of them has another one. Nothing has changed then.
    """
    for slot, digest in zip(slots.tolist(), digests, strict=False):
        own = states.contexts[slot]
        if own is not None and own.digest != digest:
            raise _other_context("restore_many", own.digest, digest)
    states.write_many(slots, steps, values)


def _other_context(where: str, expected: bytes, found: bytes) -> SnapshotError:
    return SnapshotError(
        f"{where}: the snapshot is of a stream with another context: expected digest {expected.hex()}, got "
        f"{found.hex()}; give the stream that context first, or restore what snapshot(with_context=True) returns"
    )
