"""Writes the tables of README.md and docs/quantization.md: nothing is timed, so any machine gives the same.

Recipes are tried in NumPy, on networks of which PyTorch trains one. g2p-en's rows need its package.
"""

from pathlib import Path

import click

from benchmarks.quantization.accuracy import demo_table, phoneme_table
from benchmarks.quantization.recipes import recipes_table
from benchmarks.quantization.speech import speech_table
from benchmarks.tables import between_markers

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/quantization.md")


@click.command(help=__doc__)
def main() -> None:
    """Write each table where its markers are."""
    tables = {
        "accuracy": demo_table(),
        "phonemes": phoneme_table(),
        "recipes": recipes_table(),
        "speech": speech_table(),
    }
    for page in PAGES:
        path = ROOT / page
        text = path.read_text()
        for name, table in tables.items():
            if table is not None and f"<!-- {name}: begin -->" in text:
                text = between_markers(text, name, table)
        path.write_text(text)


if __name__ == "__main__":
    main()
