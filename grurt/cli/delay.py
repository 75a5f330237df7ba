"""``grurt delay``: a model that looks ahead, as one that streams some timesteps late."""

from pathlib import Path

import click

from grurt.cli.models import load_model
from grurt.cli.parameters import WRITTEN, Command, model_argument
from grurt.cli.places import check_model_file
from grurt.cli.printing import show
from grurt.cli.report import shown_notes

EXAMPLE = """\b
Examples:
    grurt delay model.grurt -o streaming.grurt
"""


@click.command(cls=Command, epilog=EXAMPLE)
@model_argument
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    required=True,
    type=WRITTEN,
    help="The .grurt file to write, in one step or not at all.",
)
def delay(model_path: Path, output: Path) -> None:
    """Make a model that looks ahead stream, some timesteps late.

    Its answers are those of the whole sequence, so many timesteps later. It has one more input, `present`: 1 at each
    timestep, and 0 at as many more as it is late, which give the last answers. What runs in reverse, strides over
    timesteps or reads all of a sequence is refused. MODEL is a .grurt file; `grurt convert` makes one out of other
    formats.
    """
    check_model_file(output)
    delayed, _ = load_model(model_path).delayed()
    delayed.save(output)
    show(f"wrote {output}, {output.stat().st_size:,} bytes", *shown_notes(delayed.source.notes))
