"""Sequences at rest: whole ones, of millions of keys, in one pass over sorted rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F  # noqa: N812 - everybody's name for it

from grurt.errors import InputValueError
from grurt.escaping import described
from grurt.spark.advance import Moment, advance
from grurt.spark.bucket import empty
from grurt.spark.frames import quoted, resolved, row_columns
from grurt.spark.ordering import beginnings, codes_of
from grurt.spark.packing import canonical, given_out, output_type
from grurt.spark.rules import Duration, expect_one_of, in_units
from grurt.spark.sequences import SequencePool, with_whole_keys
from grurt.spark.settings import FAULT, KEY, Faults, Ties
from grurt.spark.shipping import ModelOrPath, model_source, opened
from grurt.spark.worker import model_of, pool_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from grurt.model import Model
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
    one pass: a key may have any number of rows, and there may be any number of keys. Models that need whole sequences,
    such as those that read in both directions, run too: then a key's rows have to fit into a worker's memory.

    Parameters
    ----------
    df
        A DataFrame that is not streaming: a row is a timestep of a key.
    model, key, order, features, ties, faults, nonfinite, ship
        As for `stream_gru`. Rows with equal order values are in no order of their own.
    answers
        ``"all"``, one for each row, or ``"last"``, one for each key: that to its last row. An output that is one vector
        of a whole sequence needs ``"last"``.
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
        If the model has several stages, or is given contexts.

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
    network = opened(model, whole_sequences=True)
    if answers == "all":
        _expect_an_answer_to_each_row(network)
    settings, sources = resolved(_WHERE, df, network, key=key, order=order, features=features)
    idle = in_units(_WHERE, "idle_timeout", idle_timeout, settings)
    settings = msgspec.structs.replace(settings, idle=idle, ties=ties, faults=faults)
    source = model_source(_WHERE, df.sparkSession, network, model, nonfinite, ship=ship)
    rows = df.select(*row_columns(settings, sources))
    spread = rows.repartition(F.col(KEY)) if partitions is None else rows.repartition(partitions, F.col(KEY))
    ordered = spread.sortWithinPartitions(*map(quoted, (KEY, *settings.order_names)))
    whole_sequences = network.unstreamable_reason is not None
    run = partial(
        _run_sorted, settings=settings, source=source, only_last=answers == "last", whole_sequences=whole_sequences
    )
    return ordered.mapInArrow(run, output_type(settings))


def _expect_an_answer_to_each_row(network: Model) -> None:
    for output in network.outputs:
        if not network.values[output.value].per_step and network.unstreamable_reason is not None:
            raise InputValueError(
                f'{_WHERE}: output {output.name!r} is one vector of a whole sequence: with answers="last" it is the '
                "answer to a key's last row"
            )


def _as_table(batch: Any) -> Any:
    return pa.Table.from_batches([batch])


def _run_sorted(
    batches: Iterable[Any], settings: Settings, source: ModelSource, *, only_last: bool, whole_sequences: bool
) -> Iterator[Any]:
    """Yield the answers to rows that are sorted by key and order: from batch to batch, one key goes on."""
    pool = SequencePool(model_of(source), source.nonfinite) if whole_sequences else pool_of(source)
    bucket = empty(settings, 0)
    open_answer = None
    tables = with_whole_keys(batches) if whole_sequences else map(_as_table, batches)
    for table in tables:
        rows = canonical(table, settings.row_schema)
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
    ends = np.append(beginnings(codes_of(keys))[1:], len(keys)) - 1
    lasts = answered.take(pa.array(ends))
    return pa.concat_tables([others, lasts.slice(0, len(lasts) - 1)]), lasts.slice(len(lasts) - 1)
