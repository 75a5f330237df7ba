"""From a DataFrame's columns to rows on their way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F  # noqa: N812 - everybody's name for it

from grurt.spark.columns import Columns, Source, ports_of
from grurt.spark.settings import FAULT, KEY, Settings

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame

    from grurt.model import Model


def resolved(
    where: str, df: DataFrame, network: Model, *, key: Any, order: Any, features: Any
) -> tuple[Settings, tuple[Source, ...]]:
    """Return settings with the columns that a user names, and where each input comes from."""
    columns = Columns(where, {field.name: field.dataType.simpleString() for field in df.schema.fields})
    inputs, outputs = ports_of(network)
    settings = Settings(
        columns.key(key), columns.order(order), inputs, outputs, n_buckets=1, fingerprint=network.fingerprint
    )
    own = [settings.key.name, *(column.name for column in settings.order)]
    columns.expect_distinct([*own, *(port.name for port in outputs), FAULT])
    return settings, columns.sources(features, inputs)


def row_columns(settings: Settings, sources: Sequence[Source]) -> list[SparkColumn]:
    """Return the columns of `Settings.row_schema`, out of the user's."""
    columns = [F.col(quoted(settings.key.name)).alias(KEY)]
    for name, column in zip(settings.order_names, settings.order, strict=True):
        columns.append(F.col(quoted(column.name)).alias(name))
    for name, port, source in zip(settings.input_names, settings.inputs, sources, strict=True):
        own = [F.col(quoted(column)) for column in source.columns]
        if port.tokens:
            columns.append(own[0].cast("bigint").alias(name))
        else:
            frame = own[0] if source.is_array else F.array(*(column.cast("float") for column in own))
            columns.append(frame.cast("array<float>").alias(name))
    return columns


def quoted(name: str) -> str:
    """Return a name that Spark takes as it stands, whatever points there are in it."""
    return "`" + name.replace("`", "``") + "`"
