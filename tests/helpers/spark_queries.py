"""Keyed streams that are run on Spark, and the rows that they are given."""

from __future__ import annotations

import datetime
import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from keyed_rows import Row
from pyspark.sql import functions as F  # noqa: N812 - everybody's name for it

import grurt
from grurt.spark import stream_gru

FEATURES = ["ax", "ay", "az"]
DAY = datetime.datetime(2024, 3, 10, tzinfo=datetime.UTC)
MICROSECONDS = int(DAY.timestamp()) * 1_000_000


def rows_of(n: int, n_keys: int, rng: np.random.Generator) -> list[Row]:
    """Return rows of devices, a second apart, in order."""
    xs = rng.normal(size=(n, 3)).astype(np.float32)
    keys = [f"device-{i}" for i in rng.integers(n_keys, size=n)]
    return [Row(key, (MICROSECONDS + 1_000_000 * i,), {"x": xs[i]}) for i, key in enumerate(keys)]


_WRITTEN = itertools.count()


def write(folder: Path, name: str, rows: list[Row], **columns: Any) -> None:
    """Write rows as a parquet file, in their order; other columns in place of those that they have, too."""
    folder.mkdir(exist_ok=True)
    table = {
        "device": pa.array([row.key for row in rows]),
        "time": pa.array([row.order[0] for row in rows], pa.timestamp("us", "UTC")),
        **{name: pa.array([float(row.inputs["x"][i]) for row in rows]) for i, name in enumerate(FEATURES)},
    }
    path = folder / f"{name}.parquet"
    pq.write_table(pa.table({**table, **columns}), path)
    seconds = MICROSECONDS // 10**6 + next(_WRITTEN)  # Spark reads files in the order in which they were written
    os.utime(path, (seconds, seconds))


def source(spark: Any, folder: Path, per_batch: int = 1) -> Any:
    """Return a stream of the files in a folder, in the order in which they were written, so many in a micro-batch."""
    schema = spark.read.parquet(str(folder)).schema
    return spark.readStream.schema(schema).option("maxFilesPerTrigger", per_batch).parquet(str(folder))


def run(spark: Any, folder: Path, model: Any, out: Path, *, per_batch: int = 1, **rules: Any) -> list[Any]:
    """Run a stream over all files that there are; return the progress of each micro-batch."""
    answers = stream_gru(
        source(spark, folder, per_batch), model, key="device", order="time", features=FEATURES, **rules
    )
    answers = answers.observe("rows", F.count("*").alias("all"), F.count("fault").alias("without_answer"))
    writer = answers.writeStream.format("parquet").option("path", str(out / "answers"))
    query = writer.option("checkpointLocation", str(out / "checkpoint")).trigger(availableNow=True).start()
    query.awaitTermination()
    if query.exception() is not None:
        raise query.exception()
    return list(query.recentProgress)


Found = dict[tuple[Any, tuple[int, ...]], list[np.ndarray]]


def answers_of(frame: Any) -> tuple[Found, list[tuple[Any, int, str]]]:
    """Return answers as `keyed_rows.plain_loop` has them, and the rows without one."""
    found: Found = {}
    faults = []
    for key, time, y, fault in frame.selectExpr("device", "unix_micros(time)", "y", "fault").collect():
        if fault is None:
            found.setdefault((key, (time,)), []).append(np.array(y, np.float32))
        else:
            faults.append((key, time, fault))
    return found, faults


def states_of(model: grurt.Model, rows: list[Row]) -> dict[Any, bytes]:
    """Return the snapshots of single streams after all rows."""
    streams: dict[Any, grurt.Stream] = {}
    for row in sorted(rows, key=lambda row: row.order):
        streams.setdefault(row.key, model.stream()).step(row.inputs["x"])
    return {key: stream.snapshot() for key, stream in streams.items()}
