"""The files of results: medians over processes, one JSON file for each suite."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

Record = dict[str, Any]
"""One contender at one size: ``"size"``, ``"contender"``, and a suite's figures under other keys."""

HISTOGRAM_EDGES = np.geomspace(0.1, 1e4, 201)
"""Edges of a histogram's bins in microseconds: 40 bins to a power of ten."""

FOLDER = Path(__file__).parent / "results"


def merge(processes: Iterable[list[Record]]) -> list[Record]:
    """Return the records of several processes as one for each size and contender, figures being medians.

    Of ``"microseconds"`` the range over the processes is kept too. Histograms are added up.
    """
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in (record for records in processes for record in records):
        groups.setdefault((*record["size"], record["contender"]), []).append(record)
    return [_merge_group(group) for group in groups.values()]


def _merge_group(group: list[Record]) -> Record:
    merged: Record = {"size": list(group[0]["size"]), "contender": group[0]["contender"]}
    for key in (key for key in group[0] if key not in merged):
        values = [record[key] for record in group]
        if key == "histogram":
            merged[key] = [sum(counts) for counts in zip(*values, strict=True)]
        else:
            merged[key] = _rounded(median(values))
    if "microseconds" in merged:
        times = [record["microseconds"] for record in group]
        merged["range"] = [_rounded(min(times)), _rounded(max(times))]
    return merged


def _rounded(number: float) -> float:
    return float(f"{number:.4g}")


def write(path: Path, about: dict[str, Any], records: list[Record]) -> None:
    """Write results, one record a line."""
    head = "".join(f"  {json.dumps(key)}: {json.dumps(value)},\n" for key, value in about.items())
    lines = ",\n".join(f"    {json.dumps(record)}" for record in records)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{{\n{head}  "records": [\n{lines}\n  ]\n}}\n')


def read(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """Return all results in a folder, by suite."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def by_contender(results: Mapping[str, Any], key: str = "microseconds") -> dict[str, dict[tuple[int, int], Any]]:
    """Return one figure of every record, None where it has no such: by contender, then by size."""
    figures: dict[str, dict[tuple[int, int], Any]] = {}
    for record in results["records"]:
        figures.setdefault(record["contender"], {})[tuple(record["size"])] = record.get(key)
    return figures
