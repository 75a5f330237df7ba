"""A day of many devices through one model on Spark, killed at random moments, and every answer there exactly once.

Needs the extra `spark` and a Java, and nothing else::

    python examples/spark/day_of_devices.py --devices 200 --kills 3

It writes a day of samples as files, an hour each, in which rows are out of order, come late, and come twice. A child
process streams them with `stream_gru`, one file in a micro-batch. Now and then its whole process group gets a SIGKILL
in the middle of a micro-batch, and another child goes on. In the end all answers are compared, bit for bit, with those
of single streams in a plain loop.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from grurt.demo import load_model, load_recordings
from grurt.spark import local_session, stream_gru

AXES = ["ax", "ay", "az", "gx", "gy", "gz"]
MIDNIGHT = int(pd.Timestamp("2025-03-30", tz="UTC").timestamp()) * 1_000_000
LATENESS = 300_000_000
"""Microseconds for which rows are waited for."""
RULES = {"lateness": "5 minutes", "buckets": 16}


def day(n_devices: int, seconds: int, hours: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return a sample of each device every so many seconds, in order, and when each arrives."""
    recordings = load_recordings().samples
    n_samples = 3_600 * hours // seconds
    offsets = rng.integers(0, seconds * 1_000_000, n_devices)
    times = MIDNIGHT + offsets[:, np.newaxis] + 1_000_000 * seconds * np.arange(n_samples)
    samples = np.resize(recordings.reshape(-1, len(AXES)), (n_devices * n_samples, len(AXES)))
    rows = pd.DataFrame(samples, columns=AXES)
    rows.insert(0, "device", np.repeat([f"device-{i:05d}" for i in range(n_devices)], n_samples))
    rows.insert(1, "time", times.ravel())
    rows["arrives"] = rows["time"] + rng.integers(0, LATENESS - 1_000_000, len(rows)) * (rng.random(len(rows)) < 0.05)
    return rows


def write(rows: pd.DataFrame, folder: Path, rng: np.random.Generator) -> None:
    """Write the rows that arrive in each hour as a file, in any order, and one of a hundred a second time."""
    hours = (rows["arrives"] - MIDNIGHT) // 3_600_000_000
    for hour, part in rows.groupby(hours):
        part = pd.concat([part, part.sample(frac=0.01, random_state=hour)]).sample(frac=1, random_state=hour)
        table = pa.Table.from_pandas(part[["device", *AXES]], preserve_index=False)
        table = table.append_column("time", pa.array(part["time"].to_numpy(), pa.timestamp("us", "UTC")))
        path = folder / f"hour-{hour:02d}.parquet"
        pq.write_table(table, path)
        os.utime(path, (MIDNIGHT // 10**6 + hour, MIDNIGHT // 10**6 + hour))  # Spark reads the oldest file first


def stream(folder: Path) -> None:
    """Run the stream over all files that have not been answered yet."""
    spark = local_session(2, {"spark.driver.memory": "1g"})
    spark.sparkContext.setLogLevel("ERROR")
    schema = spark.read.parquet(str(folder / "samples")).schema
    samples = spark.readStream.schema(schema).option("maxFilesPerTrigger", 1).parquet(str(folder / "samples"))
    answers = stream_gru(samples, load_model(), key="device", order="time", features=AXES, **RULES)
    writer = answers.writeStream.format("parquet").option("path", str(folder / "answers"))
    writer.option("checkpointLocation", str(folder / "checkpoint")).trigger(
        availableNow=True
    ).start().awaitTermination()


def run_and_kill(folder: Path, kills: int) -> int:
    """Run the stream in child processes until it is through, and kill some of them; return how many."""
    killed = 0
    while True:
        command = [sys.executable, __file__, "--stream", str(folder)]
        child = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        planned = len(batches(folder, "offsets"))
        while child.poll() is None:
            if killed < kills and len(batches(folder, "offsets")) > planned:
                time.sleep(random.uniform(0, 1.5))  # in the middle of that micro-batch, or of the next
                if child.poll() is None:
                    os.killpg(child.pid, signal.SIGKILL)
                    child.wait()
                    killed += 1
                    print(f"killed in micro-batch {len(batches(folder, 'commits'))}", flush=True)
            time.sleep(0.05)
        if child.returncode == 0:
            return killed
        if child.returncode != -signal.SIGKILL:
            raise SystemExit(f"the stream ended with {child.returncode}: run it by itself, with --stream {folder}")


def batches(folder: Path, kind: str) -> list[Path]:
    """Return what Spark has noted of micro-batches: the offsets that it has planned, or those that it has committed."""
    return [path for path in (folder / "checkpoint" / kind).glob("*") if path.name.isdigit()]


def plain_loop(rows: pd.DataFrame) -> np.ndarray:
    """Return the answers to rows that are sorted by device and time: a stream for each device."""
    model = load_model()
    samples = rows[AXES].to_numpy(np.float32)
    ends = np.append(np.flatnonzero(np.diff(rows["device"].factorize()[0])) + 1, len(rows))
    return np.concatenate([model.stream().run(samples[a:b]) for a, b in zip([0, *ends[:-1]], ends, strict=True)])


def compare(spark: SparkSession, folder: Path, rows: pd.DataFrame) -> bool:
    """Say how many answers are missing, there twice, or other than those of the plain loop; return whether none is."""
    given = spark.read.parquet(str(folder / "answers"))  # by Spark, which knows which files were committed
    given = given.selectExpr("device", "unix_micros(time) as time", "probabilities", "fault").toPandas()
    answered = given[given["fault"].isna()].sort_values(["device", "time"])
    watermark = rows["time"].max() // 1000 * 1000 - LATENESS  # which Spark counts in milliseconds
    due = rows[rows["time"] <= watermark].sort_values(["device", "time"], ignore_index=True)
    expected = dict(zip(zip(due["device"], due["time"], strict=True), plain_loop(due), strict=True))
    keys = [*zip(answered["device"], answered["time"], strict=True)]
    differ = sum(
        np.asarray(answer, np.float32).tobytes() != expected[key].tobytes()
        for key, answer in zip(keys, answered["probabilities"], strict=True)
        if key in expected
    )
    missing, twice = len(expected.keys() - set(keys)), len(keys) - len(set(keys))
    repeated = int(given["fault"].str.startswith("repeated").sum())
    late = int(given["fault"].str.startswith("late").sum())
    print(f"{len(expected):,} rows: {missing} missing, {twice} twice, {differ} other than those of a plain loop")
    print(f"{repeated:,} rows that came twice were given out as repeated, {late} as late")
    return not (missing or twice or differ or set(keys) - expected.keys())


def main() -> None:
    """Generate, stream and kill, compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=60, help="from one sample of a device to the next")
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--stream", type=Path, metavar="FOLDER", help="run nothing but the stream over a folder's files"
    )
    options = parser.parse_args()
    if options.stream is not None:
        stream(options.stream)
        return
    folder = Path(tempfile.mkdtemp(prefix="day-of-devices-"))
    (folder / "samples").mkdir()
    rng = np.random.default_rng(options.seed)
    rows = day(options.devices, options.seconds, options.hours, rng)
    write(rows, folder / "samples", rng)
    print(f"{len(rows):,} rows of {options.devices} devices in {folder}", flush=True)
    killed = run_and_kill(folder, options.kills)
    print(f"killed {killed} times, and through", flush=True)
    spark = local_session(2, {"spark.driver.memory": "1g"})
    is_right = compare(spark, folder, rows)
    spark.stop()
    shutil.rmtree(folder)
    sys.exit(0 if is_right and killed == options.kills else 1)


if __name__ == "__main__":
    main()
