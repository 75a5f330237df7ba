"""What is measured: a keyed stream, and two that compute nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from pyspark.sql import functions as F  # noqa: N812 - everybody's name for it

import grurt
from grurt.runtime.snapshots import Snapshots
from grurt.spark import stream_gru
from grurt.spark.pool import BucketPool
from grurt.spark.processor import BucketProcessor

FEATURES = ["ax", "ay", "az", "gx", "gy", "gz"]
N_OUTPUTS = 4
ROW_BY_ROW = "PySpark, row by row, no state"


def model(hidden_size: int) -> grurt.Model:
    """Return a GRU of six inputs, and a head of four outputs."""
    rng = np.random.default_rng(0)
    layers = (
        grurt.GRU(name="gru", input_size=len(FEATURES), hidden_size=hidden_size),
        grurt.Linear(name="head", input_size=hidden_size, output_size=N_OUTPUTS),
    )
    weights = {
        f"{layer.name}.{name}": 0.1 * rng.normal(size=shape)
        for layer in layers
        for name, shape in layer.weight_shapes().items()
    }
    return grurt.Model(layers=layers, weights=weights)


class IdentityPool(BucketPool):
    """Answers with a row's own first numbers, and keeps as many bytes of state as the model would, untouched.

    They are random: zeros would be compressed to nothing on the way to the disk, which a model's states are not.
    """

    def begin(self, saved: Snapshots, n_streams: int) -> None:
        """Keep what was saved, and some numbers for new keys."""
        size = sum(int(np.prod(shape)) for shape in self.model.state_shapes.values())
        n_new = n_streams - len(saved.steps)
        states = np.random.default_rng(n_new).random((n_new, size), np.float32).view(np.uint8)
        self._states = np.concatenate([saved.states, states]) if saved.states.size else states
        self._steps = np.concatenate([saved.steps, np.zeros(n_new, np.int64)])

    def save(self, streams: Any) -> Snapshots:
        """Return what was kept."""
        return Snapshots(self._steps[streams], self._states[streams], b"")

    def run(self, streams: Any, inputs: Any, lengths: Any) -> dict[str, Any]:
        """Return the first numbers of each row."""
        return {self.model.outputs[0].name: np.ascontiguousarray(next(iter(inputs.values()))[:, :N_OUTPUTS])}


_identities: list[IdentityPool] = []


class IdentityProcessor(BucketProcessor):
    """A keyed stream whose pool computes nothing."""

    @property
    def pool(self) -> BucketPool:
        """Return the pool of this process."""
        if not _identities:
            _identities.append(IdentityPool(super().pool.model, "refuse"))
        return _identities[0]


class RowByRow:
    """What PySpark does by itself: rows in, rows out, no state."""

    def init(self, handle: Any) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is left."""

    def handleInputRows(self, key: Any, rows: Iterator[Any], timerValues: Any) -> Iterator[Any]:  # noqa: N802, N803
        """Return the first numbers of each row."""
        for frame in rows:
            numbers = frame[FEATURES[:N_OUTPUTS]].to_numpy(np.float32)
            yield pd.DataFrame({"device": frame["device"], "time": frame["time"], "y": list(numbers)})


def keyed(rows: Any, buckets: int, hidden_size: int) -> Any:
    """Return the answers of a keyed stream."""
    return stream_gru(rows, model(hidden_size), key="device", order="time", features=FEATURES, buckets=buckets)


def identity(rows: Any, buckets: int, hidden_size: int) -> Any:
    """Return what the same pipeline gives without a model."""
    with mock.patch("grurt.spark.streaming.BucketProcessor", IdentityProcessor):
        return keyed(rows, buckets, hidden_size)


def row_by_row(rows: Any, buckets: int, hidden_size: int) -> Any:
    """Return rows as PySpark hands them through a stateful operator by itself."""
    bucket = F.pmod(F.xxhash64("device"), F.lit(buckets)).cast("int")
    packed = rows.select(bucket.alias("bucket"), "device", "time", *FEATURES).groupBy("bucket")
    return packed.transformWithStateInPandas(
        RowByRow(), "device string, time timestamp, y array<float>", "Append", "None"
    )


CONTENDERS: dict[str, Callable[[Any, int, int], Any]] = {
    "grurt": keyed,
    "identity": identity,
    ROW_BY_ROW: row_by_row,
}
