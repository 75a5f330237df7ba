"""Pictures of results, as SVG: small, on a light background, in colours that colour-blind readers can tell apart."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.results import HISTOGRAM_EDGES, by_contender

COLOURS = {  # Okabe and Ito's palette
    "grurt": "#0072B2",
    "onnxruntime": "#E69F00",
    "LiteRT": "#009E73",
    "tract": "#CC79A7",
    "OpenVINO": "#56B4E9",
    "torch": "#D55E00",
    "numpy": "#666666",
}
STYLES = ("-", "--", ":")

matplotlib.use("svg")
matplotlib.rcParams.update(
    {
        "svg.fonttype": "none",  # text stays text: smaller, searchable
        "svg.hashsalt": "grurt",  # the same results give the same file
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
)


def latency_picture(results: Mapping[str, Any], title: str, path: Path) -> None:
    """Draw microseconds against hidden size for all contenders, both logarithmic."""
    figures = by_contender(results)
    drawing, axes = plt.subplots(figsize=(7.2, 4.2), layout="constrained")
    styles = _styles(figures)
    for name, times in figures.items():
        hidden_sizes = [size[1] for size in times]
        ours = name.startswith("grurt")
        axes.plot(
            hidden_sizes,
            list(times.values()),
            label=name,
            color=_colour(name),
            linestyle=styles[name],
            linewidth=2.4 if ours else 1.3,
            marker="o",
            markersize=3.5 if ours else 2.5,
            zorder=3 if ours else 2,
        )
    axes.set(xscale="log", yscale="log", xlabel="hidden size", ylabel="microseconds", title=title)
    axes.set_xticks(hidden_sizes, [str(size) for size in hidden_sizes])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(color="#dddddd", linewidth=0.6)
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: -next(iter(figures[labels[i]].values())))
    axes.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="center left",
        bbox_to_anchor=(1, 0.5),
        frameon=False,
    )
    _save(drawing, path)


def tail_picture(results: Mapping[str, Any], size: tuple[int, int], path: Path) -> None:
    """Draw the distribution of single steps of each contender, with p50, p99 and p99.9 marked."""
    records = sorted(
        (record for record in results["records"] if tuple(record["size"]) == size), key=lambda record: -record["p50"]
    )
    drawing, axes = plt.subplots(figsize=(7.2, 0.36 * len(records) + 1.1), layout="constrained")
    for row, record in enumerate(records):
        # Logarithmic in the count as well: otherwise the tail, which is what matters, could not be seen.
        heights = np.log1p(record["histogram"]) / np.log1p(max(record["histogram"]))
        colour = _colour(record["contender"])
        # Bins without steps are left out, which keeps the file small.
        first, last = np.flatnonzero(heights)[[0, -1]]
        edges = HISTOGRAM_EDGES[first : last + 2]
        axes.stairs(row + 0.8 * heights[first : last + 1], edges, baseline=row, fill=True, color=colour, alpha=0.45)
        _mark_percentiles(axes, record, row, colour, labelled=row == len(records) - 1)
    axes.set(xscale="log", xlabel="microseconds", title=f"Single timesteps, input {size[0]}, hidden {size[1]}")
    axes.set_xlim(0.7 * min(record["p50"] for record in records), 1.5 * max(record["p99.9"] for record in records))
    axes.set_ylim(-0.4, len(records))
    axes.set_yticks(np.arange(len(records)), [record["contender"] for record in records])
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.legend(loc="lower left", bbox_to_anchor=(0, -0.02), frameon=False, ncols=1, fontsize=8)
    _save(drawing, path)


def networks_picture(results: Mapping[str, Any], path: Path) -> None:
    """Draw the forecasts of sunspots and a sine, and how many digits are known after each row."""
    curves = {record["name"]: record["curves"] for record in results["records"]}
    places = [["rollout", "rollout"], ["sine", "digits"]]
    drawing, panels = plt.subplot_mosaic(places, figsize=(7.2, 4.6), layout="constrained")
    known, ahead = curves["rollout"]["known"], curves["rollout"]["forecast"]
    _draw_forecast(panels["rollout"], range(1700, 1700 + len(known)), known, ahead, 1700 + len(known) - len(ahead))
    panels["rollout"].legend(loc="upper left", frameon=False, fontsize=8)
    panels["rollout"].set(xlim=(1880, 1700 + len(known)), title="Sunspots a year")
    known, ahead = curves["sine"]["history"], curves["sine"]["forecast"]
    _draw_forecast(panels["sine"], range(len(known)), known, ahead, len(known))
    panels["sine"].set(title="A sine")
    right = curves["digits"]["right"]
    panels["digits"].bar(range(1, 1 + len(right)), [100 * share for share in right], color=COLOURS["grurt"])
    panels["digits"].set(xlabel="rows that were read", title="Digits that are known, %", ylim=(0, 100))
    _save(drawing, path)


def _draw_forecast(axes: Axes, times: range, known: Sequence[float], ahead: Sequence[float], start: int) -> None:
    axes.plot(times, known, color=COLOURS["numpy"], linewidth=1.3, label="what was")
    axes.plot(range(start, start + len(ahead)), ahead, color=COLOURS["grurt"], linewidth=2.4, label="the forecast")
    axes.grid(color="#dddddd", linewidth=0.6)


def _mark_percentiles(axes: Axes, record: Mapping[str, Any], row: int, colour: str, *, labelled: bool) -> None:
    for key, marker in (("p50", "|"), ("p99", "d"), ("p99.9", ">")):
        label = key if labelled else None
        axes.scatter(record[key], row, marker=marker, color=colour, s=36, zorder=3, label=label)


def _styles(names: Mapping[str, object]) -> dict[str, str]:
    """Return a line style for each contender: those of one engine have one colour, and differ by it."""
    seen: dict[str, int] = {}
    styles = {}
    for name in names:
        engine = _engine(name)
        styles[name] = STYLES[seen.setdefault(engine, 0) % len(STYLES)]
        seen[engine] += 1
    return styles


def _colour(name: str) -> str:
    return COLOURS[_engine(name)]


def _engine(name: str) -> str:
    return name.partition(" ")[0].rstrip(",")


def _save(drawing: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, facecolor="white", metadata={"Date": None})
    plt.close(drawing)
