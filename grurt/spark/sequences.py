"""Whole sequences of keys, for models that cannot answer to a timestep before they know the later ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from grurt.network.frames import frames_of
from grurt.runtime.batch import Batch
from grurt.runtime.snapshots import Snapshots
from grurt.spark.ordering import beginnings, codes_of
from grurt.spark.pool import Pool
from grurt.spark.settings import KEY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from grurt.array_types import Array

_MOST_TIMESTEPS = 1 << 16
"""Of the sequences that are run together, unless a single one has more."""


class SequencePool(Pool):
    """Runs sequences from beginning to end; between two calls of `run`, nothing is kept."""

    def begin(self, saved: Snapshots, n_streams: int) -> None:
        """Do nothing: a sequence begins at the model's initial state."""

    def reset(self, streams: NDArray[np.int64]) -> None:
        """Do nothing: what begins anew is a sequence of its own."""

    def save(self, streams: NDArray[np.int64]) -> Snapshots:
        """Return that there are no states."""
        return Snapshots(np.zeros(len(streams), np.int64), np.zeros((len(streams), 0), np.uint8), b"")

    def run(
        self, streams: NDArray[np.int64], inputs: Mapping[str, Array], lengths: NDArray[np.int64]
    ) -> dict[str, Array]:
        """Run sequences that lie one after the other; return the answers by the model's names, a row to each timestep.

        An output that is one vector of a whole sequence is the answer to its last timestep, and NaN at the others.
        """
        frames = frames_of(self.model)
        rows = [frames.inputs[port.name].to_vectors(inputs[port.name]) for port in self.model.inputs]
        found = [np.full((int(lengths.sum()), port.size), np.nan, np.float32) for port in self.plan.outputs]
        begins = np.cumsum(lengths) - lengths
        for together in _even_enough(lengths):
            places = begins[together, np.newaxis] + np.arange(lengths[together[0]])
            ends = (begins + lengths)[together]
            batch = Batch(self.model, self._nonfinite, len(places), places.shape[1], lengths[together])
            batch.run([array[np.minimum(places, ends[:, np.newaxis] - 1)] for array in rows], {})
            is_there = places < ends[:, np.newaxis]
            for port, answers, output in zip(self.plan.outputs, found, batch.outputs, strict=True):
                if port.single:
                    answers[ends - 1] = output
                else:
                    answers[places[is_there]] = output[is_there]
        own = zip(frames.outputs.items(), found, strict=True)
        return {name: frame.from_vectors(answers) for (name, frame), answers in own}


def _even_enough(lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield sequences that are run together, the longest first, so many that they are no more than fit."""
    longest_first = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(lengths):
        stop = start + max(1, _MOST_TIMESTEPS // int(lengths[longest_first[start]]))
        yield longest_first[start:stop]
        start = stop


def with_whole_keys(batches: Iterable[Any]) -> Iterator[Any]:
    """Yield the rows of sorted batches as tables in which no key is begun that goes on in the next one."""
    waiting: list[Any] = []
    for batch in batches:
        if not len(batch):
            continue
        last = int(beginnings(codes_of(batch.column(KEY)))[-1])
        if last or (waiting and waiting[-1].column(KEY)[-1] != batch.column(KEY)[0]):
            yield pa.Table.from_batches([*waiting, batch.slice(0, last)])
            waiting = []
        waiting.append(batch.slice(last))
    if waiting:
        yield pa.Table.from_batches(waiting)
