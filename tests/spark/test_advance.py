"""Buckets of keys, without Spark: the bits of single streams, whatever the order and the batches in which rows come."""

from __future__ import annotations

from typing import Any

import keyed_rows
import models
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keyed_rows import answered, expect_same, faults, plain_loop, random_rows, settings_of, table_of

import grurt
from grurt.errors import InputValueError
from grurt.spark.advance import Moment, advance, next_call
from grurt.spark.bucket import NO_TIMER, Bucket, decode, empty, encode
from grurt.spark.pool import BucketPool
from grurt.spark.settings import Settings

RNG = np.random.default_rng(180)
MODEL = models.gru_model(3, 17, RNG)
BOTH = models.layer_model(
    grurt.Embedding(name="embed", vocabulary_size=9, size=4, inputs=("token",)),
    grurt.Concat(name="both", inputs=("a", "embed")),
    grurt.Conv1d(name="conv", input_size=7, output_size=5, kernel_size=3),
    grurt.GRU(name="gru", input_size=5, hidden_size=6),
    inputs=(grurt.Input("a", 3), grurt.TokenInput("token", 9)),
    rng=RNG,
)
SMALL = models.gru_model(3, 32, RNG).quantize("int8")
KEYS = {"string": ["", "a", "Ä", "device-17", "b" * 300], "binary": [b"", b"\0", b"x"], "integer": [-(2**63), 0, 7]}


def through(batches: list[list[Any]], rules: Settings, model: grurt.Model, moments: Any = None) -> tuple[Any, Bucket]:
    """Return the answers to batches of rows, each time through the bytes of the bucket, and the bucket."""
    pool = BucketPool(model, "refuse")
    bucket, tables = empty(rules, 3), []
    for index, batch in enumerate(batches):
        moment = moments[index] if moments else Moment()
        answers, bucket = advance(bucket, table_of(batch, rules), moment, rules, pool)
        if len(bucket.keys):
            bucket = decode(encode(bucket, rules), rules, 3)
        tables.append(answers)
    return tables, bucket


def in_batches(rows: list[Any], n: int, rng: np.random.Generator) -> list[list[Any]]:
    """Return rows in n batches, in order from batch to batch for each key, and in any order within one."""
    cuts = np.sort(rng.integers(0, len(rows) + 1, n - 1)).tolist()
    parts = [rows[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    return [[part[i] for i in rng.permutation(len(part))] for part in parts]


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), key=st.sampled_from(sorted(KEYS)), model=st.sampled_from([MODEL, BOTH, SMALL]))
def test_answers_are_those_of_single_streams(seed: int, key: str, model: grurt.Model) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 200))
    rules = settings_of(model, key=key)
    names = [KEYS[key][i] for i in rng.integers(len(KEYS[key]), size=n)]
    rows = random_rows(model, names, np.cumsum(rng.integers(1, 5, n)), rng)
    tables, bucket = through(in_batches(rows, 4, rng), rules, model)
    expect_same(answered(tables, rules), plain_loop(model, rows))
    assert set(bucket.keys.to_pylist()) == set(names)
    assert faults(tables) == []


def test_a_replayed_batch_changes_nothing_and_is_given_out_as_repeated_or_late() -> None:
    rules = settings_of(MODEL)
    rows = random_rows(MODEL, ["a", "b"] * 10, range(20), RNG)
    tables, bucket = through([rows[:10], rows[4:12], rows[:10], rows[10:]], rules, MODEL)
    expect_same(answered(tables, rules), plain_loop(MODEL, rows))
    assert sum(len(table) for table in tables) == 10 + 8 + 10 + 10
    assert {text.partition(":")[0] for _, _, text in faults(tables)} == {"late", "repeated"}
    assert bucket.states.steps.tolist() == [10, 10]


def test_rows_of_equal_order_values_are_told_apart_by_a_second_column_or_kept() -> None:
    two = settings_of(MODEL, n_orders=2)
    rows = random_rows(MODEL, "aaaab", [(5, 2), (5, 1), (4, 9), (5, 2), (5, 1)], RNG)
    tables, _ = through([rows], two, MODEL)
    expect_same(answered(tables, two), plain_loop(MODEL, [*rows[:3], rows[4]]))
    assert faults(tables) == [("a", 5, "repeated: its key has had this order value")]
    keep = settings_of(MODEL, ties="keep")
    rows = random_rows(MODEL, "aaaa", [5, 5, 4, 5], RNG)
    tables, _ = through([rows[:3], rows[3:]], keep, MODEL)
    expect_same(answered(tables, keep), plain_loop(MODEL, rows))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_comes_late_but_within_lateness_is_answered_in_order(seed: int) -> None:
    """Whatever the batches: rows come up to 10 units out of order, and the watermark is 10 behind the latest."""
    rng = np.random.default_rng(seed)
    rules = settings_of(MODEL, lateness=10)
    orders = rng.permutation(120)
    arrival = np.argsort(orders + rng.uniform(0, 9, 120))
    rows = random_rows(MODEL, [f"k{i % 3}" for i in range(120)], orders, rng)
    batches = [[rows[i] for i in part] for part in np.array_split(arrival, 9)]
    latest = np.maximum.accumulate([max(row.order[0] for row in batch) for batch in batches])
    moments = [Moment(None), *(Moment(int(at) - 10) for at in latest), Moment(200)]
    tables, bucket = through([*batches, [], []], rules, MODEL, moments)
    expect_same(answered(tables, rules), plain_loop(MODEL, rows))
    assert faults(tables) == []
    assert len(bucket.held) == 0


