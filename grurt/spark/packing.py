"""Rows packed by bucket on their way into the stateful operator, and answers unpacked on their way out.

PySpark hands rows to a stateful operator one by one, as tuples, and takes arrays from it number by number. So rows are
packed before: all those of a bucket in a partition as one record batch of Arrow, in a column of bytes. So are answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from grurt.errors import InputValueError
from grurt.spark.advance import answer_schema
from grurt.spark.ordering import beginnings
from grurt.spark.settings import KEY, ORDER

if TYPE_CHECKING:
    from grurt.spark.settings import Settings

ARROW_TYPES = {
    "string": pa.string(),
    "binary": pa.binary(),
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "timestamp": pa.timestamp("us", "UTC"),
    "timestamp_ntz": pa.timestamp("us"),
}
"""Of the types of Spark that a key or an order may have."""
BUCKET, LATEST, ROWS, ANSWERS = "bucket", "latest", "rows", "answers"
PACKED = f"{BUCKET} int, {LATEST} bigint, {ROWS} binary"
PACKED_ANSWERS = f"{ANSWERS} binary"
_PACKED = pa.schema([(BUCKET, pa.int32()), (LATEST, pa.int64()), (ROWS, pa.binary())])
MAX_ROWS = 1 << 18
"""Rows of a partition that are packed together."""
MAX_BYTES = 1 << 26
LATEST_INTEGER = 4 * 10**12
_LATEST_TIMESTAMP = 5_680_281_600_000_000
"""The beginning of 2150: event time goes no further."""


def pack(batches: Iterable[Any], schema: pa.Schema, settings: Settings) -> Iterator[Any]:
    """Yield one row for each bucket of some rows: its number, its latest order value, and its rows, in their order.

    Parameters
    ----------
    batches
        Record batches: the number of a bucket, and then the columns of ``schema``, of the types that Spark gives them.
    schema
        What they are packed as.
    settings
        Of the stream.
    """
    gathered: list[Any] = []
    for batch in batches:
        gathered.append(batch)
        full = sum(map(len, gathered)) >= MAX_ROWS or sum(part.nbytes for part in gathered) >= MAX_BYTES
        if full:
            yield _packed(gathered, schema, settings)
            gathered = []
    if gathered:
        yield _packed(gathered, schema, settings)


def _packed(batches: list[Any], schema: pa.Schema, settings: Settings) -> Any:
    table = pa.Table.from_batches(batches)
    buckets = table[BUCKET].to_numpy()
    by_bucket = np.argsort(buckets, kind="stable")
    rows = canonical(table, schema).take(pa.array(by_bucket)).combine_chunks()
    buckets = buckets[by_bucket]
    begins = beginnings(buckets)
    sizes = np.diff(begins, append=len(buckets))
    whole = pa.RecordBatch.from_arrays([column.combine_chunks() for column in rows.columns], schema=schema)
    packed = [
        whole.slice(begin, size).serialize().to_pybytes()
        for begin, size in zip(begins.tolist(), sizes.tolist(), strict=True)
    ]
    latest = _latest(rows, begins, settings) if settings.uses_watermark else pa.nulls(len(begins), pa.int64())
    columns = [pa.array(buckets[begins], pa.int32()), latest, pa.array(packed, pa.binary())]
    return pa.RecordBatch.from_arrays(columns, schema=_PACKED)


def canonical(table: Any, schema: pa.Schema) -> Any:
    """Return the columns of a schema with its types, whatever Arrow types Spark has given them."""
    columns = []
    for field in schema:
        column = table[field.name]
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())
        columns.append(column.cast(field.type))
    return pa.table(columns, schema=schema)


def packed(table: Any) -> bytes:
    """Return a table as bytes."""
    (batch,) = table.combine_chunks().to_batches()
    content: bytes = batch.serialize().to_pybytes()
    return content


def unpacked(parts: Iterable[bytes], schema: pa.Schema) -> Any:
    """Return the rows of packed tables as one table."""
    batches = [pa.ipc.read_record_batch(pa.py_buffer(part), schema) for part in parts]
    return pa.Table.from_batches(batches, schema)


def unpack_answers(batches: Iterable[Any], settings: Settings) -> Iterator[Any]:
    """Yield the answers of buckets as rows with the user's names and types."""
    for batch in batches:
        answers = unpacked(batch[ANSWERS].to_pylist(), answer_schema(settings))
        yield from given_out(answers, settings).combine_chunks().to_batches()


def _latest(rows: Any, begins: Any, settings: Settings) -> Any:
    """Return the latest order value of each bucket; null where it has none."""
    if not len(begins):
        return pa.array([], pa.int64())
    smallest = np.iinfo(np.int64).min
    orders = rows[ORDER].fill_null(smallest).to_numpy()
    latest = np.maximum.reduceat(orders, begins)
    if settings.order[0].kind != "integer":
        latest = np.minimum(latest, _LATEST_TIMESTAMP)
    elif latest.max() > LATEST_INTEGER:
        raise InputValueError(
            f"stream_gru: order {settings.order[0].name!r}: with lateness= or idle_timeout=, expected integers up to "
            f"{LATEST_INTEGER:,}, such as milliseconds since 1970, got {latest.max():,}: cast them to a timestamp"
        )
    return pa.array(latest, mask=latest == smallest)


def given_out(answers: Any, settings: Settings) -> Any:
    """Return answers as a table with the user's names and types."""
    columns, names = [], []
    own = {KEY: settings.key, **dict(zip(settings.order_names, settings.order, strict=True))}
    for name, column in zip(answers.column_names, answers.columns, strict=True):
        names.append(own[name].name if name in own else name)
        columns.append(column.cast(ARROW_TYPES[own[name].spark_type]) if name in own else column)
    return pa.table(columns, names)


def output_type(settings: Settings) -> str:
    """Return what is given out, as Spark writes it."""
    fields = [f"`{column.name}` {column.spark_type}" for column in (settings.key, *settings.order)]
    fields += [f"`{port.name}` {'float' if port.size == 1 else 'array<float>'}" for port in settings.outputs]
    return ", ".join([*fields, "fault string"])
