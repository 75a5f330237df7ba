"""Writes the tables and draws the pictures of the results that are there: ``python -m benchmarks.report``."""

from pathlib import Path
from typing import Any

import click

from benchmarks import results, tables

ROOT = Path(__file__).parent.parent
PAGES = (
    "README.md",
    "docs/benchmarks.md",
    "docs/generation.md",
    "docs/native.md",
    "docs/networks.md",
    "docs/quantization.md",
    "docs/serving.md",
    "docs/spark.md",
    "docs/step-graphs.md",
    "docs/streaming.md",
)
IMAGES = "docs/images"


@click.command(help=__doc__)
@click.option("--results", "folder", type=click.Path(exists=True, path_type=Path), default=results.FOLDER)
@click.option("--root", type=click.Path(exists=True, path_type=Path), default=ROOT, help="The checkout to write into.")
@click.option("--pictures/--no-pictures", default=True, help="Pictures need matplotlib.")
def main(folder: Path, root: Path, pictures: bool) -> None:
    """Write tables and pictures."""
    found = results.read(folder)
    for page in PAGES:
        path = root / page
        path.write_text(tables.render(path.read_text(), found))
    if pictures:
        _draw(found, root / IMAGES)


def _draw(found: dict[str, dict[str, Any]], folder: Path) -> None:
    from benchmarks.pictures import latency_picture, networks_picture, tail_picture

    if "step" in found:
        latency_picture(found["step"], "One timestep of one GRU layer, from Python", folder / "step.svg")
    if "streams" in found:
        latency_picture(
            found["streams"],
            f"One timestep of {found['streams']['settings']['n_streams']} streams in lock-step",
            folder / "streams.svg",
        )
    if "tail" in found:
        tail_picture(found["tail"], (8, 32), folder / "tail.svg")
    if "networks" in found:
        networks_picture(found["networks"], folder / "networks.svg")


if __name__ == "__main__":
    main()
