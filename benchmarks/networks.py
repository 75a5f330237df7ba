"""Trains the networks of examples/networks, shows each, and writes what was found as JSON.

Needs Keras, PyTorch, and the packages whose data the examples read. ``python -m benchmarks.report`` makes of it the
tables, texts and the picture of docs/networks.md.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from benchmarks import environment, results
from benchmarks.timing import pin

FOLDER = Path(__file__).parents[1] / "examples" / "networks"
EXAMPLES: dict[str, tuple[str, dict[str, int]]] = {
    "sine": ("sine", {}),
    "rollout": ("rollout", {}),
    "sentiment": ("sentiment", {}),
    "bits": ("bits", {}),
    "digits": ("digits", {}),
    "lengths": ("lengths", {}),
    "dna": ("dna", {}),
    "dates": ("dates", {"attention": 0}),
    "dates_attention": ("dates", {"attention": 1}),
    "characters": ("characters", {}),
}
"""By the name of a network: its script, and what that is asked for."""
PACKAGES = ("grurt", "torch", "keras", "numpy")


def shown(name: str, folder: Path) -> dict[str, Any]:
    """Train a network, and return what was found, with figures of four digits."""
    if str(FOLDER) not in sys.path:
        sys.path.insert(0, str(FOLDER))
    script, options = EXAMPLES[name]
    return {key: _rounded(value) for key, value in asdict(import_module(script).show(folder, **options)).items()}


def spelled() -> list[str]:
    """Return what examples/g2p prints; nothing without its package."""
    script = FOLDER.parent / "g2p" / "spell.py"
    if find_spec("g2p_en") is None:
        return []
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    return run.stdout.splitlines()


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


@click.command(help=__doc__)
@click.argument("names", nargs=-1, type=click.Choice([*EXAMPLES, "g2p"]))
@click.option("--output", type=click.Path(path_type=Path), default=results.FOLDER, help="Folder for the results.")
def main(names: tuple[str, ...], output: Path) -> None:
    """Show all networks, or some, whose results take the place of the old ones."""
    begun, core = time.perf_counter(), pin(None)
    before = results.read(output).get("networks", {"records": [], "printed": {}})
    records, printed = {record["name"]: record for record in before["records"]}, before["printed"]
    for name in names or (*EXAMPLES, "g2p"):
        click.echo(f"{name}:", err=True)
        if name == "g2p":
            printed[name] = spelled() or printed.get(name, [])
            continue
        with tempfile.TemporaryDirectory() as folder:
            record = shown(name, Path(folder))
        printed[name], records[name] = record.pop("lines"), record
    engines = {package: metadata.version(package) for package in PACKAGES}
    about = {"suite": "networks", "command": "python -m benchmarks.networks", "missing": []}
    about |= {"turns": 15, "statistic": "lowest tenths of the time on the CPU"}
    about |= {"environment": environment.describe() | {"engines": engines}, "core": core}
    about |= {"took_seconds": round(time.perf_counter() - begun), "printed": printed}
    results.write(output / "networks.json", about, [records[name] for name in EXAMPLES if name in records])


if __name__ == "__main__":
    main()
