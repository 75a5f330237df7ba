"""``grurt compile``: the kernels as a library, so that Python starts without Numba."""

import json
from pathlib import Path

import click

from grurt.cli import completion
from grurt.cli.parameters import WRITTEN, Command, json_option
from grurt.cli.places import check_file, no_cache_directory
from grurt.cli.printing import show

EXAMPLE = """\b
Examples:
    grurt compile
    grurt compile -o kernels.so --cpu x86-64-v2 --cpu x86-64-v3 --cpu x86-64-v4
    GRURT_NATIVE=kernels.so python service.py
"""


@click.command(cls=Command, epilog=EXAMPLE)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=WRITTEN,
    help="The library to write. By default it goes where grurt finds it by itself.",
)
@click.option(
    "--cpu",
    "cpus",
    metavar="CPU",
    multiple=True,
    shell_complete=completion.cpus,
    default=("native",),
    show_default=True,
    help="For native, x86-64-v2, -v3, -v3-vnni, -v4, -v4-vnni, armv8-a or armv8.2-a+dotprod; may be repeated.",
)
@json_option
def compile(output: Path | None, cpus: tuple[str, ...], as_json: bool) -> None:  # noqa: A001 - the command's name
    """Compile the kernels into a library, ahead of time.

    A process that finds the library starts in a fraction of the time, and imports neither Numba nor llvmlite; what it
    computes are the same bits. Once the library is built, it needs no compiler any more, and runs wherever this version
    of grurt and one of its CPUs are: others pass it by. Building takes Numba, a linker, and some 15 seconds for a CPU.
    """
    if output is not None:
        check_file(output)
    from grurt.kernels.places import directory_to_write
    from grurt.native.requirements import expect_numba

    expect_numba("grurt compile")
    from grurt.native.build import build_library
    from grurt.native.library import SUFFIX

    if output is None:
        if (folder := directory_to_write()) is None:
            raise no_cache_directory()
        output = folder / f"kernels{SUFFIX}"
    description = build_library(output, cpus)
    names = [cpu.name for cpu in description.cpus]
    if as_json:
        described = {"output": str(output), "bytes": output.stat().st_size, "version": description.version}
        show(json.dumps({**described, "machine": description.machine, "cpus": names}))
        return
    show(
        f"wrote {output}, {output.stat().st_size:,} bytes: kernels of grurt {description.version} for "
        f"{', '.join(names)}"
    )
