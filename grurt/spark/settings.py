"""What a keyed stream is asked to do: the columns it reads and writes, and its rules; sent to workers as it stands."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
import pyarrow as pa

KeyKind: TypeAlias = Literal["string", "binary", "integer"]
OrderKind: TypeAlias = Literal["timestamp", "timestamp_ntz", "integer"]
Ties: TypeAlias = Literal["skip", "keep"]
Faults: TypeAlias = Literal["report", "raise"]
ModelChange: TypeAlias = Literal["raise", "reset"]
Clock: TypeAlias = Literal["event", "processing"]

ARROW_KEYS: dict[KeyKind, pa.DataType] = {"string": pa.string(), "binary": pa.binary(), "integer": pa.int64()}
KEY, ORDER, TIE, FAULT = "key", "order", "tie", "fault"
"""Columns of rows on their way: a key, its order value, the second one, and why there is no answer."""


class Column(msgspec.Struct, frozen=True):
    """A column of the user's.

    Parameters
    ----------
    name
        Its name.
    kind
        How it is computed with.
    spark_type
        Its type in Spark, as it is given out again.
    """

    name: str
    kind: str
    spark_type: str


class Port(msgspec.Struct, frozen=True):
    """An input or output of the model.

    Parameters
    ----------
    name
        Its name in the model.
    shape
        The frame of a timestep; ``()`` of a token.
    tokens
        Whether it is a token.
    size
        Numbers of a frame; of a token the size of the vocabulary.
    """

    name: str
    shape: tuple[int, ...]
    tokens: bool
    size: int


class Settings(msgspec.Struct, frozen=True):
    """What is done with the rows of a key. Times are in the units of the order column, microseconds of a timestamp.

    Parameters
    ----------
    key
        Column of the key.
    order
        One or two columns of order values: the second tells equal values of the first apart.
    inputs, outputs
        Of the model.
    n_buckets
        Over how many buckets keys are spread.
    fingerprint
        Of the model.
    lateness
        How long rows are held back for earlier ones; None: not at all.
    idle
        After how long without a row a key begins anew, in milliseconds where the clock is that of processing; None:
        never.
    idle_clock
        Which clock that is.
    ties
        What becomes of rows whose order value their key has had already.
    faults
        What becomes of rows that cannot be computed with.
    on_model_change
        What becomes of the states of another model.
    """

    key: Column
    order: tuple[Column, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    n_buckets: int
    fingerprint: bytes
    lateness: int | None = None
    idle: int | None = None
    idle_clock: Clock = "event"
    ties: Ties = "skip"
    faults: Faults = "report"
    on_model_change: ModelChange = "raise"

    @property
    def order_names(self) -> tuple[str, ...]:
        """Names of the order columns of rows on their way."""
        return (ORDER, TIE)[: len(self.order)]

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the columns that hold the model's inputs on their way."""
        return tuple(f"input_{index}" for index in range(len(self.inputs)))

    @property
    def row_schema(self) -> pa.Schema:
        """What rows are on their way: a list of float32 for each input, or an integer."""
        fields = [pa.field(KEY, ARROW_KEYS[self.key.kind])]  # type: ignore[index]
        fields += [pa.field(name, pa.int64()) for name in self.order_names]
        for name, port in zip(self.input_names, self.inputs, strict=True):
            fields.append(pa.field(name, pa.int64() if port.tokens else pa.list_(pa.float32())))
        return pa.schema(fields)

    @property
    def uses_watermark(self) -> bool:
        """Whether anything depends on how far event time has come."""
        return self.lateness is not None or (self.idle is not None and self.idle_clock == "event")
