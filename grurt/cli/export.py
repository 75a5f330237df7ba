"""``grurt export``: a model as an object file, for programs that are not Python."""

from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from grurt.cli.parameters import Command, model_argument
from grurt.cli.places import check_folder, refuse_overwriting
from grurt.cli.printing import show
from grurt.network.layers.base import QuantizedFormat

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
    help="x86_64-linux-gnu, aarch64-linux-gnu, riscv64-linux-gnu, thumbv7em-none-eabihf (Cortex-M4), riscv32, wasm32.",
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
    exported.write(output)
    object_name = f"{name}.o"
    show(f"wrote {', '.join(str(output / file) for file in exported.files)}")
    show(sizes_text(exported))
    if exported.target.startswith("wasm32"):
        show(f"link: {exported.compiler} {output / object_name} -o {output / name}.wasm")
    else:
        show(f"compile: {exported.compiler} {output / 'main.c'} {output / object_name} -o {name}")


def sizes_text(exported: "Export") -> str:
    """Return what a model takes on its target."""
    flash = exported.code_bytes + exported.data_bytes
    return (
        f"{exported.target}: {flash:,} bytes of flash ({exported.code_bytes:,} code, {exported.data_bytes:,} weights), "
        f"{exported.state_bytes:,} bytes of RAM for each stream, {exported.scratch_bytes:,} for all of them together"
        + (f", {exported.context_bytes:,} for a context" if exported.context_bytes else "")
    )
