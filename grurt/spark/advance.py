"""A bucket, and rows that have come: their answers, and the bucket after them. Nothing here knows Spark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from grurt.spark.bucket import NO_TIMER, Bucket
from grurt.spark.keys import looked_up
from grurt.spark.ordering import beginnings, in_order, passed
from grurt.spark.rows import Rows, read_rows
from grurt.spark.settings import FAULT, KEY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from grurt.array_types import Array
    from grurt.spark.ordering import Ordered
    from grurt.spark.pool import Pool
    from grurt.spark.settings import Port, Settings

    Integers = NDArray[np.int64]

LATE = "late: its key has answered a later row"
EXPIRED = "late: older than the watermark by more than idle_timeout"
REPEATED = "repeated: its key has had this order value"


class Moment(NamedTuple):
    """When a call happens."""

    watermark: int | None = None
    """How far event time has come, in units of the order column; None: nobody knows."""
    now: int = 0
    """Milliseconds of the clock of processing."""


def advance(
    bucket: Bucket, new: Any, moment: Moment, settings: Settings, pool: Pool, *, only_last: bool = False
) -> tuple[Any, Bucket]:
    """Answer rows that have come, or that were held back and are due.

    Parameters
    ----------
    bucket
        As it was.
    new
        A table of `Settings.row_schema`, in the order in which they came.
    moment
        When.
    settings
        The rules.
    pool
        What runs the model.
    only_last
        Whether rows come key by key, so that nothing is kept but the last one.

    Returns
    -------
    A table of `answer_schema`, and the bucket as it is now, without the keys that have been idle for too long.
    """
    rows, unsound = read_rows(new, settings, pool.plan, refuse_nonfinite=pool.refuse_nonfinite)
    answers = [_without_answer(unsound.table, unsound.reasons, settings)]
    rows, held = _due(_with_held(rows, bucket, settings, pool), moment, settings)
    n_known = len(bucket.keys)
    keys, slots = looked_up(bucket.keys, rows.table[KEY].combine_chunks())
    last = _padded(bucket.last, len(keys))
    is_known = np.arange(len(keys)) < n_known
    if settings.uses_watermark:
        rows, slots = _without_expired(rows, slots, is_known, moment, settings, answers)
    touched = _padded(bucket.touched, len(keys))
    pool.begin(bucket.states, len(keys))
    if settings.idle is not None and settings.idle_clock == "processing":
        is_idle = passed(touched, settings.idle, moment.now) & is_known
        pool.reset(np.flatnonzero(is_idle))
        is_known &= ~is_idle
    idle = settings.idle if settings.idle_clock == "event" else None
    ordered = in_order(slots, rows.orders, last, is_known, ties=settings.ties, idle=idle)
    outputs = _run(pool, slots[ordered.steps], rows.inputs, ordered, is_known)
    answers.append(_answered(rows, ordered.steps, outputs, settings))
    answers.append(_without_answer(rows.table.take(pa.array(ordered.late)), LATE, settings))
    answers.append(_without_answer(rows.table.take(pa.array(ordered.repeated)), REPEATED, settings))
    stepped = slots[ordered.steps]
    last[stepped] = rows.orders[ordered.steps]  # of each key, the last one stays
    touched[slots] = moment.now
    is_there = is_known | np.isin(np.arange(len(keys)), stepped)
    kept = np.flatnonzero(is_there & ~_are_idle(last, touched, moment, settings))
    if only_last:
        kept = kept[-1:]
    after = Bucket(
        bucket.number,
        keys.take(pa.array(kept)),
        last[kept],
        touched[kept],
        pool.save(kept),
        held,
        bucket.timer,
    )
    return pa.concat_tables(answers), after


def next_call(bucket: Bucket, settings: Settings) -> int:
    """Return by when a bucket has to be called even if no row comes, in units of its clock, or `NO_TIMER`.

    That is when rows that are held back are due, or a key has been idle for too long.
    """
    times = []
    if len(bucket.held):
        times.append(int(bucket.held[settings.order_names[0]].to_numpy().min()))
    if settings.idle is not None and len(bucket.keys):
        since = bucket.touched if settings.idle_clock == "processing" else bucket.last[:, 0]
        times.append(int(since.min()) + settings.idle + 1)
    return min(times) if times else NO_TIMER


def answer_schema(settings: Settings) -> pa.Schema:
    """Return what answers are: the key, its order values, the outputs, and why there are none."""
    rows = settings.row_schema
    fields = [rows.field(name) for name in (KEY, *settings.order_names)]
    fields += [pa.field(port.name, _output_type(port)) for port in settings.outputs]
    return pa.schema([*fields, pa.field(FAULT, pa.string())])


def _output_type(port: Port) -> Any:
    return pa.float32() if port.size == 1 else pa.list_(pa.float32())


def _with_held(rows: Rows, bucket: Bucket, settings: Settings, pool: Pool) -> Rows:
    """Return rows with those that were held back before them."""
    if not len(bucket.held):
        return rows
    held, _ = read_rows(bucket.held, settings, pool.plan, refuse_nonfinite=pool.refuse_nonfinite)
    inputs = {name: np.concatenate([array, rows.inputs[name]]) for name, array in held.inputs.items()}
    table = pa.concat_tables([held.table, rows.table]).combine_chunks()
    return Rows(table, np.concatenate([held.orders, rows.orders]), inputs)


def _due(rows: Rows, moment: Moment, settings: Settings) -> tuple[Rows, Any]:
    """Return the rows that are not held back, or no longer, and a table of the others."""
    if settings.lateness is None:
        return rows, rows.table.slice(0, 0)
    if moment.watermark is None:
        return _selected(rows, np.zeros(len(rows.orders), bool)), rows.table
    due = rows.orders[:, 0] <= moment.watermark
    return _selected(rows, due), rows.table.filter(pa.array(~due))


def _selected(rows: Rows, mask: NDArray[np.bool_]) -> Rows:
    inputs = {name: array[mask] for name, array in rows.inputs.items()}
    return Rows(rows.table.filter(pa.array(mask)), rows.orders[mask], inputs)


def _without_expired(
    rows: Rows, slots: Integers, is_known: NDArray[np.bool_], moment: Moment, settings: Settings, answers: list[Any]
) -> tuple[Rows, Integers]:
    """Take out rows of unknown keys that are so old that their key may have been forgotten."""
    if moment.watermark is None or settings.idle is None:
        return rows, slots
    expired = passed(rows.orders[:, 0], settings.idle, moment.watermark) & ~is_known[slots]
    if not expired.any():
        return rows, slots
    answers.append(_without_answer(rows.table.filter(pa.array(expired)), EXPIRED, settings))
    return _selected(rows, ~expired), slots[~expired]


def _run(
    pool: Pool, slots: Integers, inputs: Mapping[str, Array], ordered: Ordered, is_known: NDArray[np.bool_]
) -> dict[str, Array]:
    """Return the answers to the timesteps, of which a key may begin anew at some."""
    if not len(slots) or not ordered.episodes.any():
        return _run_episode(pool, slots, {name: array[ordered.steps] for name, array in inputs.items()})
    outputs: dict[str, Array] = {}
    for episode in np.unique(ordered.episodes).tolist():
        places = np.flatnonzero(ordered.episodes == episode)
        if episode:
            pool.reset(np.unique(slots[places]))
        steps = ordered.steps[places]
        answers = _run_episode(pool, slots[places], {name: array[steps] for name, array in inputs.items()})
        for name, answer in answers.items():
            if name not in outputs:
                outputs[name] = np.empty((len(slots), *answer.shape[1:]), np.float32)
            outputs[name][places] = answer
    return outputs


def _run_episode(pool: Pool, slots: Integers, inputs: Mapping[str, Array]) -> dict[str, Array]:
    begins = beginnings(slots)
    return pool.run(slots[begins], inputs, np.diff(begins, append=len(slots)))


def _are_idle(last: Integers, touched: Integers, moment: Moment, settings: Settings) -> NDArray[np.bool_]:
    """Return which keys are to be forgotten."""
    if settings.idle is None:
        return np.zeros(len(last), bool)
    if settings.idle_clock == "processing":
        return passed(touched, settings.idle, moment.now)
    if moment.watermark is None:
        return np.zeros(len(last), bool)
    return passed(last[:, 0], settings.idle, moment.watermark)


def _answered(rows: Rows, steps: Integers, outputs: Mapping[str, Array], settings: Settings) -> Any:
    columns = [rows.table[name].take(pa.array(steps)) for name in (KEY, *settings.order_names)]
    for port in settings.outputs:
        numbers = pa.array(outputs[port.name].reshape(-1))
        if port.size != 1:
            offsets = np.arange(0, port.size * len(steps) + 1, port.size, dtype=np.int32)
            numbers = pa.ListArray.from_arrays(pa.array(offsets), numbers)
        columns.append(numbers)
    return pa.table([*columns, pa.nulls(len(steps), pa.string())], schema=answer_schema(settings))


def _without_answer(table: Any, reasons: str | Sequence[str], settings: Settings) -> Any:
    n = len(table)
    columns = [table[name] for name in (KEY, *settings.order_names)]
    columns += [pa.nulls(n, _output_type(port)) for port in settings.outputs]
    texts = pa.array([reasons] * n if isinstance(reasons, str) else reasons, pa.string())
    return pa.table([*columns, texts], schema=answer_schema(settings))


def _padded(array: Integers, n: int) -> Integers:
    """Return a copy with zeros for as many keys as are new."""
    return np.concatenate([array, np.zeros((n - len(array), *array.shape[1:]), np.int64)])
