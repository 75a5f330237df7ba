"""Sequences at rest: whole ones, of millions of keys, in one pass over sorted rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F  # noqa: N812 - everybody's name for it

from grurt.errors import InputValueError
from grurt.escaping import described
from grurt.spark.advance import Moment, advance
from grurt.spark.bucket import empty
from grurt.spark.frames import quoted, resolved, row_columns
from grurt.spark.packing import canonical, given_out, output_type
from grurt.spark.rules import Duration, expect_one_of, in_units, replaced
from grurt.spark.settings import FAULT, KEY, Faults, Ties
from grurt.spark.shipping import ModelOrPath, model_source, opened
from grurt.spark.worker import pool_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from grurt.runtime.context import Nonfinite
    from grurt.spark.columns import Features
    from grurt.spark.settings import Settings
    from grurt.spark.worker import ModelSource

_WHERE = "apply_gru"


def apply_gru(
    df: DataFrame,
    model: ModelOrPath,
    *,
    key: str,
    order: str | Sequence[str],
    features: Features,
    answers: Literal["all", "last"] = "all",
    partitions: int | None = None,
    idle_timeout: Duration = None,
    ties: Ties = "skip",
    faults: Faults = "report",
    nonfinite: Nonfinite = "refuse",
    ship: bool = True,
) -> DataFrame:
    """Return the answers to sequences at rest: what `stream_gru` would, had their rows come in order.

    Rows are spread over partitions by key, sorted there by Spark, on disk where memory does not hold them, and run in
    one pass: a key may have any number of rows, and there may be any number of keys.

    Parameters
    ----------
    df
        A DataFrame that is not streaming: a row is a timestep of a key.
    model, key, order, features, ties, faults, nonfinite, ship
        As for `stream_gru`. Rows with equal order values are in no order of their own.
    answers
        ``"all"``, one for each row, or ``"last"``, one for each key: that to its last row.
    partitions
        Over how many partitions keys are spread; by default Spark's ``spark.sql.shuffle.partitions``.
    idle_timeout
        After how long a gap between two rows a key begins anew; by default never.

    Returns
    -------
    A DataFrame with the columns that `stream_gru` gives.

    Raises
    ------
    InputValueError, InputTypeError
        If a column is not there or of a type that does not fit, or a rule is none of those above.
    StreamingError
        If the model does not stream.

    Examples
    --------
    >>> answers = apply_gru(
    ...     spark.read.parquet("samples"),
    ...     "activity.grurt",
    ...     key="device",
    ...     order="time",
    ...     features=["ax", "ay", "az", "gx", "gy", "gz"],
    ...     answers="last",
    ... )  # doctest: +SKIP
    """
    if df.isStreaming:
        raise InputValueError(f"{_WHERE}: expected a DataFrame at rest, got a streaming one: see stream_gru")
    expect_one_of(_WHERE, "answers", answers, ("all", "last"))
    expect_one_of(_WHERE, "ties", ties, ("skip", "keep"))
    expect_one_of(_WHERE, "faults", faults, ("report", "raise"))
    if partitions is not None and (not isinstance(partitions, int) or partitions < 1):
        raise InputValueError(f"{_WHERE}: partitions: expected at least 1, got {described(partitions)}")
    network = opened(model)
    settings, sources = resolved(_WHERE, df, network, key=key, order=order, features=features)
    idle = in_units(_WHERE, "idle_timeout", idle_timeout, settings)
    settings = replaced(settings, {"idle": idle, "ties": ties, "faults": faults})
    source = model_source(_WHERE, df.sparkSession, network, model, nonfinite, ship=ship)
    rows = df.select(*row_columns(settings, sources))
    spread = rows.repartition(F.col(KEY)) if partitions is None else rows.repartition(partitions, F.col(KEY))
    ordered = spread.sortWithinPartitions(*map(quoted, (KEY, *settings.order_names)))
    run = partial(_run_sorted, settings=settings, source=source, only_last=answers == "last")
    return ordered.mapInArrow(run, output_type(settings))


def _run_sorted(batches: Iterable[Any], settings: Settings, source: ModelSource, *, only_last: bool) -> Iterator[Any]:
    """Yield the answers to rows that are sorted by key and order: from batch to batch, one key goes on."""
    pool = pool_of(source)
    bucket = empty(settings, 0)
    open_answer = None
    for batch in batches:
        rows = canonical(pa.Table.from_batches([batch]), settings.row_schema)
        answers, bucket = advance(bucket, rows, Moment(), settings, pool, only_last=True)
        if only_last:
            answers, open_answer = _last_answers(answers, open_answer)
        yield from given_out(answers, settings).combine_chunks().to_batches()
    if open_answer is not None:
        yield from given_out(open_answer, settings).combine_chunks().to_batches()


def _last_answers(answers: Any, before: Any) -> tuple[Any, Any]:
    """Return the last answers of the keys that are over, and that of the one that may go on.

    Rows without an answer are given out as they are.
    """
    if before is not None:
        answers = pa.concat_tables([before, answers])
    answered = answers.filter(pc.is_null(answers[FAULT]))
    others = answers.filter(pc.is_valid(answers[FAULT]))
    if not len(answered):
        return others, None
    keys = answered[KEY].combine_chunks()
    codes = keys.dictionary_encode().indices.to_numpy()
    ends = np.flatnonzero(np.append(codes[1:] != codes[:-1], True))
    lasts = answered.take(pa.array(ends))
    return pa.concat_tables([others, lasts.slice(0, len(lasts) - 1)]), lasts.slice(len(lasts) - 1)
