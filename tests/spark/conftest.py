"""A Spark session for all tests that need one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from grurt.errors import SparkError
from grurt.spark.requirements import expect_java, expect_packages


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    try:
        expect_packages()
        expect_java()
    except SparkError as error:
        pytest.skip(str(error))
    from grurt.spark import local_session

    # Java compiles once, and not again for speed: queries here end before that would pay.
    os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")
    session = local_session(2, {"spark.driver.memory": "1g", "spark.sql.session.timeZone": "Asia/Kolkata"})
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()
