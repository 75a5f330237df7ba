"""Write the tables of benchmark results into the README, between markers: ``python benchmarks/tables.py``."""

import json
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def step_latency_table(results: dict[str, Any]) -> str:
    """Return the Markdown table of `benchmarks/results/step_latency.json`."""
    rows = results["rows"]
    names = list(rows[0]["microseconds"])
    head = ["us a step", *(f"{row['input_size']},{row['hidden_size']}" for row in rows)]
    lines = [head, ["---", *["---:"] * len(rows)]]
    lines += [[name, *(_figure(row["microseconds"][name]) for row in rows)] for name in names]
    lines.append(["*faster than `run` by*", *(f"*{_ratio(row):.3g}*" for row in rows)])
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    made = results["environment"]
    note = (
        f"Column heads are input size, hidden size. {made['cpu']}, one thread; {made['date']}, grurt {made['grurt']}, "
        f"onnxruntime {made['onnxruntime']}, Python {made['python']}; `{made['command']}`."
    )
    return f"{table}\n\n{note}"


def _figure(microseconds: float) -> str:
    return f"{microseconds:.2f}" if microseconds < 10 else f"{microseconds:.3g}"


def _ratio(row: dict[str, Any]) -> float:
    return float(row["microseconds"]["onnxruntime run"] / row["microseconds"]["grurt step"])


def between_markers(text: str, name: str, content: str) -> str:
    """Return the text with what stands between the markers of a table replaced."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    head, rest = text.split(begin)
    return f"{head}{begin}\n{content}\n{end}{rest.split(end)[1]}"


@click.command(help=__doc__)
def main() -> None:
    """Write every table whose results are there."""
    readme = ROOT / "README.md"
    results = json.loads((RESULTS / "step_latency.json").read_text())
    readme.write_text(between_markers(readme.read_text(), "step-latency", step_latency_table(results)))


if __name__ == "__main__":
    main()
