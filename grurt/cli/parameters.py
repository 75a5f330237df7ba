"""Arguments and options that several commands take."""

from pathlib import Path

import click

READ = click.Path(exists=True, dir_okay=False, path_type=Path)
"""The type of a file that is read."""

WRITTEN = click.Path(dir_okay=False, path_type=Path)
"""The type of a file that is written."""

model_argument = click.argument("model_path", metavar="MODEL", type=READ)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
