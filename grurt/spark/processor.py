"""The stateful operator: one bucket, its bytes in Spark's state store, and its rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from grurt.errors import InputValueError
from grurt.escaping import described
from grurt.spark.advance import Moment, advance, next_call
from grurt.spark.bucket import NO_TIMER, Bucket, decode, empty, encode
from grurt.spark.keys import looked_up
from grurt.spark.packing import ANSWERS, ROWS, packed, unpacked
from grurt.spark.settings import KEY
from grurt.spark.worker import pool_of

if TYPE_CHECKING:
    from grurt.spark.pool import BucketPool
    from grurt.spark.settings import Settings
    from grurt.spark.worker import ModelSource

STATE = "bucket"
SNAPSHOT = "snapshot"
_SMALLEST = np.iinfo(np.int64).min


class BucketProcessor:
    """What PySpark's `StatefulProcessor` is, for the buckets of a keyed stream.

    Parameters
    ----------
    settings
        The rules.
    source
        The model.
    """

    def __init__(self, settings: Settings, source: ModelSource) -> None:
        self._settings = settings
        self._source = source
        self._per_ms = 1 if settings.order[0].kind == "integer" or settings.idle_clock == "processing" else 1000

    def init(self, handle: Any) -> None:
        """Take the handle to the state store."""
        self._handle = handle
        self._state = handle.getValueState(STATE, "blob binary")

    def close(self) -> None:
        """Nothing is left to close: the pool stays for the next batch."""

    def handleInputRows(self, key: Any, rows: Iterator[Any], timerValues: Any) -> Iterator[Any]:  # noqa: N802, N803
        """Answer the rows of a bucket that have come."""
        parts = [part for frame in rows for part in frame[ROWS]]
        yield from self._advance(key[0], unpacked(parts, self._settings.row_schema), timerValues, fired=False)

    def handleExpiredTimer(self, key: Any, timerValues: Any, expiredTimerInfo: Any) -> Iterator[Any]:  # noqa: N802, N803
        """Answer rows that are held back no longer, and forget keys that have been idle for too long."""
        yield from self._advance(key[0], self._settings.row_schema.empty_table(), timerValues, fired=True)

    def handleInitialState(self, key: Any, initialState: Any, timerValues: Any) -> None:  # noqa: N802, N803
        """Take keys to the states that they begin with."""
        if not len(initialState):
            return
        given = unpacked(initialState[ROWS], initial_schema(self._settings)).combine_chunks()
        moment = self._moment(timerValues)
        self._keep(begun(self._bucket(key[0]), given, moment, self._settings, self.pool), moment, fired=False)

    @property
    def pool(self) -> BucketPool:
        """What runs the model."""
        return pool_of(self._source)

    def _advance(self, number: int, new: Any, timer_values: Any, *, fired: bool) -> Iterator[Any]:
        moment = self._moment(timer_values)
        answers, bucket = advance(self._bucket(number), new, moment, self._settings, self.pool)
        self._keep(bucket, moment, fired=fired)
        if len(answers):
            yield pd.DataFrame({ANSWERS: [packed(answers)]})

    def _bucket(self, number: int) -> Bucket:
        found = self._state.get()
        return decode(bytes(found[0]), self._settings, number) if found else empty(self._settings, number)

    def _keep(self, bucket: Bucket, moment: Moment, *, fired: bool) -> None:
        bucket = bucket._replace(timer=self._timer(bucket, moment, fired=fired))
        if len(bucket.keys) or len(bucket.held):
            self._state.update((encode(bucket, self._settings),))
        else:
            self._state.clear()

    def _timer(self, bucket: Bucket, moment: Moment, *, fired: bool) -> int:
        """Have Spark call again when something is due; return when, in milliseconds.

        A timer that comes too early does no harm: it stays.
        """
        due = next_call(bucket, self._settings)
        old = NO_TIMER if fired else bucket.timer
        if due == NO_TIMER:
            return old
        wanted = -(-due // self._per_ms)
        if old != NO_TIMER and old <= wanted:
            return old
        if old != NO_TIMER:
            self._handle.deleteTimer(old)
        clock = moment.now if self._settings.idle_clock == "processing" else (moment.watermark or 0) // self._per_ms
        wanted = max(wanted, clock + 1)
        self._handle.registerTimer(wanted)
        return wanted

    def _moment(self, timer_values: Any) -> Moment:
        if not self._settings.uses_watermark:
            return Moment(None, max(0, timer_values.getCurrentProcessingTimeInMs()))
        watermark = timer_values.getCurrentWatermarkInMs()
        return Moment(watermark * self._per_ms if watermark > 0 else None)


def initial_schema(settings: Settings) -> pa.Schema:
    """Return what states are that keys begin with: a key, the order values of its last row, and a snapshot."""
    fields = [settings.row_schema.field(name) for name in (KEY, *settings.order_names)]
    return pa.schema([*fields, pa.field(SNAPSHOT, pa.binary())])


def begun(bucket: Bucket, given: Any, moment: Moment, settings: Settings, pool: BucketPool) -> Bucket:
    """Return a bucket with keys that begin with states of others.

    Raises
    ------
    InputValueError
        If a key is null, or there already.
    SnapshotError
        If a snapshot is not the model's.
    """
    for name in (KEY, SNAPSHOT):
        if given[name].null_count:
            raise InputValueError(f"initial_state: expected a {name} everywhere, got null")
    n_known = len(bucket.keys)
    keys, slots = looked_up(bucket.keys, given[KEY].combine_chunks())
    if len(keys) != n_known + len(slots):
        counts = np.bincount(slots, minlength=len(keys)) + (np.arange(len(keys)) < n_known)
        twice = keys[int(counts.argmax())].as_py()
        raise InputValueError(f"initial_state: expected each key once, got {described(twice)} twice")
    pool.begin(bucket.states, len(keys))
    for slot, snapshot in zip(slots.tolist(), given[SNAPSHOT].to_pylist(), strict=True):
        pool.restore(slot, snapshot)
    last = np.stack([given[name].fill_null(_SMALLEST).to_numpy() for name in settings.order_names], axis=1)
    touched = np.full(len(slots), moment.now)
    return bucket._replace(
        keys=keys,
        last=np.concatenate([bucket.last, last]),
        touched=np.concatenate([bucket.touched, touched]),
        states=pool.save(np.arange(len(keys))),
    )
