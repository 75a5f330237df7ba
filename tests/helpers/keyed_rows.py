"""Rows of many keys, and what a plain loop over single streams answers to them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

import grurt
from grurt.spark.columns import ports_of
from grurt.spark.settings import ARROW_KEYS, Column, Settings

KINDS = {"string": "string", "binary": "binary", "integer": "bigint"}


class Row(NamedTuple):
    key: Any
    order: tuple[int, ...]
    inputs: dict[str, Any]


def settings_of(model: grurt.Model, *, key: str = "string", n_orders: int = 1, **rules: Any) -> Settings:
    inputs, outputs = ports_of(model)
    order = tuple(Column(name, "integer", "bigint") for name in ("time", "number")[:n_orders])
    rules = {"n_buckets": 4, **rules}
    return Settings(Column("device", key, KINDS[key]), order, inputs, outputs, fingerprint=model.fingerprint, **rules)


def random_rows(model: grurt.Model, keys: Iterable[Any], orders: Any, rng: np.random.Generator) -> list[Row]:
    """Return a row for each key, with random inputs; orders are integers, or tuples of two."""
    rows = []
    for key, order in zip(keys, orders, strict=True):
        inputs = {
            port.name: rng.normal(size=port.size).astype(np.float32)
            if isinstance(port, grurt.Input)
            else int(rng.integers(port.vocabulary_size))
            for port in model.inputs
        }
        rows.append(Row(key, order if isinstance(order, tuple) else (int(order),), inputs))
    return rows


def table_of(rows: list[Row], settings: Settings) -> Any:
    columns: list[Any] = [pa.array([row.key for row in rows], ARROW_KEYS[settings.key.kind])]
    columns += [pa.array([row.order[i] for row in rows], pa.int64()) for i in range(len(settings.order))]
    for port, field in zip(settings.inputs, list(settings.row_schema)[-len(settings.inputs) :], strict=True):
        given = [row.inputs[port.name] for row in rows]
        columns.append(pa.array([x.tolist() if isinstance(x, np.ndarray) else x for x in given], field.type))
    return pa.table(columns, schema=settings.row_schema)


def plain_loop(model: grurt.Model, rows: Iterable[Row]) -> dict[tuple[Any, tuple[int, ...]], list[np.ndarray]]:
    """Return the answers of single streams, stepped row by row in order; by key and order value, one for each tie."""
    streams: dict[Any, grurt.Stream] = {}
    answers: dict[tuple[Any, tuple[int, ...]], list[np.ndarray]] = {}
    for row in sorted(rows, key=lambda row: row.order):
        stream = streams.setdefault(row.key, None) or model.stream()
        streams[row.key] = stream
        answer = stream.step(row.inputs if len(row.inputs) > 1 else next(iter(row.inputs.values())))
        first = next(iter(answer.values())) if isinstance(answer, dict) else answer
        answers.setdefault((row.key, row.order), []).append(np.array(first))
    return answers


def answered(tables: Iterable[Any], settings: Settings) -> dict[tuple[Any, tuple[int, ...]], list[np.ndarray]]:
    """Return the answers in tables, as `plain_loop` has them."""
    found: dict[tuple[Any, tuple[int, ...]], list[np.ndarray]] = {}
    name = settings.outputs[0].name
    for table in tables:
        for row in table.to_pylist():
            if row["fault"] is None:
                order = tuple(row[name] for name in settings.order_names)
                found.setdefault((row["key"], order), []).append(np.array(row[name], np.float32).reshape(-1))
    return found


def faults(tables: Iterable[Any]) -> list[tuple[Any, Any, str]]:
    """Return the rows without an answer: key, order value, and why."""
    return [
        (row["key"], row["order"], row["fault"])
        for table in tables
        for row in table.to_pylist()
        if row["fault"] is not None
    ]


def expect_same(found: dict[Any, list[np.ndarray]], expected: dict[Any, list[np.ndarray]]) -> None:
    """Raise unless the answers are the same bits, to the same rows."""
    assert found.keys() == expected.keys()
    for row, answers in expected.items():
        assert [a.tobytes() for a in found[row]] == [a.reshape(-1).tobytes() for a in answers], row
