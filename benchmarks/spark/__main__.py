"""Measures keyed streams on Spark beside an identity, in turns, in one session: rows a second of whole micro-batches.

Each contender has a checkpoint of its own and gets the same files. A turn is a start of its query over a few
micro-batches, of which the first is left out: it loads the state. What goes row by row takes as long for each of many
rows as for each of few, and is measured at the first size only. Needs the extra `spark` and a Java.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import environment, results
from benchmarks.spark.contenders import CONTENDERS, FEATURES, ROW_BY_ROW
from grurt.spark import local_session

PACKAGES = ("grurt", "pyspark", "pandas", "pyarrow", "numpy")


def write_batch(folder: Path, number: int, n_rows: int, n_keys: int) -> None:
    """Write the rows of a micro-batch: of any keys, in the order of time."""
    rng = np.random.default_rng(number)
    times = (number * n_rows + np.arange(n_rows)) * 1000
    columns = {
        "device": pa.array([f"device-{key:07d}" for key in rng.integers(0, n_keys, n_rows)]),
        "time": pa.array(times, pa.timestamp("us", "UTC")),
        **{name: pa.array(rng.standard_normal(n_rows).astype(np.float32)) for name in FEATURES},
    }
    folder.mkdir(exist_ok=True)
    for half in range(2):  # a file for each core
        pq.write_table(
            pa.table(columns).slice(half * n_rows // 2, n_rows // 2), folder / f"{number:04d}-{half}.parquet"
        )


def cpu_seconds() -> float:
    """Return what this process and all that it has started have used of the cores, Java and its workers among them."""
    parents, used = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        parents[int(path.parent.name)] = int(fields[1])
        used[int(path.parent.name)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return sum(used.get(process, 0.0) for process in _with_descendants(parents))


def largest_worker() -> int:
    """Return the most bytes that one of the Python workers has had in memory since it began."""
    parents, names, peaks = {}, {}, {}
    for path in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
        except OSError:  # it has ended meanwhile
            continue
        process = int(path.parent.name)
        parents[process], names[process] = int(lines["PPid"]), lines["Name"].strip()
        peaks[process] = 1024 * int(lines.get("VmHWM", "0 kB").split()[0])
    workers = _with_descendants(parents) - {os.getpid()}
    return max((peaks[process] for process in workers if names[process].startswith("python")), default=0)


def _with_descendants(parents: dict[int, int]) -> set[int]:
    """Return this process, and all that it has started."""
    ours = {os.getpid()}
    while more := {process for process, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return ours


def turn(spark: Any, name: str, folder: Path, size: dict[str, int]) -> tuple[list[float], float, dict[str, Any]]:
    """Run a contender over the files that are new to it.

    Return rows a second of each micro-batch, seconds of a core for a million rows of the whole turn, and what Spark
    says of the state.
    """
    schema = spark.read.parquet(str(folder / "in")).schema
    rows = spark.readStream.schema(schema).option("maxFilesPerTrigger", 2).parquet(str(folder / "in"))
    own = folder / f"contender-{[*CONTENDERS].index(name)}"
    writer = CONTENDERS[name](rows, size["buckets"], size["hidden_size"]).writeStream.format("parquet")
    writer = writer.option("path", str(own / "out")).option("checkpointLocation", str(own / "checkpoint"))
    begin = cpu_seconds()
    query = writer.trigger(availableNow=True).start()
    query.awaitTermination()
    if query.exception() is not None:
        raise query.exception()
    batches = [batch for batch in query.recentProgress if batch["numInputRows"]]
    rates = [1000 * batch["numInputRows"] / batch["durationMs"]["triggerExecution"] for batch in batches]
    used = 1e6 * (cpu_seconds() - begin) / sum(batch["numInputRows"] for batch in batches)
    return rates[1:], used, batches[-1]["stateOperators"][0]


def measure(spark: Any, size: dict[str, int], rounds: int, batches: int, contenders: list[str]) -> list[dict[str, Any]]:
    """Return a record for each contender."""
    folder = Path(tempfile.mkdtemp(prefix="grurt-spark-"))
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    used: dict[str, list[float]] = {name: [] for name in contenders}
    state: dict[str, Any] = {}
    largest = 0
    for round_number in range(rounds + 1):
        for number in range(batches):
            write_batch(folder / "in", round_number * batches + number, size["rows"], size["keys"])
        for name in contenders:
            found, cpu, state[name] = turn(spark, name, folder, size)
            largest = max(largest, largest_worker())
            click.echo(
                f"{size} {name}: {', '.join(f'{rate:,.0f}' for rate in found)}, {cpu:.1f} s of a core a million",
                err=True,
            )
            if round_number:  # in the first one, Java compiles
                rates[name] += found
                used[name].append(cpu)
    shutil.rmtree(folder)
    return [
        {
            "size": [size["rows"], size["keys"], size["buckets"]],
            "contender": name,
            "rows_a_second": _rounded(median(rates[name])),
            "range": [_rounded(min(rates[name])), _rounded(max(rates[name]))],
            "cpu_seconds_a_million": _rounded(median(used[name])),
            "state_bytes": state[name].get("customMetrics", {}).get("rocksdbSstFileSize", 0),
            "worker_bytes": largest,
        }
        for name in contenders
    ]


def _rounded(number: float) -> float:
    return float(f"{number:.4g}")


@click.command(help=__doc__)
@click.option(
    "--size",
    "sizes",
    nargs=3,
    type=int,
    multiple=True,
    default=((100_000, 100_000, 256), (400_000, 100_000, 256), (400_000, 1_000_000, 1024)),
    show_default=True,
    help="Rows of a micro-batch, keys, and buckets.",
)
@click.option("--hidden-size", default=32, show_default=True)
@click.option("--rounds", default=5, show_default=True, help="Turns of each contender.")
@click.option("--batches", default=4, show_default=True, help="Micro-batches of a turn; the first one is left out.")
@click.option("--cores", default=2, show_default=True)
@click.option("--memory", default="2g", show_default=True, help="Of Java.")
@click.option("--only", multiple=True, type=click.Choice([*CONTENDERS]))
@click.option("--output", type=click.Path(path_type=Path), default=results.FOLDER / "spark.json")
def main(
    sizes: tuple[tuple[int, int, int], ...],
    hidden_size: int,
    rounds: int,
    batches: int,
    cores: int,
    memory: str,
    only: tuple[str, ...],
    output: Path,
) -> None:
    """Measure, and write the results."""
    spark = local_session(cores, {"spark.driver.memory": memory})
    spark.sparkContext.setLogLevel("ERROR")
    made = environment.describe()
    made["engines"] = {package: metadata.version(package) for package in PACKAGES[1:]}
    about: dict[str, Any] = {
        "suite": "spark",
        "command": shlex.join(["python", "-m", "benchmarks.spark", *sys.argv[1:]]),
    }
    about |= {"settings": {"hidden_size": hidden_size, "rounds": rounds, "batches": batches, "cores": cores}}
    about |= {"environment": made, "turns": rounds, "missing": []}
    begin = time.perf_counter()
    records = []
    for number, (n_rows, keys, buckets) in enumerate(sizes):
        contenders = [name for name in only or CONTENDERS if not number or name != ROW_BY_ROW]
        size = {"rows": n_rows, "keys": keys, "buckets": buckets, "hidden_size": hidden_size}
        records += measure(spark, size, rounds, batches, contenders)
    spark.stop()
    about["took_seconds"] = round(time.perf_counter() - begin)
    results.write(output, about, records)


if __name__ == "__main__":
    main()
