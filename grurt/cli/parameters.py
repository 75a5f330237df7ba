"""Arguments and options that several commands take, and what holds of all that name a file."""

import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from grurt.cli.places import Place, naming, refuse_overwriting
from grurt.regular_files import NotRegularError, check_regular


class ReadFile(click.Path):
    """The type of a file that is read: a regular one, as opening anything else might wait for ever."""

    def __init__(self) -> None:
        super().__init__(exists=True, path_type=Path)
        self.name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if path.is_dir():
            self.fail(_about_folder(path), param, ctx)
        _expect_regular(path, param, ctx)
        return path


def _about_folder(path: Path) -> str:
    """Say what a folder is that was given in place of a file."""
    from grurt.converters.foreign_formats import of_folder

    with suppress(OSError):
        if (found := of_folder(path)) is not None:
            what, advice = found
            return f"{path}: expected a file, got a folder, {what}; {advice}"
    return f"{path}: expected a file, got a folder; name the file in it"


class ReadData(click.Path):
    """The type of data that are read: a file, or what else gives bytes; ``-`` stands for stdin."""

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False, allow_dash=True)


class WrittenFile(click.Path):
    """The type of a file that is written."""

    def __init__(self, *, allow_dash: bool = False) -> None:
        super().__init__(dir_okay=False, allow_dash=allow_dash, path_type=None if allow_dash else Path)


class Layers(click.types.StringParamType):
    """The type of a description of layers: it may be the path of a file that holds one, which its suffix says."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if str(value).endswith((".toml", ".json")):
            with suppress(FileNotFoundError):  # which the converters report
                _expect_regular(Path(value), param, ctx)
        return super().convert(value, param, ctx)


class Assignment(click.types.StringParamType):
    """The type of ``NAME=VALUE``: two texts, of which the first one is not empty."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        name, sign, given = str(value).partition("=")
        if not sign or not name:
            self.fail(f"expected NAME=VALUE, got {value!r}", param, ctx)
        return name, given


class Bound(Assignment):
    """The type of ``NAME=NUMBER``, or a list of numbers as JSON has it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        name, given = super().convert(value, param, ctx)
        try:
            return name, json.loads(given)
        except (ValueError, RecursionError):
            self.fail(f"expected a number, true, false or a list of these after {name}=, got {given!r}", param, ctx)


class Finite(click.FloatRange):
    """The type of a positive number: neither NaN nor more than a limit."""

    def __init__(self, most: float) -> None:
        super().__init__(min=0, max=most, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return number


class Command(click.Command):
    """A command that writes nothing over what it reads, whichever of its parameters name that, and stdout included."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the arguments; this may print the help.

        Where a shell completes the value of an option, it has none yet, and click would read nothing of the others.
        """
        if extra.get("resilient_parsing") and args and args[-1].startswith("-"):
            args = args[:-1]
        with naming("stdout"):
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, unless an output is an input."""
        read = list(self._places(ctx, ReadFile, ReadData, Layers))
        for output in [*self._places(ctx, WrittenFile), sys.stdout]:
            refuse_overwriting(output, read)
        return super().invoke(ctx)

    def _places(self, ctx: click.Context, *types: type[ReadFile | ReadData | Layers | WrittenFile]) -> Iterator[Place]:
        for parameter in self.params:
            value = ctx.params.get(parameter.name or "")
            if isinstance(parameter.type, types) and value is not None:
                values = value if isinstance(value, tuple) else (value,)
                standard = sys.stdin if isinstance(parameter.type, ReadData) else sys.stdout
                yield from (standard if each == "-" else Path(each) for each in values)


def _expect_regular(path: Path, param: click.Parameter | None, ctx: click.Context | None) -> None:
    try:
        check_regular(path)
    except NotRegularError as error:
        raise click.BadParameter(f"{path}: {error.strerror}", ctx, param) from error


READ = ReadFile()
WRITTEN = WrittenFile()

model_argument = click.argument("model_path", metavar="MODEL", type=READ)
entry_option = click.option(
    "--entry",
    metavar="NAME",
    help="Which network of weights that are of several: the key of its state dict in a checkpoint, e.g. actor or "
    "nets.actor, or a module of a state dict.",
)
bind_option = click.option(
    "--bind",
    metavar="NAME=VALUE",
    type=Bound(),
    multiple=True,
    help="Of a graph of one timestep: fix an input, such as sr=16000, before anything else is looked at.",
)
size_option = click.option(
    "--size",
    metavar="NAME=N",
    type=Bound(),
    multiple=True,
    help="Of a graph of one timestep: how large a size may be, at most, that inputs of --context leave open, such as "
    "how many places a memory has.",
)
columns_option = click.option(
    "--columns",
    metavar="A,B,...",
    callback=lambda ctx, param, value: tuple(column.strip() for column in value.split(",")) if value else (),
    help="The columns of a CSV input that the model reads, in its order: names of the header, or numbers from 1.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
