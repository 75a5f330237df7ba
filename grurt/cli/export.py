"""``grurt export``: a model as an object file or as C, for programs that are not Python."""

from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from grurt.cli.parameters import Command, model_argument
from grurt.cli.places import check_folder, refuse_overwriting
from grurt.cli.printing import show
from grurt.network.layers.base import QuantizedFormat

if TYPE_CHECKING:
    from collections.abc import Callable

    from grurt.model import Model
    from grurt.native.c99.export import SourceExport
    from grurt.native.export import Export
    from grurt.network.network import Network

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
    help="x86_64-linux-gnu, aarch64-linux-gnu, riscv64-linux-gnu, thumbv7em-none-eabihf (Cortex-M4), riscv32, wasm32; "
    "or c99: source text for any compiler.",
)
@click.option("--cpu", metavar="CPU", help="One of the target's CPUs; an unknown one is answered with their names.")
@click.option(
    "--weights",
    "weight_format",
    type=click.Choice(get_args(QuantizedFormat)),
    help="Quantize the model first, as `grurt quantize` does without recordings.",
)
@click.option(
    "--name", metavar="NAME", default="model", show_default=True, help="What names of functions and files begin with."
)
def export(
    model_path: Path, output: Path, target: str, cpu: str | None, weight_format: QuantizedFormat | None, name: str
) -> None:
    """Compile a model into an object file, or write it in C, for programs in C.

    Writes the object (code, and the weights as read-only data), a C header, and an example, for C and what can call C.
    The code holds what this model needs and no more; it allocates nothing, calls nothing, and needs neither Python nor
    any library. With --target c99, a C file stands in place of the object, for CPUs that are not among the targets.
    MODEL is a .grurt file; `grurt convert` makes one out of other formats.
    """
    check_folder(output)
    exported = exporter(target, cpu, "grurt export")(_model(model_path, weight_format), name)
    for file in exported.files:
        refuse_overwriting(output / file, [model_path])
    exported.write(output)
    show(f"wrote {', '.join(str(output / file) for file in exported.files)}")
    show(exported.sizes_text())
    show(exported.hint(output))


def _model(path: Path, weight_format: QuantizedFormat | None) -> "Model":
    from grurt.loading import read

    model = read(path)
    return model.quantize(weight_format) if weight_format else model


def exporter(target: str, cpu: str | None, command: str) -> "Callable[[Network, str], Export | SourceExport]":
    """Return what exports a model under a name for a target; the command is named where something is missing."""
    from grurt.native.c99 import TARGET

    if target == TARGET:
        if cpu is not None:
            raise click.UsageError("--cpu: c99 is for any CPU: it is your compiler that is told which")
        from grurt.native.c99.export import export_c99

        return lambda model, name: export_c99(model, name=name)
    from grurt.native.requirements import expect_numba

    expect_numba(command)
    from grurt.native.export import export

    return lambda model, name: export(model, target, cpu=cpu, name=name)
