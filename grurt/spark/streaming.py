"""Keyed streams: each key's state kept by Spark, each row answered once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from pyspark.sql import functions as F  # noqa: N812 - everybody's name for it

from grurt.errors import InputValueError
from grurt.escaping import described
from grurt.spark.frames import quoted, resolved, row_columns
from grurt.spark.packing import BUCKET, LATEST, PACKED, PACKED_ANSWERS, output_type, pack, unpack_answers
from grurt.spark.processor import SNAPSHOT, BucketProcessor, initial_schema
from grurt.spark.requirements import expect_state_store
from grurt.spark.rules import Duration, expect_one_of, in_units
from grurt.spark.settings import KEY, Clock, Faults, ModelChange, Settings, Ties
from grurt.spark.shipping import ModelOrPath, model_source, opened

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame

    from grurt.runtime.context import Nonfinite
    from grurt.spark.columns import Features

_WHERE = "stream_gru"
_EVENT_TIME = "event_time"
_SHIFT_DAYS = 36_500
"""Spark drops rows that are behind the watermark, without a trace. So it is shown a time a hundred years later, and
told to wait a hundred years longer: then it drops none, and the watermark is what it would have been."""
MAX_BUCKETS = 1 << 20


def stream_gru(
    df: DataFrame,
    model: ModelOrPath,
    *,
    key: str,
    order: str | Sequence[str],
    features: Features,
    buckets: int = 256,
    lateness: Duration = None,
    idle_timeout: Duration = None,
    idle_clock: Clock = "event",
    initial_state: DataFrame | None = None,
    ties: Ties = "skip",
    faults: Faults = "report",
    nonfinite: Nonfinite = "refuse",
    on_model_change: ModelChange = "raise",
    ship: bool = True,
) -> DataFrame:
    """Return the answers to a stream of rows: each key has a stream of its own, whose state Spark keeps.

    Parameters
    ----------
    df
        A streaming DataFrame: a row is a timestep of a key.
    model
        A model that streams, or the path of a ``.grurt`` file.
    key
        Column of text, bytes or integers: which sequence a row belongs to.
    order
        Column of timestamps or integers, by which the rows of a key are ordered; or two, of which the second tells rows
        with equal values of the first apart.
    features
        Columns of numbers, as many as a frame of the model's input has; or one column of arrays, row-major; of a token
        one column of integers. Of several inputs a mapping of that by their names.
    buckets
        Over how many buckets keys are spread; some 250 to 1,000 keys each are best. It is fixed when the query first
        starts with its checkpoint.
    lateness
        How long rows are held back for earlier ones: ``"10 seconds"``, a timedelta, or of an integer order a number in
        its units. Rows are answered when the watermark, the latest order value of all rows less that, has passed them.
        By default none is held back: rows are put in order within a micro-batch only.
    idle_timeout
        After how long without a row a key is forgotten, and begins anew with its next one; as ``lateness``. By default
        never.
    idle_clock
        Which clock that is: ``"event"``, the order column, or ``"processing"``, the time of the micro-batch. The latter
        cannot be had together with ``lateness``.
    initial_state
        States that keys begin with, for the first start with a checkpoint: columns ``key`` and ``snapshot``, as
        `Stream.snapshot` returns it, and ``order`` (and ``tie``), the order values of the last row that it has seen,
        which may be null; as `read_states` gives them.
    ties
        What becomes of a row whose order value its key has had: ``"skip"``, it is repeated, and not answered twice; or
        ``"keep"``, it is one more timestep, behind those that came before it.
    faults
        What becomes of rows that cannot be computed with, with nulls, a NaN, a token that does not exist:
        ``"report"``, they are given out with the reason, and their key stays as it was; or ``"raise"``: the query ends.
    nonfinite
        ``"propagate"`` computes with NaN and infinities: see `Model.stream`.
    on_model_change
        What becomes of a checkpoint of another model: ``"raise"`` an exception, or ``"reset"`` all keys to the initial
        state, which go on behind the rows that they have answered.
    ship
        Whether workers are sent the model. Otherwise ``model`` is a path that each of them can read.

    Returns
    -------
    A streaming DataFrame, for the output mode append: a column for the key, for each order column, and for each output
    of the model, ``array<float>`` or, of a single number, ``float``; and ``fault``, null where there is an answer.
    Rows that have none are there too, once each, with null outputs: those that are late or repeated, and those that
    cannot be computed with.

    Raises
    ------
    InputValueError, InputTypeError
        If a column is not there or of a type that does not fit, or a rule is none of those above.
    StreamingError
        If the model needs whole sequences, or contexts.
    SparkError
        If the session keeps its state in something else than RocksDB.

    Examples
    --------
    >>> answers = stream_gru(
    ...     df,
    ...     "activity.grurt",
    ...     key="device",
    ...     order="time",
    ...     features=["ax", "ay", "az", "gx", "gy", "gz"],
    ...     lateness="10 seconds",
    ...     idle_timeout="30 minutes",
    ... )  # doctest: +SKIP
    >>> answers.writeStream.option("checkpointLocation", "checkpoint").start("answers")  # doctest: +SKIP
    """
    if not df.isStreaming:
        raise InputValueError(f"{_WHERE}: expected a streaming DataFrame, got one at rest: see apply_gru")
    expect_state_store(df.sparkSession)
    network = opened(model)
    rules, sources = resolved(_WHERE, df, network, key=key, order=order, features=features)
    rules = _with_rules(
        rules,
        buckets=buckets,
        lateness=lateness,
        idle_timeout=idle_timeout,
        idle_clock=idle_clock,
        ties=ties,
        faults=faults,
        on_model_change=on_model_change,
    )
    source = model_source(_WHERE, df.sparkSession, network, model, nonfinite, ship=ship)
    begin = None if initial_state is None else _initial(initial_state, rules)
    rows = df.select(_bucket(F.col(quoted(key)), rules).alias(BUCKET), *row_columns(rules, sources))
    packed = _with_event_time(_packed(rows, rules, rules.row_schema), rules)
    answers = packed.groupBy(BUCKET).transformWithStateInPandas(
        BucketProcessor(rules, source), PACKED_ANSWERS, "Append", _time_mode(rules), initialState=begin
    )
    return answers.mapInArrow(partial(unpack_answers, settings=rules), output_type(rules))


def _with_rules(
    settings: Settings,
    *,
    buckets: int,
    lateness: Duration,
    idle_timeout: Duration,
    idle_clock: Clock,
    ties: Ties,
    faults: Faults,
    on_model_change: ModelChange,
) -> Settings:
    if not isinstance(buckets, int) or not 1 <= buckets <= MAX_BUCKETS:
        raise InputValueError(f"{_WHERE}: buckets: expected 1 to {MAX_BUCKETS:,}, got {described(buckets)}")
    expect_one_of(_WHERE, "idle_clock", idle_clock, ("event", "processing"))
    expect_one_of(_WHERE, "ties", ties, ("skip", "keep"))
    expect_one_of(_WHERE, "faults", faults, ("report", "raise"))
    expect_one_of(_WHERE, "on_model_change", on_model_change, ("raise", "reset"))
    if lateness is not None and idle_timeout is not None and idle_clock == "processing":
        raise InputValueError(
            f'{_WHERE}: expected lateness together with idle_clock="event", got "processing": a stateful operator of '
            "Spark has one clock"
        )
    changed = {
        "n_buckets": buckets,
        "lateness": in_units(_WHERE, "lateness", lateness, settings),
        "idle": in_units(_WHERE, "idle_timeout", idle_timeout, settings, is_event=idle_clock == "event"),
        "idle_clock": idle_clock,
        "ties": ties,
        "faults": faults,
        "on_model_change": on_model_change,
    }
    return msgspec.structs.replace(settings, **changed)


def _bucket(key: SparkColumn, settings: Settings) -> SparkColumn:
    return F.pmod(F.xxhash64(key), F.lit(settings.n_buckets)).cast("int")


def _packed(rows: DataFrame, settings: Settings, schema: Any) -> DataFrame:
    return rows.mapInArrow(partial(pack, schema=schema, settings=settings), PACKED)


def _with_event_time(packed: DataFrame, settings: Settings) -> DataFrame:
    """Add the time by which Spark's watermark goes, where anything depends on that."""
    if not settings.uses_watermark:
        return packed
    per_ms = 1 if settings.order[0].kind == "integer" else 1000
    latest = F.col(LATEST)
    if settings.order[0].kind == "timestamp":  # one clock that is ahead makes no row of the others late
        latest = F.when(latest.isNotNull(), F.least(latest, F.unix_micros(F.current_timestamp())))
    shifted = latest + F.lit(_SHIFT_DAYS * 86_400_000 * per_ms)  # as a number: days of a time zone differ in length
    time = F.timestamp_millis(shifted) if per_ms == 1 else F.timestamp_micros(shifted)
    delay = f"{_SHIFT_DAYS} days {(settings.lateness or 0) // per_ms} milliseconds"
    return packed.withColumn(_EVENT_TIME, time).withWatermark(_EVENT_TIME, delay)


