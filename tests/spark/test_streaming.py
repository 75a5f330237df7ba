"""Keyed streams on a Spark of this machine's: the bits of single streams, their states, and what is refused."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import context_programs
import keyed_rows
import models
import numpy as np
import pytest
from keyed_rows import Row, expect_same, plain_loop

import grurt
from grurt.errors import InputTypeError, InputValueError, SnapshotError, SparkError, StreamingError
from grurt.spark.requirements import ROCKSDB, STATE_STORE

pytest.importorskip("pyspark", reason="the extra spark is not installed")
from spark_queries import FEATURES, MICROSECONDS, answers_of, rows_of, run, source, states_of, write

from grurt.spark import apply_gru, read_states, stream_gru

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*socket:ResourceWarning"),  # PySpark leaves them to be collected,
    pytest.mark.filterwarnings("ignore:.*socket:pytest.PytestUnraisableExceptionWarning"),  # which may be in any test
]

RNG = np.random.default_rng(200)
MODEL = models.gru_model(3, 9, RNG)
OTHER = models.gru_model(3, 9, RNG)
ROWS = rows_of(600, 40, RNG)


def shuffled(rows: list[Any]) -> list[Any]:
    return [rows[i] for i in RNG.permutation(len(rows))]


@pytest.fixture(scope="module")
def first(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a query that was ended after two of three files, and started again."""
    folder = tmp_path_factory.mktemp("first")
    for index in range(2):
        write(folder / "in", f"{index}", shuffled(ROWS[200 * index : 200 * (index + 1)]))
    run(spark, folder / "in", MODEL, folder, buckets=4)
    write(folder / "in", "2", shuffled(ROWS[400:]))
    run(spark, folder / "in", MODEL, folder, buckets=4)
    return folder


def test_answers_are_those_of_single_streams_also_after_a_restart(spark: Any, first: Path) -> None:
    found, faults = answers_of(spark.read.parquet(str(first / "answers")))
    expect_same(found, plain_loop(MODEL, ROWS))
    assert faults == []


def test_states_are_those_of_single_streams_and_begin_another_query(spark: Any, first: Path, tmp_path: Path) -> None:
    states = read_states(spark, str(first / "checkpoint"), MODEL)
    assert states.columns == ["key", "order", "steps", "snapshot"]
    found = {row.key: bytes(row.snapshot) for row in states.collect()}
    assert found == states_of(MODEL, ROWS)
    saved = tmp_path / "states"
    states.write.parquet(str(saved))
    more = [row._replace(order=(row.order[0] + 600_000_000,)) for row in ROWS]
    write(tmp_path / "in", "0", [*more, *ROWS[-5:]])
    run(spark, tmp_path / "in", MODEL, tmp_path, buckets=7, initial_state=spark.read.parquet(str(saved)))
    found_more, faults = answers_of(spark.read.parquet(str(tmp_path / "answers")))
    both = plain_loop(MODEL, [*ROWS, *more])
    expect_same(found_more, {row: both[row] for row in both if row[1][0] >= MICROSECONDS + 600_000_000})
    assert len(faults) == 5


def test_a_checkpoint_of_another_number_of_buckets_or_another_model_is_refused(spark: Any, first: Path) -> None:
    write(first / "in", "3", ROWS[:50])
    with pytest.raises(Exception, match=r"expected keys spread over 5 buckets, got a checkpoint of 4"):
        run(spark, first / "in", MODEL, first, buckets=5)
    with pytest.raises(SnapshotError, match=r"expected states of the model with fingerprint"):
        read_states(spark, str(first / "checkpoint"), OTHER)
    (first / "in" / "3.parquet").unlink()