def test_rows_are_held_until_the_watermark_and_later_ones_are_given_out() -> None:
    rules = settings_of(MODEL, lateness=5)
    rows = random_rows(MODEL, "aaa", [10, 20, 30], RNG)
    late = random_rows(MODEL, "a", [15], RNG)
    moments = [Moment(None), Moment(25), Moment(29), Moment(30)]
    tables, _ = through([rows, [], late, []], rules, MODEL, moments)
    assert [len(table) for table in tables] == [0, 2, 1, 1]
    assert faults(tables) == [("a", 15, "late: its key has answered a later row")]
    expect_same(answered(tables, rules), plain_loop(MODEL, rows))


@pytest.mark.parametrize("size", [10, 5, 3, 1])
def test_a_key_begins_anew_after_a_gap_whatever_the_batches(size: int) -> None:
    rules = settings_of(MODEL, idle=10)
    rows = random_rows(MODEL, "aabaabaaab", [1, 11, 11, 22, 23, 30, 34, 60, 61, 62], RNG)
    tables, _ = through([rows[at : at + size] for at in range(0, 10, size)], rules, MODEL)
    found = answered(tables, rules)
    parts = [[r for r in rows if r.key == "a" and low <= r.order[0] < high] for low, high in ((0, 22), (22, 34))]
    parts += [[r for r in rows if r.key == "a" and r.order[0] == 34], [r for r in rows if r.order[0] in (60, 61)]]
    parts += [[r for r in rows if r.key == "b" and r.order[0] == at] for at in (11, 30, 62)]
    expect_same(found, {k: v for part in parts for k, v in plain_loop(MODEL, part).items()})


def test_idle_keys_are_forgotten_and_what_is_older_than_they_may_be_is_late() -> None:
    rules = settings_of(MODEL, idle=10)
    rows = random_rows(MODEL, "abb", [1, 1, 40], RNG)
    tables, bucket = through(
        [rows[:2], rows[2:], [], rows[:1]], rules, MODEL, [Moment(None), Moment(None), Moment(40), Moment(40)]
    )
    assert bucket.keys.to_pylist() == ["b"]
    assert faults(tables) == [("a", 1, "late: older than the watermark by more than idle_timeout")]
    assert next_call(bucket, rules) == 51
    tables, bucket = through([rows, []], rules, MODEL, [Moment(None), Moment(51)])
    assert len(bucket.keys) == 0
    assert next_call(bucket, rules) == NO_TIMER


def test_a_key_that_is_idle_by_the_clock_of_processing_begins_anew() -> None:
    rules = settings_of(MODEL, idle=1000, idle_clock="processing")
    rows = random_rows(MODEL, "abaa", [1, 1, 2, 3], RNG)
    moments = [Moment(None, 0), Moment(None, 1000), Moment(None, 2001)]
    tables, bucket = through([rows[:2], rows[2:3], rows[3:]], rules, MODEL, moments)
    assert bucket.keys.to_pylist() == ["a"]
    expected = {**plain_loop(MODEL, rows[:3]), **plain_loop(MODEL, rows[3:])}
    expect_same(answered(tables, rules), expected)


def table_with(column: str, values: list[Any], rules: Settings, model: grurt.Model = MODEL) -> Any:
    rows = random_rows(model, ["a"] * len(values), range(len(values)), np.random.default_rng(0))
    table = table_of(rows, rules)
    place = table.schema.get_field_index(column)
    return table.set_column(place, table.schema.field(column), [keyed_rows.pa.array(values, table.schema.types[place])])


@pytest.mark.parametrize(
    ("column", "values", "reason"),
    [
        ("key", ["a", None], r"column 'device': expected a value, got null"),
        ("order", [0, None], r"column 'time': expected a value, got null"),
        ("input_0", [[1.0] * 3, None], r"input 'x': expected a value, got null"),
        ("input_0", [[1.0] * 3, [1.0]], r"input 'x': expected 3 numbers, got 1"),
        ("input_0", [[1.0] * 3, [1.0, None, 2.0]], r"input 'x': expected 3 numbers, got a null among them"),
        ("input_0", [[1.0] * 3, [1.0, 2.0, float("nan")]], r"input 'x' at [2]: expected finite numbers, got nan"),
    ],
)
def test_a_row_that_cannot_be_computed_with_is_given_out_and_the_others_advance(
    column: str, values: list[Any], reason: str
) -> None:
    rules = settings_of(MODEL)
    table = table_with(column, values, rules)
    pool = BucketPool(MODEL, "refuse")
    answers, bucket = advance(empty(rules, 0), table, Moment(), rules, pool)
    ((key, order, text),) = faults([answers])
    assert text.startswith(reason)
    assert (key, order) == (None if column == "key" else "a", None if column == "order" else 1)
    assert bucket.states.steps.tolist() == [1]
    strict = settings_of(MODEL, faults="raise")
    with pytest.raises(InputValueError, match=r'stream_gru: key .*; faults="report" gives such rows out'):
        advance(empty(strict, 0), table, Moment(), strict, pool)


def test_tokens_that_do_not_exist_are_given_out() -> None:
    rules = settings_of(BOTH)
    table = table_with("input_1", [3, 9, None, -1], rules, BOTH)
    answers, bucket = advance(empty(rules, 0), table, Moment(), rules, BucketPool(BOTH, "refuse"))
    texts = [text for _, _, text in faults([answers])]
    assert texts[0] == "input 'token': expected a token id in [0, 9), got 9"
    assert texts[1] == "input 'token': expected a value, got null"
    assert bucket.states.steps.tolist() == [1]


def test_a_nan_is_computed_with_where_it_propagates() -> None:
    rules = settings_of(MODEL)
    table = table_with("input_0", [[float("nan")] * 3], rules)
    answers, _ = advance(empty(rules, 0), table, Moment(), rules, BucketPool(MODEL, "propagate"))
    assert faults([answers]) == []
    assert np.isnan(np.array(answers["y"][0].as_py())).any()
