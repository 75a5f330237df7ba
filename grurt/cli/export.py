"""``grurt export``: a model as an object file or as C, for programs that are not Python."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from grurt.cli import completion
from grurt.cli.parameters import Command, json_option, model_argument
from grurt.cli.places import check_folder, refuse_overwriting
from grurt.cli.printing import show
from grurt.cli.targets import NAMES, Budget, budget_options, exporter
from grurt.network.layers.base import QuantizedFormat
from grurt.regular_files import open_regular_file

if TYPE_CHECKING:
    from grurt.cli.targets import AnyExport
    from grurt.model import Model
    from grurt.native.c99.packages import Package

EXAMPLE = """\b
Examples:
    grurt export model.grurt -o out --target x86_64-linux-gnu && cc out/main.c out/model.o -o model
    grurt export model.grurt -o out --target thumbv7em-none-eabihf --weights int8 --name wakeword
    grurt export model.grurt -o out --target c99 && cc out/main.c out/model.c -o model -lm
"""


@click.command(cls=Command, epilog=EXAMPLE)
@model_argument
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write into; it is made where there is none.",
)
@click.option(
    "--target",
    metavar="TARGET",
    required=True,
    shell_complete=completion.targets,
    help=NAMES,
)
@click.option(
    "--cpu",
    metavar="CPU",
    shell_complete=completion.cpus_of_target,
    help="One of the target's CPUs; an unknown one is answered with their names.",
)
@click.option(
    "--weights",
    "weight_format",
    type=click.Choice(get_args(QuantizedFormat)),
    help="Quantize the model first, as `grurt quantize` does without recordings.",
)
@click.option(
    "--name", metavar="NAME", default="model", show_default=True, help="What names of functions and files begin with."
)
@click.option(
    "--package",
    type=click.Choice(["arduino", "cmake", "platformio"]),
    help="Of --target c99: write a folder that this build tool takes as it is, with an example.",
)
@budget_options
@json_option
def export(
    model_path: Path,
    output: Path,
    target: str,
    cpu: str | None,
    weight_format: QuantizedFormat | None,
    name: str,
    package: "Package | None",
    flash: int | None,
    ram: int | None,
    as_json: bool,
) -> None:
    """Compile a model, or write it in C, for programs in C.

    Writes the object (code, and the weights as read-only data), a C header, and an example, for C and what can call C.
    The code holds what this model needs and no more; it allocates nothing, calls nothing, and needs neither Python nor
    any library. With --target c99, a C file stands in place of the object, for CPUs that are not among the targets.
    MODEL is a .grurt file; `grurt convert` makes one out of other formats.
    """
    check_folder(output)
    model = _model(model_path, weight_format)
    export_model = exporter(target, cpu, "grurt export", package)
    exported = export_model(model, name)
    Budget(flash, ram).check(exported, lambda formats: export_model(_model(model_path, formats), name))
    for file in exported.files:
        refuse_overwriting(output / file, [model_path])
    _refuse_another_export(output, exported)
    exported.write(output)
    files = [str(output / file) for file in exported.files]
    step, command = exported.next_step(output)
    if as_json:
        show(json.dumps({"files": files, **exported.sizes(), step: command}))
        return
    show(f"wrote {', '.join(files)}", exported.sizes_text(), f"{step}: {command}")


def _model(path: Path, weight_format: QuantizedFormat | None) -> "Model":
    from grurt.loading import read

    model = read(path)
    return model.quantize(weight_format) if weight_format else model


def _refuse_another_export(folder: Path, exported: "AnyExport") -> None:
    """Raise UsageError if the folder holds an export for another target, or of another name, that would be lost."""
    places = {Path(file).name: folder / file for file in exported.files}
    header, example = places[f"{exported.name}.h"], places.get("main.c")
    targets = _found(header, r"(?:compiled|written) by grurt \S+ for (\S+(?: \([^)]*\))?)\.$")
    if targets not in ([], [exported.target]):
        raise click.UsageError(
            f"{header}: expected none, or one for {exported.target}, got that of an export for {targets[0]}, which "
            "would be lost: choose another folder with -o, or another name with --name"
        )
    headers = _found(example, r'^#include "(.+)\.h"$') if example else []
    if headers not in ([], [exported.name]):
        raise click.UsageError(
            f"{example}: expected none, or one of {exported.name}, got that of {headers[0]}, which would be lost: "
            "choose another folder with -o"
        )


def _found(path: Path, pattern: str) -> list[str]:
    """Return what a pattern finds in the beginning of a file; nothing where there is none."""
    if not path.is_file():
        return []
    with open_regular_file(path) as file:
        return re.findall(pattern, file.read(_HEAD).decode("utf-8", "replace"), re.MULTILINE)


_HEAD = 4096
"""Bytes of a header, or of an example, that say what it is of."""
