"""Compares grurt's lead with the one that it had: ``python -m benchmarks.check``.

Only ratios of figures from one run are compared, never times: to a peer, to the arithmetic peak, to the bandwidth that
reading alone reaches. Each may be as low as 0.75 of what the committed file says. The exit code is 1 if one is lower.
"""

import json
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from benchmarks import results
from benchmarks.results import by_contender

RATIOS = Path(__file__).parent / "ratios.json"
SIZES = Path(__file__).parent / "sizes.toml"
MARGIN = 0.75

LEADS = {
    "step": (("grurt step", "onnxruntime run"), ("grurt step, out=", "LiteRT")),
    "sequence": (("grurt Model.run", "onnxruntime run"),),
    "streams": (("grurt StreamPool.step", "onnxruntime run"),),
}
"""By suite: a contender of ours, and the peer whose time is divided by its time."""

SHARES = {"streams": "fraction_of_peak", "kernel": "fraction_of_bandwidth"}
"""By suite: a figure of our records that is a ratio already."""

COMPARED = (*dict.fromkeys((*LEADS, *SHARES)), "calls")
"""The suites. Of *calls* each record holds its ratio to onnxruntime, where that does the same."""

BANDWIDTH_BOUND = 128
"""Hidden size from which on the kernel's time is that of reading the weights."""


def ratios(suite: str, measured: Mapping[str, Any]) -> dict[str, float]:
    """Return the ratios of a suite's results by a description, the higher the better."""
    found = {}
    times = by_contender(measured) if suite in LEADS else {}
    for ours, peer in LEADS.get(suite, ()):
        for size in times.get(peer, ()):
            found[f"{suite} {size[0]},{size[1]}: {peer} / {ours}"] = times[peer][size] / times[ours][size]
    for record in measured["records"]:
        size = record["size"]
        if suite in SHARES and record["contender"].startswith("grurt") and size[1] >= BANDWIDTH_BOUND:
            found[f"{suite} {size[0]},{size[1]}: {SHARES[suite]}"] = record[SHARES[suite]]
        if suite == "calls" and "ratio" in record:
            found[f"calls {size[0]},{size[1]}: onnxruntime / {record['contender']}"] = record["ratio"]
    return {description: round(ratio, 3) for description, ratio in found.items()}


def lost(expected: Mapping[str, float], found: Mapping[str, float]) -> list[str]:
    """Return a line for each ratio that is lower than the margin allows; what was not measured is not compared."""
    return [
        f"{description}: expected at least {MARGIN * expected[description]:.3g}, got {ratio:.3g}"
        for description, ratio in found.items()
        if description in expected and not ratio >= MARGIN * expected[description]
    ]


@click.command(help=__doc__)
@click.option("--update", is_flag=True, help="Write the ratios of the committed results; measure nothing.")
@click.option("--processes", default=3, show_default=True)
@click.option("--rounds", default=7, show_default=True)
def main(update: bool, processes: int, rounds: int) -> None:
    """Measure what the ratios need, and compare."""
    if update:
        committed = results.read()
        known = {key: ratio for suite in COMPARED for key, ratio in ratios(suite, committed[suite]).items()}
        RATIOS.write_text(json.dumps(known, indent=2) + "\n")
        return
    expected = json.loads(RATIOS.read_text())
    found = {key: ratio for suite in COMPARED for key, ratio in _measure(suite, processes, rounds).items()}
    for description, ratio in found.items():
        click.echo(f"{ratio:8.3g}  (was {expected.get(description, float('nan')):.3g})  {description}")
    if complaints := lost(expected, found):
        click.echo("\n" + "\n".join(complaints), err=True)
        sys.exit(1)


def _measure(suite: str, processes: int, rounds: int) -> dict[str, float]:
    from benchmarks.processes import run
    from benchmarks.suites import SUITES

    only = sorted({name for pair in LEADS.get(suite, ()) for name in pair})
    settings = tomllib.loads(SIZES.read_text())[suite] | {"rounds": rounds, "seconds": 0.01, "only": only}
    measured, _ = run(SUITES[suite], settings, processes, core=None)
    return ratios(suite, {"records": measured})


if __name__ == "__main__":
    main()
