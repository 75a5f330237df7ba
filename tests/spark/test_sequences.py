"""Whole sequences of keys, without Spark: what the model answers to each, however rows are cut into batches."""

from __future__ import annotations

from typing import Any

import models
import numpy as np
import pyarrow as pa
import pytest
from keyed_rows import Row, random_rows, settings_of, table_of

import grurt
from grurt.spark import sequences
from grurt.spark.advance import Moment, advance
from grurt.spark.bucket import empty
from grurt.spark.sequences import SequencePool, with_whole_keys

RNG = np.random.default_rng(181)
BOTH_WAYS = models.layer_model(
    grurt.GRU(name="ahead", input_size=3, hidden_size=5),
    grurt.GRU(name="behind", input_size=3, hidden_size=4, direction="reverse", inputs=("x",)),
    grurt.Concat(name="both", inputs=("ahead", "behind")),
    rng=RNG,
)


def sorted_rows(sizes: dict[str, int]) -> list[Row]:
    names = [name for name, size in sizes.items() for _ in range(size)]
    return random_rows(BOTH_WAYS, names, range(len(names)), RNG)


def in_tables(rows: list[Row], size: int) -> list[Any]:
    rules = settings_of(BOTH_WAYS)
    return list(with_whole_keys(table_of(rows, rules).to_batches(max_chunksize=size)))


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_keys_come_whole_and_in_order(size: int) -> None:
    rows = sorted_rows({"a": 7, "b": 1, "c": 1, "d": 20, "e": 2})
    tables = in_tables(rows, size)
    keys = [table["key"].to_pylist() for table in tables]
    assert [key for table in keys for key in table] == [row.key for row in rows]
    assert all(set(one).isdisjoint(other) for i, one in enumerate(keys) for other in keys[i + 1 :])
    assert len(tables) > 1 or size == 100


@pytest.mark.parametrize("most", [1, 25, 1 << 16])
def test_answers_are_those_of_whole_sequences(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequences, "_MOST_TIMESTEPS", most)
    rules = settings_of(BOTH_WAYS)
    rows = sorted_rows({"a": 7, "b": 1, "c": 1, "d": 20, "e": 2})
    pool = SequencePool(BOTH_WAYS, "refuse")
    found, bucket = [], empty(rules, 0)
    for table in in_tables(rows, 10):
        answers, bucket = advance(bucket, table, Moment(), rules, pool, only_last=True)
        found += answers.to_pylist()
    assert len(found) == len(rows)
    for key in "abcde":
        xs = np.stack([row.inputs["x"] for row in rows if row.key == key])
        answers = [row["y"] for row in found if row["key"] == key]
        np.testing.assert_array_equal(np.array(answers, np.float32), BOTH_WAYS.run(xs))


def test_a_gap_begins_another_sequence() -> None:
    rules = settings_of(BOTH_WAYS, idle=5)
    rows = random_rows(BOTH_WAYS, "a" * 9, [0, 1, 2, 10, 11, 12, 13, 30, 31], RNG)
    answers, _ = advance(empty(rules, 0), table_of(rows, rules), Moment(), rules, SequencePool(BOTH_WAYS, "refuse"))
    xs = np.stack([row.inputs["x"] for row in rows])
    expected = np.concatenate([BOTH_WAYS.run(part) for part in (xs[:3], xs[3:7], xs[7:])])
    np.testing.assert_array_equal(np.array(answers["y"].to_pylist(), np.float32), expected)


def test_no_rows_are_no_tables() -> None:
    nothing = table_of([], settings_of(BOTH_WAYS)).to_batches()
    assert list(with_whole_keys(nothing)) == []
    assert list(with_whole_keys([pa.RecordBatch.from_pylist([], settings_of(BOTH_WAYS).row_schema)])) == []
