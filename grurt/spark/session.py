"""Spark without a cluster: in this process's own Java, on this machine's cores."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from grurt.errors import InputValueError
from grurt.escaping import described
from grurt.spark.requirements import ROCKSDB, STATE_STORE, expect_java

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def local_session(cores: int | None = None, settings: Mapping[str, str] | None = None) -> SparkSession:
    """Return a Spark session on this machine, with what `stream_gru` needs: pip and a Java are enough.

    Parameters
    ----------
    cores
        How many it uses; by default all. A partition of the state for each: that number is fixed by the first start of
        a query with its checkpoint, and others may go on with it.
    settings
        Further settings of Spark's, by name; they come before those that are set here.

    Raises
    ------
    SparkError
        If there is no Java, or an old one.
    InputValueError
        If the number of cores is not positive.

    Examples
    --------
    >>> spark = local_session(2, {"spark.driver.memory": "2g"})  # doctest: +SKIP
    """
    from pyspark.sql import SparkSession

    cores = (os.cpu_count() or 1) if cores is None else cores
    if not isinstance(cores, int) or cores < 1:
        raise InputValueError(f"local_session: expected a number of cores of at least 1, got {described(cores)}")
    expect_java()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # stateful operators look nowhere else
    builder = SparkSession.builder.master(f"local[{cores}]").appName("grurt")
    defaults = {
        STATE_STORE: ROCKSDB,
        "spark.sql.shuffle.partitions": str(cores),
        "spark.ui.enabled": "false",
    }
    for name, value in {**defaults, **(settings or {})}.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()