def _time_mode(settings: Settings) -> str:
    if settings.uses_watermark:
        return "EventTime"
    return "None" if settings.idle is None else "ProcessingTime"


def _initial(states: DataFrame, settings: Settings) -> Any:
    """Return the states that keys begin with, packed and grouped by bucket."""
    missing = [name for name in (KEY, SNAPSHOT) if name not in states.columns]
    if missing:
        raise InputValueError(
            f"{_WHERE}: initial_state: expected the columns key and snapshot, got no {missing[0]}; order is wanted "
            "too, if rows that it has seen may come again"
        )
    has_order = all(name in states.columns for name in settings.order_names)
    if not has_order and settings.idle is not None and settings.idle_clock == "event":
        raise InputValueError(f"{_WHERE}: initial_state: expected a column order, by which keys are idle, got none")
    own = [F.col(KEY).cast(settings.key.spark_type).alias(KEY)]
    for name, column in zip(settings.order_names, settings.order, strict=True):
        own.append((F.col(name) if has_order else F.lit(None)).cast(column.spark_type).alias(name))
    key = own[0]
    rows = states.select(_bucket(key, settings).alias(BUCKET), *own, F.col(SNAPSHOT).cast("binary"))
    begun = msgspec.structs.replace(settings, lateness=None, idle=None)
    return _packed(rows, begun, initial_schema(settings)).groupBy(BUCKET)
