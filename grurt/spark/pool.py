"""What runs the model for keys: streams, in which a worker advances its buckets, made once in a process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from grurt.runtime.context import refuses
from grurt.runtime.pool import StreamPool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from grurt.array_types import Array
    from grurt.lowering.plan import Plan
    from grurt.model import Model
    from grurt.runtime.context import Nonfinite
    from grurt.runtime.snapshots import Snapshots

_FRESH = 0
"""A stream that is never advanced: what others are copied from when they begin."""
_SMALLEST = 256


class Pool(ABC):
    """Runs a model for keys, numbered from 0.

    Parameters
    ----------
    model
        What is run.
    nonfinite
        What a NaN does: see `Model.stream`.
    """

    def __init__(self, model: Model, nonfinite: Nonfinite) -> None:
        self.model = model
        self._nonfinite: Nonfinite = nonfinite
        self.refuse_nonfinite = refuses(nonfinite)

    @property
    def plan(self) -> Plan:
        """What is run."""
        return self.model.plan

    @abstractmethod
    def begin(self, saved: Snapshots, n_streams: int) -> None:
        """Take the first keys to states that were saved, and others, up to as many as are wanted, to the initial one.

        Raises SnapshotError if the states are not the model's.
        """

    @abstractmethod
    def reset(self, streams: NDArray[np.int64]) -> None:
        """Take keys to the model's initial state."""

    @abstractmethod
    def save(self, streams: NDArray[np.int64]) -> Snapshots:
        """Return the states of keys."""

    @abstractmethod
    def run(
        self, streams: NDArray[np.int64], inputs: Mapping[str, Array], lengths: NDArray[np.int64]
    ) -> dict[str, Array]:
        """Advance keys by as many timesteps as their lengths say; return the answers by the model's names."""


class BucketPool(Pool):
    """Streams for the keys of one bucket at a time."""

    def __init__(self, model: Model, nonfinite: Nonfinite) -> None:
        super().__init__(model, nonfinite)
        self._pool = StreamPool(model, _SMALLEST, nonfinite=nonfinite)

    def begin(self, saved: Snapshots, n_streams: int) -> None:
        n_saved = len(saved.steps)
        if n_streams >= len(self._pool):
            self._pool = StreamPool(self.model, 2 * n_streams + 1, nonfinite=self._nonfinite)
        if saved.checksum:
            self._pool.restore_many(_ids(np.arange(n_saved)), saved)
            self.reset(np.arange(n_saved, n_streams))
        else:
            self.reset(np.arange(n_streams))

    def reset(self, streams: NDArray[np.int64]) -> None:
        if len(streams):
            self._pool.copy(np.full(len(streams), _FRESH), _ids(streams))

    def restore(self, stream: int, saved: bytes) -> None:
        """Take a stream to what a snapshot of a single one holds; raises SnapshotError if that is not the model's."""
        self._pool.restore(int(_ids(stream)), saved)

    def snapshot(self, stream: int) -> bytes:
        """Return the snapshot of a single stream."""
        return self._pool.snapshot(int(_ids(stream)))

    def save(self, streams: NDArray[np.int64]) -> Snapshots:
        return self._pool.snapshot_many(_ids(streams))

    def run(
        self, streams: NDArray[np.int64], inputs: Mapping[str, Array], lengths: NDArray[np.int64]
    ) -> dict[str, Array]:
        answers = self._pool.run_ragged(_ids(streams), inputs, lengths)
        return answers if isinstance(answers, dict) else {self.model.outputs[0].name: answers}


def _ids(streams: Any) -> Any:
    """Return where streams are in the pool: behind the one that is never advanced."""
    return streams + 1
