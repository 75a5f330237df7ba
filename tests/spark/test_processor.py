"""The stateful operator in PySpark's own tester: timers, initial states, what stays in the state store. No Java."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import models
import numpy as np
import pytest
from keyed_rows import Row, answered, expect_same, faults, plain_loop, random_rows, settings_of, table_of

import grurt
from grurt.errors import InputValueError, SnapshotError, SparkError
from grurt.spark.advance import answer_schema
from grurt.spark.packing import ANSWERS, ROWS, canonical, pack, packed, unpacked
from grurt.spark.processor import SNAPSHOT, STATE, BucketProcessor, initial_schema
from grurt.spark.settings import KEY, Settings
from grurt.spark.worker import ModelSource, pool_of

pd = pytest.importorskip("pandas", reason="the extra spark is not installed")
pa = pytest.importorskip("pyarrow", reason="the extra spark is not installed")
tester = pytest.importorskip("pyspark.sql.streaming.tws_tester", reason="this PySpark has no tester of operators")

RNG = np.random.default_rng(210)
MODEL = models.gru_model(3, 9, RNG)
OTHER = models.gru_model(3, 9, RNG)
BUCKET = 3


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.grurt"
    MODEL.save(path)
    return path


def source_of(path: Path, model: grurt.Model = MODEL) -> ModelSource:
    return ModelSource(model.fingerprint, None, str(path), None, "refuse")


def frame(rows: list[Row], rules: Settings) -> Any:
    return pd.DataFrame({ROWS: [packed(table_of(rows, rules))]})


def answers_in(frames: Any, rules: Settings) -> Any:
    return unpacked(frames[ANSWERS], answer_schema(rules)) if len(frames) else answer_schema(rules).empty_table()


def initial(states: dict[str, bytes], rules: Settings, orders: list[int]) -> Any:
    columns = [pa.array([*states]), pa.array(orders), pa.array([*states.values()], pa.binary())]
    return pd.DataFrame({ROWS: [packed(pa.table(columns, schema=initial_schema(rules)))]})


def test_batches_are_answered_and_the_state_store_has_one_blob(path: Path) -> None:
    rules = settings_of(MODEL)
    rows = random_rows(MODEL, ["a", "b"] * 10, range(20), RNG)
    run = tester.TwsTester(BucketProcessor(rules, source_of(path)))
    tables = [
        answers_in(run.testInPandas(BUCKET, frame(rows[at : at + 7], rules)), rules) for at in range(0, len(rows), 7)
    ]
    expect_same(answered(tables, rules), plain_loop(MODEL, rows))
    assert bytes(run.peekValueState(STATE, BUCKET)[0]).startswith(b"GRURTSB\0")


def test_held_rows_come_out_by_a_timer_and_idle_keys_leave_no_state(path: Path) -> None:
    rules = settings_of(MODEL, lateness=10, idle=50)
    rows = random_rows(MODEL, "aab", [100, 110, 105], RNG)
    run = tester.TwsTester(
        BucketProcessor(rules, source_of(path)), timeMode="EventTime", eventTimeExtractor=lambda _: 2**40
    )
    assert len(answers_in(run.testInPandas(BUCKET, frame(rows, rules)), rules)) == 0
    tables = [answers_in(run.setWatermark(at), rules) for at in (99, 100, 105, 109, 110)]
    assert [len(table) for table in tables] == [0, 1, 1, 0, 1]
    expect_same(answered(tables, rules), plain_loop(MODEL, rows))
    assert run.peekValueState(STATE, BUCKET) is not None
    run.setWatermark(155)
    assert run.peekValueState(STATE, BUCKET) is not None
    run.setWatermark(200)
    assert run.peekValueState(STATE, BUCKET) is None


def test_keys_that_are_idle_by_the_clock_of_processing_leave_no_state(path: Path) -> None:
    rules = settings_of(MODEL, idle=1000, idle_clock="processing")
    run = tester.TwsTester(BucketProcessor(rules, source_of(path)), timeMode="ProcessingTime")
    run.setProcessingTime(5000)
    run.testInPandas(BUCKET, frame(random_rows(MODEL, "ab", [1, 2], RNG), rules))
    run.setProcessingTime(6000)
    assert run.peekValueState(STATE, BUCKET) is not None
    run.setProcessingTime(6001)
    assert run.peekValueState(STATE, BUCKET) is None


def test_keys_begin_with_states_of_others(path: Path) -> None:
    rules = settings_of(MODEL)
    rows = random_rows(MODEL, "aabab", range(5), RNG)
    states = {}
    for key in "ab":
        stream = MODEL.stream()
        for row in rows[:3]:
            if row.key == key:
                stream.step(row.inputs["x"])
        states[key] = stream.snapshot()
    begun = initial(states, rules, [1, 2])
    run = tester.TwsTester(BucketProcessor(rules, source_of(path)), initialStatePandas=[(BUCKET, begun)])
    table = answers_in(run.testInPandas(BUCKET, frame(rows, rules)), rules)
    expected = plain_loop(MODEL, rows)
    expect_same(answered([table], rules), {row: expected[row] for row in expected if row[1][0] > 2})
    assert [text.partition(":")[0] for _, _, text in faults([table])] == ["late", "repeated", "repeated"]


def test_wrong_initial_states_are_refused(path: Path) -> None:
    rules = settings_of(MODEL)
    columns = [pa.array(["a", "a"]), pa.array([1, 2]), pa.array([MODEL.stream().snapshot()] * 2, pa.binary())]
    twice = pd.DataFrame({ROWS: [packed(pa.table(columns, schema=initial_schema(rules)))]})
    with pytest.raises(InputValueError, match=r"initial_state: expected each key once, got 'a' twice"):
        tester.TwsTester(BucketProcessor(rules, source_of(path)), initialStatePandas=[(BUCKET, twice)])
    columns[0] = pa.array(["a", None])
    null = pd.DataFrame({ROWS: [packed(pa.table(columns, schema=initial_schema(rules)))]})
    with pytest.raises(InputValueError, match=r"initial_state: expected a key everywhere, got null"):
        tester.TwsTester(BucketProcessor(rules, source_of(path)), initialStatePandas=[(BUCKET, null)])
    begun = initial({"a": OTHER.stream().snapshot()}, rules, [0])
    with pytest.raises(SnapshotError, match=r"belongs to another model"):
        tester.TwsTester(BucketProcessor(rules, source_of(path)), initialStatePandas=[(BUCKET, begun)])


def test_a_file_of_another_model_on_a_worker_is_refused(path: Path) -> None:
    with pytest.raises(SparkError, match=r"expected the model with fingerprint .*, as on the driver, got"):
        pool_of(source_of(path, OTHER))


def test_a_model_is_loaded_once_in_a_process(path: Path) -> None:
    assert pool_of(source_of(path)) is pool_of(source_of(path))


def test_rows_are_packed_by_bucket_in_their_order_whatever_types_spark_gives_them() -> None:
    rules = settings_of(MODEL, lateness=0)
    rows = random_rows(MODEL, "abcabca", range(7), RNG)
    table = table_of(rows, rules)
    given = table.set_column(0, KEY, table[KEY].cast(pa.large_string()))
    buckets = pa.array([2, 0, 1, 2, 0, 1, 2], pa.int32())
    batches = given.append_column("bucket", buckets).to_batches(max_chunksize=3)
    (whole,) = pack(batches, rules.row_schema, rules)
    assert whole["bucket"].to_pylist() == [0, 1, 2]
    assert whole["latest"].to_pylist() == [4, 5, 6]
    parts = [unpacked([part], rules.row_schema) for part in whole["rows"].to_pylist()]
    assert [part["order"].to_pylist() for part in parts] == [[1, 4], [2, 5], [0, 3, 6]]
    assert pa.concat_tables(parts).sort_by("order").combine_chunks().equals(table.combine_chunks())
    assert canonical(given, rules.row_schema).equals(table)
    assert [len(batch) for batch in pack([], rules.row_schema, rules)] == []


def test_integers_beyond_what_a_watermark_can_be_are_refused() -> None:
    rules = settings_of(MODEL, lateness=0)
    table = table_of(random_rows(MODEL, "a", [10**13], RNG), rules).append_column("bucket", pa.array([0], pa.int32()))
    with pytest.raises(InputValueError, match=r"expected integers up to 4,000,000,000,000, such as milliseconds"):
        list(pack(table.to_batches(), rules.row_schema, rules))


def test_the_name_of_a_snapshot_is_that_of_its_column() -> None:
    assert initial_schema(settings_of(MODEL)).names[-1] == SNAPSHOT


def test_a_checkpoint_without_keys_is_said() -> None:
    from grurt.spark import read_states

    session = mock.MagicMock()
    stored = session.read.format().option().option().load().select()
    stored.head.return_value = []
    with pytest.raises(SnapshotError, match=r"checkpoint: expected the state of a keyed stream, got no key"):
        read_states(session, "checkpoint", MODEL)
