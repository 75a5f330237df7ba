"""States out of a checkpoint: those of every key, in the form in which a stream elsewhere takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from grurt.errors import SnapshotError
from grurt.spark.bucket import Header, decode, read_header
from grurt.spark.packing import ARROW_TYPES
from grurt.spark.processor import SNAPSHOT, STATE
from grurt.spark.settings import KEY, ORDER, TIE, Column, Settings
from grurt.spark.shipping import ModelOrPath, model_source, opened
from grurt.spark.worker import pool_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from grurt.spark.worker import ModelSource

_WHERE = "read_states"
_TYPES = {"string": "string", "binary": "binary", "integer": "bigint"}


def read_states(
    spark: SparkSession, checkpoint: str, model: ModelOrPath, *, operator: int = 0, ship: bool = True
) -> DataFrame:
    """Return the states that a checkpoint of `stream_gru` holds after its last micro-batch: a row for every key.

    Parameters
    ----------
    spark
        A session.
    checkpoint
        The query's ``checkpointLocation``. The query may run meanwhile.
    model
        The model, or the path of its file.
    operator
        Which of the query's stateful operators, if it has several.
    ship
        Whether workers are sent the model: see `stream_gru`.

    Returns
    -------
    A DataFrame of ``key``; ``order``, and ``tie`` where there are two, the order values of the last row that was
    answered; ``steps``, timesteps since the state began; and ``snapshot``, bytes that `Stream.restore` takes, and
    `stream_gru` as its ``initial_state``. Rows that are held back are not in it.

    Raises
    ------
    SnapshotError
        If there are no states, or they are of another model.
    """
    network = opened(model)
    stored = spark.read.format("statestore").option("stateVarName", STATE).option("operatorId", operator)
    blobs = stored.load(checkpoint).select("value.blob")
    first = blobs.head(1)
    if not first:
        raise SnapshotError(f"{_WHERE}: {checkpoint}: expected the state of a keyed stream, got no key")
    header = read_header(bytes(first[0][0]), _WHERE)
    if header.fingerprint != network.fingerprint:
        raise SnapshotError(
            f"{_WHERE}: {checkpoint}: expected states of the model with fingerprint {network.fingerprint.hex()}, got "
            f"those of {header.fingerprint.hex()}: read them with the model that wrote them"
        )
    settings = _settings(header)
    source = model_source(_WHERE, spark, network, model, "propagate", ship=ship)
    fields = [f"{KEY} {settings.key.spark_type}"]
    fields += [f"{name} {column.spark_type}" for name, column in zip((ORDER, TIE), settings.order, strict=False)]
    schema = ", ".join([*fields, "steps bigint", f"{SNAPSHOT} binary"])
    return blobs.mapInArrow(partial(_unpacked, settings=settings, source=source), schema)


def _settings(header: Header) -> Settings:
    """Return settings with which the buckets of a checkpoint can be read."""
    orders = tuple(
        Column(name, kind, _TYPES.get(kind, kind)) for name, kind in zip((ORDER, TIE), header.order_kinds, strict=False)
    )
    key = Column(KEY, header.key_kind, _TYPES[header.key_kind])
    return Settings(key, orders, (), (), header.n_buckets, header.fingerprint)


def _unpacked(batches: Iterable[Any], settings: Settings, source: ModelSource) -> Iterator[Any]:
    """Yield the keys of buckets, one bucket after the other."""
    pool = pool_of(source)
    for batch in batches:
        for blob in batch["blob"].to_pylist():
            bucket = decode(blob, settings, read_header(blob, _WHERE).number, with_held=False)
            pool.begin(bucket.states, len(bucket.keys))
            columns = [bucket.keys]
            for values, column in zip(bucket.last.T, settings.order, strict=True):
                seen = values != np.iinfo(np.int64).min
                columns.append(pa.array(values, mask=~seen).cast(ARROW_TYPES[column.spark_type]))
            snapshots = [pool.snapshot(slot) for slot in range(len(bucket.keys))]
            columns += [pa.array(bucket.states.steps), pa.array(snapshots, pa.binary())]
            names = [KEY, *(ORDER, TIE)[: len(settings.order)], "steps", SNAPSHOT]
            yield pa.RecordBatch.from_arrays(columns, names)
