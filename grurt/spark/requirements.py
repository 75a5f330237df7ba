"""What keyed streams on Spark need: packages, a Java, and a state store that keeps what it has acknowledged."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib import metadata
from typing import Any

from grurt.errors import SparkError
from grurt.escaping import described
from grurt.installing import install_command

PYSPARK_RANGE = ((4, 0), (4, 4))
"""The first version that has what is needed, and the first that nobody has tried."""
OLDEST_JAVA = 17
STATE_STORE = "spark.sql.streaming.stateStore.providerClass"
ROCKSDB = "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
_PACKAGES = ("pyspark", "pandas", "pyarrow", "protobuf")


def expect_packages() -> None:
    """Raise SparkError unless all packages are there, in versions that work."""
    versions = {package: _version(package) for package in _PACKAGES}
    missing = [package for package, version in versions.items() if version is None]
    if missing:
        raise SparkError(f"expected the packages of the extra spark, got no {', '.join(missing)}; {_what_to_do()}")
    expect_pyspark(versions["pyspark"] or "")
    expect_pandas(versions["pandas"] or "")


def expect_pyspark(version: str) -> None:
    """Raise SparkError for a version that is too old, or that nobody has tried."""
    first, end = PYSPARK_RANGE
    if not first <= _numbers(version) < end:
        raise SparkError(
            f"expected PySpark from {first[0]}.{first[1]} to below {end[0]}.{end[1]}, got {version}; {_what_to_do()}"
        )


def expect_pandas(version: str) -> None:
    """Raise SparkError for a version with which PySpark does not work."""
    if not (2, 2) <= _numbers(version) < (3, 0):
        raise SparkError(f"expected pandas from 2.2 to below 3, which PySpark needs, got {version}; {_what_to_do()}")


def expect_java() -> None:
    """Raise SparkError unless there is a Java that Spark runs on: in ``JAVA_HOME``, or on the path."""
    home = os.environ.get("JAVA_HOME")
    java = os.path.join(home, "bin", "java") if home else shutil.which("java")  # noqa: PTH118
    if java is None or not os.access(java, os.X_OK):
        where = f"none in JAVA_HOME={home}" if home else "none on the path, and no JAVA_HOME"
        raise SparkError(
            f"expected Java {OLDEST_JAVA} or newer, got {where}; install one, such as Debian's openjdk-17-jre-headless"
        )
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)  # noqa: S603
    found = re.search(r'version "(?:1\.)?(\d+)', said.stderr + said.stdout)
    if found is None or int(found[1]) < OLDEST_JAVA:
        what = found[1] if found else described(said.stderr[:80])
        raise SparkError(f"expected Java {OLDEST_JAVA} or newer, got {what} at {java}; set JAVA_HOME to a newer one")


def expect_state_store(session: Any) -> None:
    """Raise SparkError unless a session keeps state in RocksDB, which stateful operators of Python need."""
    found = session.conf.get(STATE_STORE, "")
    if not str(found).endswith("RocksDBStateStoreProvider"):
        raise SparkError(
            f"stream_gru: expected the RocksDB state store, got {found!r}; before the query starts, run: "
            f'spark.conf.set("{STATE_STORE}", "{ROCKSDB}")'
        )


def _what_to_do() -> str:
    return f"run: {install_command('spark')}"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
