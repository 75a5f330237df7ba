"""``grurt forecast``: how a series goes on."""

from pathlib import Path
from typing import Any

import click

from grurt.cli.formats import LineError, format_of_input, format_of_name
from grurt.cli.layout import input_layout, output_layout
from grurt.cli.models import load_model
from grurt.cli.parameters import Command, ReadData, WrittenFile, columns_option, model_argument
from grurt.cli.places import naming
from grurt.cli.readers import TimestepReader
from grurt.cli.run import open_answers, open_timesteps
from grurt.cli.writers import make_writer
from grurt.errors import InputValueError

EXAMPLE = """\b
Example:
    grurt forecast load.grurt history.csv --steps 24
"""


@click.command(cls=Command, epilog=EXAMPLE)
@model_argument
@click.argument("input_path", metavar="[INPUT]", default="-", type=ReadData())
@click.option("--steps", "n_steps", metavar="N", type=click.IntRange(min=1), required=True, help="How many timesteps.")
@click.option(
    "-o",
    "--output",
    "output_path",
    metavar="OUT",
    default="-",
    type=WrittenFile(allow_dash=True),
    help="File to write to, CSV or JSON lines by its suffix. Default: CSV to stdout.",
)
@columns_option
def forecast(model_path: Path, input_path: str, n_steps: int, output_path: str, columns: tuple[str, ...]) -> None:
    """Go on with a series: answers are read again.

    INPUT, or stdin, is the series so far, as `grurt run` reads it, the newest timestep last. The answers to that one,
    and to those answers, are written. The model has one input, and one output of the same size.
    """
    model = load_model(model_path)
    stream = model.stream()
    newest: Any = None
    with open_timesteps(input_path) as source:
        reader = TimestepReader(
            source,
            "stdin" if input_path == "-" else input_path,
            input_layout(model),
            file_format=format_of_input(input_path),
            columns=columns,
        )
        for timestep in reader:
            try:
                if newest is not None:
                    stream.step(newest)
            except InputValueError as error:
                raise LineError(f"before {reader.where}: {error}") from error
            newest = timestep
        if newest is None:
            raise LineError(f"{reader.where}: expected at least one timestep, got none")
        answers = stream.forecast(n_steps, newest)
        written = "stdout" if output_path == "-" else output_path
        with naming(written), open_answers(output_path, read=[source, model_path]) as target:
            writer = make_writer(
                target,
                output_layout(model),
                format_of_name(output_path) or "csv",
                float_format=None,
                delimiter=",",
                header=reader.has_header,
            )
            for answer in answers:
                writer.write(answer)
            writer.close()
