"""What is missing is said, with what to do."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import grurt.spark
from grurt.errors import SparkError
from grurt.spark import requirements


def test_missing_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(
        SparkError,
        match=r"expected the packages of the extra spark, got no pyspark, pandas, pyarrow, protobuf; "
        r"run: pip install .*pyspark",
    ):
        requirements.expect_packages()


@pytest.mark.parametrize("version", ["3.0.1", "2.1.4"])
def test_another_pandas(version: str) -> None:
    with pytest.raises(SparkError, match=rf"expected pandas from 2\.2 to below 3, .* got {version}"):
        requirements.expect_pandas(version)


@pytest.mark.parametrize("version", ["3.5.9", "4.4.0"])
def test_another_pyspark(version: str) -> None:
    with pytest.raises(SparkError, match=rf"expected PySpark from 4\.0 to below 4\.4, got {version}"):
        requirements.expect_pyspark(version)


def test_versions_that_work() -> None:
    requirements.expect_pandas("2.3.3")
    requirements.expect_pyspark("4.0.0")


def test_no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(
        SparkError,
        match=r"expected Java 17 or newer, got none on the path, and no JAVA_HOME; .*openjdk-17-jre-headless",
    ):
        requirements.expect_java()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(SparkError, match=r"got none in JAVA_HOME="):
        requirements.expect_java()


@pytest.mark.parametrize("said", ['openjdk version "11.0.2" 2019-01-15', 'java version "1.8.0_351"', "nothing"])
def test_an_old_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f"#!/bin/sh\necho '{said}' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(
        SparkError, match=r"expected Java 17 or newer, got (11|8|'nothing.*') at .*; set JAVA_HOME to a newer one"
    ):
        requirements.expect_java()


def test_no_cores() -> None:
    pytest.importorskip("pyspark", reason="the extra spark is not installed")
    with pytest.raises(ValueError, match=r"local_session: expected a number of cores of at least 1, got 0"):
        grurt.spark.local_session(0)


def test_names_are_imported_when_they_are_asked_for() -> None:
    code = "import sys, grurt.spark; assert 'stream_gru' in dir(grurt.spark); print('pyspark' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "False\n"
    with pytest.raises(AttributeError, match=r"module 'grurt\.spark' has no attribute 'run_gru'"):
        grurt.spark.run_gru  # noqa: B018
