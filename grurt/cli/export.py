"""``grurt export``: a model as an object file, for programs that are not Python."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from grurt.cli import completion
from grurt.cli.parameters import Command, json_option, model_argument
from grurt.cli.places import check_folder, refuse_overwriting
from grurt.cli.printing import show
from grurt.network.layers.base import QuantizedFormat
from grurt.regular_files import open_regular_file

if TYPE_CHECKING:
    from grurt.native.export import Export

EXAMPLE = """\b
Examples:
    grurt export model.grurt -o out --target x86_64-linux-gnu && cc out/main.c out/model.o -o model
    grurt export model.grurt -o out --target thumbv7em-none-eabihf --weights int8 --name wakeword
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
    help="x86_64-linux-gnu, aarch64-linux-gnu, riscv64-linux-gnu, thumbv7em-none-eabihf (Cortex-M4), riscv32, wasm32.",
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
@json_option
def export(
    model_path: Path,
    output: Path,
    target: str,
    cpu: str | None,
    weight_format: QuantizedFormat | None,
    name: str,
    as_json: bool,
) -> None:
    """Compile a model into an object file, for programs in C.

    Writes the object (code, and the weights as read-only data), a C header, and an example, for C and what can call C.
    The code holds what this model needs and no more; it allocates nothing, calls nothing, and needs neither Python nor
    any library. MODEL is a .grurt file; `grurt convert` makes one out of other formats.
    """
    check_folder(output)
    from grurt.loading import read
    from grurt.native.requirements import expect_numba

    expect_numba("grurt export")
    from grurt.native.export import export as export_model

    model = read(model_path)
    if weight_format:
        model = model.quantize(weight_format)
    exported = export_model(model, target, cpu=cpu, name=name)
    for file in exported.files:
        refuse_overwriting(output / file, [model_path])
    _refuse_another_export(output, exported)
    exported.write(output)
    files = [str(output / file) for file in exported.files]
    step, command = _next_step(exported, output)
    if as_json:
        show(json.dumps({"files": files, **exported.sizes(), step: command}))
        return
    show(f"wrote {', '.join(files)}", sizes_text(exported), f"{step}: {command}")


def _next_step(exported: "Export", folder: Path) -> tuple[str, str]:
    """Return what is to be done with the files, and the command that does it."""
    name, compiler = exported.name, exported.compiler
    if exported.target.startswith("wasm32"):
        return "link", f"{compiler} {folder / name}.o -o {folder / name}.wasm"
    return "compile", f"{compiler} {folder / 'main.c'} {folder / name}.o -o {name}"


def _refuse_another_export(folder: Path, exported: "Export") -> None:
    """Raise UsageError if the folder holds an export for another target, or of another name, that would be lost."""
    header, example = folder / f"{exported.name}.h", folder / "main.c"
    targets = _found(header, r"compiled by grurt \S+ for (\S+ \([^)]*\))\.")
    if targets not in ([], [exported.target]):
        raise click.UsageError(
            f"{header}: expected none, or one for {exported.target}, got that of an export for {targets[0]}, which "
            "would be lost: choose another folder with -o, or another name with --name"
        )
    headers = _found(example, r'^#include "(.+)\.h"$')
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


def sizes_text(exported: "Export") -> str:
    """Return what a model takes on its target."""
    flash = exported.code_bytes + exported.data_bytes
    return (
        f"{exported.target}: {flash:,} bytes of flash ({exported.code_bytes:,} code, {exported.data_bytes:,} weights), "
        f"{exported.state_bytes:,} bytes of RAM for each stream, {exported.scratch_bytes:,} for all of them together"
        + (f", {exported.context_bytes:,} for a context" if exported.context_bytes else "")
    )