def test_late_rows_are_waited_for_and_idle_keys_begin_anew(spark: Any, tmp_path: Path) -> None:
    """Rows come up to 40 s out of order, the last one in order; one key is silent for nearly six minutes."""
    rows = [row for row in ROWS if row.key != "device-0" or not 100 <= (row.order[0] - MICROSECONDS) // 10**6 < 450]
    arrival = np.argsort([row.order[0] // 10**6 + RNG.uniform(0, 40) for row in rows[:-1]] + [2**62])
    for index, part in enumerate(np.array_split(arrival, 4)):
        write(tmp_path / "in", f"{index}", [rows[i] for i in part])
    run(spark, tmp_path / "in", MODEL, tmp_path, buckets=3, lateness="40 seconds", idle_timeout="4 minutes")
    found, faults = answers_of(spark.read.parquet(str(tmp_path / "answers")))
    assert faults == []
    due = {(row.key, row.order) for row in rows if row.order[0] <= rows[-1].order[0] - 40 * 10**6}
    silent = [row for row in rows if row.key == "device-0"]
    again = {row.order for row in silent if row.order[0] > MICROSECONDS + 400 * 10**6}
    assert 0 < len(again) < len(silent)
    expected = plain_loop(MODEL, [row for row in rows if row.key != "device-0" or row.order not in again])
    expected |= plain_loop(MODEL, [row for row in silent if row.order in again])
    expect_same(found, {row: expected[row] for row in due})


def test_a_clock_that_is_ahead_makes_no_row_of_the_others_late(spark: Any, tmp_path: Path) -> None:
    now = int(time.time()) * 10**6
    rows = [row._replace(order=(row.order[0] - ROWS[-1].order[0] + now,)) for row in ROWS]
    ahead = Row("ahead", (now + 365 * 86400 * 10**6,), rows[0].inputs)
    write(tmp_path / "in", "0", [ahead, *rows[:300]])
    write(tmp_path / "in", "1", rows[300:])
    run(spark, tmp_path / "in", MODEL, tmp_path, buckets=3, lateness="1 minute", idle_timeout="1 hour")
    found, faults = answers_of(spark.read.parquet(str(tmp_path / "answers")))
    assert faults == []
    expected = plain_loop(MODEL, rows)
    assert len(found) > 300
    expect_same(found, {row: expected[row] for row in found})


def test_rows_that_cannot_be_computed_with_are_given_out(spark: Any, tmp_path: Path) -> None:
    rows = ROWS[:6]
    columns = {
        "device": keyed_rows.pa.array(["a", None, "a", "a", "a", "a"]),
        "ax": keyed_rows.pa.array([1.0, 1.0, None, float("nan"), 1e300, 1.0]),
        "time": keyed_rows.pa.array(
            [MICROSECONDS + i for i in range(5)] + [None], keyed_rows.pa.timestamp("us", "UTC")
        ),
    }
    write(tmp_path / "in", "0", rows, **columns)
    progress = run(spark, tmp_path / "in", MODEL, tmp_path, buckets=2, lateness="0 seconds", idle_timeout="1 day")
    counts = [batch["observedMetrics"]["rows"] for batch in progress]
    assert sum(batch["all"] for batch in counts) == 6
    assert sum(batch["without_answer"] for batch in counts) == 5
    _, faults = answers_of(spark.read.parquet(str(tmp_path / "answers")))
    texts = sorted(text.partition(":")[2].strip()[:36] for _, _, text in faults)
    assert texts == sorted(
        [
            "expected a value, got null",
            "expected a value, got null",
            "expected 3 numbers, got a null among",
            "expected finite numbers, got nan; cl",
            "expected finite numbers, got inf; cl",
        ]
    )


def test_sequences_at_rest_have_the_same_answers(spark: Any, tmp_path: Path) -> None:
    write(tmp_path / "in", "0", shuffled(ROWS))
    write(tmp_path / "in", "1", ROWS[:3])
    frame = spark.read.parquet(str(tmp_path / "in"))
    batch = spark.conf.get("spark.sql.execution.arrow.maxRecordsPerBatch")
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "37")
    try:
        all_answers = apply_gru(frame, MODEL, key="device", order="time", features=FEATURES, partitions=3)
        found, faults = answers_of(all_answers)
        last = apply_gru(frame, MODEL, key="device", order="time", features=FEATURES, answers="last")
        found_last, faults_of_last = answers_of(last)
    finally:
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", batch)
    expected = plain_loop(MODEL, ROWS)
    expect_same(found, expected)
    assert len(faults) == len(faults_of_last) == 3
    latest = {row.key: (row.key, row.order) for row in ROWS}
    expect_same(found_last, {row: expected[row] for row in latest.values()})


def test_models_of_whole_sequences_run_at_rest(spark: Any, tmp_path: Path) -> None:
    last = models.layer_model(
        grurt.GRU(name="ahead", input_size=3, hidden_size=5),
        grurt.GRU(name="behind", input_size=3, hidden_size=4, direction="reverse", inputs=("x",)),
        grurt.Concat(name="both", inputs=("ahead", "behind")),
        grurt.LastStep(name="last", inputs=("both",)),
        rng=RNG,
    )
    write(tmp_path / "in", "0", shuffled(ROWS))
    frame = spark.read.parquet(str(tmp_path / "in"))
    asked = {"key": "device", "order": "time", "features": FEATURES}
    found, faults = answers_of(apply_gru(frame, last, answers="last", **asked))
    keys = {row.key for row in ROWS}
    expected = {}
    for key in keys:
        rows = sorted((row for row in ROWS if row.key == key), key=lambda row: row.order)
        expected[key, rows[-1].order] = [last.run(np.stack([row.inputs["x"] for row in rows]))]
    expect_same(found, expected)
    assert not faults
    with pytest.raises(
        InputValueError, match=r"is one vector of a whole sequence: with answers=\"last\" it is the answer"
    ):
        apply_gru(frame, last, **asked)
    with pytest.raises(StreamingError, match=r"the model cannot stream"):
        stream(spark, model=last)


def test_an_array_an_integer_order_tokens_and_several_inputs(spark: Any, tmp_path: Path) -> None:
    model = models.layer_model(
        grurt.Embedding(name="embed", vocabulary_size=9, size=4, inputs=("token",)),
        grurt.Concat(name="both", inputs=("a", "embed")),
        grurt.GRU(name="gru", input_size=7, hidden_size=6),
        grurt.Linear(name="score", input_size=6, output_size=1),
        inputs=(grurt.Input("a", 3), grurt.TokenInput("token", 9)),
        outputs=(grurt.Output("state", "gru"), grurt.Output("score", "score")),
        rng=RNG,
    )
    path = tmp_path / "model.grurt"
    model.save(path)
    frame = spark.createDataFrame(
        [(i % 3, i // 3, [float(i)] * 3, i % 9) for i in range(30)], "id smallint, n int, frame array<double>, word int"
    )
    frame.write.parquet(str(tmp_path / "in"))
    features = {"a": "frame", "token": "word"}
    answers = stream_gru(
        source(spark, tmp_path / "in", 1), path, key="id", order="n", features=features, lateness=2, ship=False
    )
    assert answers.dtypes == [
        ("id", "smallint"), ("n", "int"), ("state", "array<float>"), ("score", "float"), ("fault", "string")
    ]  # fmt: skip
    writer = answers.writeStream.format("memory").queryName("several").trigger(availableNow=True)
    writer.option("checkpointLocation", str(tmp_path / "checkpoint")).start().awaitTermination()
    rows = spark.table("several").orderBy("n", "id").collect()
    streams = [model.stream() for _ in range(3)]
    for row in rows:
        expected = streams[row.id].step({"a": [float(3 * row.n + row.id)] * 3, "token": (3 * row.n + row.id) % 9})
        assert np.array(row.state, np.float32).tobytes() == expected["state"].tobytes()
        assert np.float32(row.score) == expected["score"][0]
    assert len(rows) >= 3 * 7


def stream(spark: Any, **changed: Any) -> Any:
    """Ask for a stream that is never run."""
    frame = spark.readStream.format("rate").load()
    frame = frame.selectExpr("cast(value as string) as device", "timestamp as time", "value", "0.5D as ax", "1 as ay")
    frame = frame.selectExpr("*", "0.5D as az", "array(1, 2, 3) as array", "0.5D as number", "map('a', 1) as map")
    asked = {"key": "device", "order": "time", "features": FEATURES, **changed}
    return stream_gru(frame, asked.pop("model", MODEL), **asked)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"key": "divice"}, InputValueError, r"key: there is no column 'divice'; there are device, time, value"),
        ({"key": "number"}, InputTypeError, r"key 'number': expected text, bytes or integers, got double"),
        ({"order": "device"}, InputTypeError, r"order 'device': expected a timestamp or integers, which compare"),
        ({"order": ["time", "value", "ay"]}, InputTypeError, r"order: expected the name of a column, or of two"),
        ({"features": ["ax", "ay"]}, InputValueError, r"input 'x': expected 3 columns, or one of arrays, got 2"),
        ({"features": ["ax", "ay", "a"]}, InputValueError, r"features: there is no column 'a'"),
        ({"features": ["ax", "ay", "map"]}, InputTypeError, r"column 'map': expected numbers, or an array of them"),
        ({"features": {"z": "ax"}}, InputValueError, r"features: expected columns for each of the model's inputs, x"),
        ({"buckets": 0}, InputValueError, r"buckets: expected 1 to 1,048,576, got 0"),
        ({"lateness": "soon"}, InputValueError, r'lateness: expected a duration, such as "30 minutes"'),
        ({"lateness": 3}, InputValueError, r'lateness: expected a duration, such as "30 minutes"'),
        (
            {"order": "value", "lateness": "1 s"},
            InputTypeError,
            r"expected an integer in the units of the order 'value'",
        ),
        (
            {"lateness": "1 s", "idle_timeout": "1 s", "idle_clock": "processing"},
            InputValueError,
            r'expected lateness together with idle_clock="event"',
        ),
        ({"ties": "drop"}, InputValueError, r'ties: expected "skip" or "keep", got \'drop\''),
        ({"faults": "drop"}, InputValueError, r'faults: expected "report" or "raise"'),
        ({"ship": False}, InputTypeError, r"ship=False: expected the path of a file that each worker has, got a Model"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(
    spark: Any, changed: dict[str, Any], error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        stream(spark, **changed)


def test_a_model_that_needs_whole_sequences_is_refused(spark: Any) -> None:
    model = grurt.Model(
        layers=[grurt.GRU(name="gru", input_size=3, hidden_size=2, bias=False, direction="reverse")],
        weights={"gru.weight_ih": np.ones((6, 3)), "gru.weight_hh": np.ones((6, 2))},
    )
    with pytest.raises(StreamingError):
        stream(spark, model=model)


def test_a_model_with_contexts_is_refused(spark: Any) -> None:
    _, model = context_programs.random_pair(0)
    with pytest.raises(StreamingError, match=r"the model: its streams are given contexts .* convert the model without"):
        stream(spark, model=model)


def test_names_that_would_be_given_out_twice_are_refused(spark: Any) -> None:
    frame = spark.readStream.format("rate").load().selectExpr("value as y", "timestamp", "array(1, 2, 3) as x")
    with pytest.raises(InputValueError, match=r"of different names, beside 'fault', got y twice"):
        stream_gru(frame, MODEL, key="y", order="timestamp", features="x")


def test_tokens_are_one_column_of_integers(spark: Any) -> None:
    model = models.layer_model(
        grurt.Embedding(name="embed", vocabulary_size=9, size=4), grurt.GRU(name="gru", input_size=4, hidden_size=2),
        rng=RNG,
    )  # fmt: skip
    with pytest.raises(InputTypeError, match=r"expected one column of integers, token ids, got double"):
        stream(spark, model=model, features="number")


def test_streams_and_rest_are_told_apart(spark: Any) -> None:
    rest = spark.createDataFrame([("a", 1, [1.0] * 3)], "device string, time int, x array<float>")
    asked = {"key": "device", "order": "time", "features": "x"}
    with pytest.raises(InputValueError, match=r"expected a streaming DataFrame, got one at rest: see apply_gru"):
        stream_gru(rest, MODEL, **asked)
    streaming = spark.readStream.format("rate").load()
    with pytest.raises(InputValueError, match=r"expected a DataFrame at rest, got a streaming one: see stream_gru"):
        apply_gru(streaming, MODEL, **asked)
    with pytest.raises(InputValueError, match=r'answers: expected "all" or "last"'):
        apply_gru(rest, MODEL, answers="first", **asked)
    with pytest.raises(InputValueError, match=r"partitions: expected at least 1, got 0"):
        apply_gru(rest, MODEL, partitions=0, **asked)


def test_initial_states_need_columns(spark: Any) -> None:
    states = spark.createDataFrame([("a",)], "key string")
    with pytest.raises(InputValueError, match=r"expected the columns key and snapshot, got no snapshot"):
        stream(spark, initial_state=states)
    states = spark.createDataFrame([("a", b"")], "key string, snapshot binary")
    with pytest.raises(InputValueError, match=r"initial_state: expected a column order, by which keys are idle"):
        stream(spark, initial_state=states, idle_timeout="1 hour")


def test_another_state_store_is_refused(spark: Any) -> None:
    spark.conf.set(STATE_STORE, "org.apache.spark.sql.execution.streaming.state.HDFSBackedStateStoreProvider")
    try:
        with pytest.raises(
            SparkError, match=r"expected the RocksDB state store, got '.*HDFS.*'; before the query starts"
        ):
            stream(spark)
    finally:
        spark.conf.set(STATE_STORE, ROCKSDB)
