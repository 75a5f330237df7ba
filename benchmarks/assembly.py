"""Prints what the kernels are compiled to for this CPU: assembly, or LLVM's intermediate language.

Without FUNCTION, the functions that are left after inlining, and how many instructions each has. FUNCTION is a part of
such a name, as ``cell.timestep``. Environment variables of Numba, such as NUMBA_CPU_NAME, are heeded.
"""

import re
from collections.abc import Iterator
from typing import Any

import click

from grurt.kernels.codegen.objects import SIGNATURE
from grurt.kernels.entry import advance
from grurt.kernels.machine_code import optimized, target_machine
from grurt.kernels.options import kernel

LABEL = re.compile(r"^(_Z\S+):$")
DEFINITION = re.compile(r'^define .*@"?(_Z[^"(]+)"?\(')


def compiled() -> tuple[str, str]:
    """Compile the entry point and all that it calls; return it in LLVM's language, and as assembly."""
    dispatcher: Any = kernel(advance)
    _, module = optimized(dispatcher, SIGNATURE)
    return str(module), target_machine(dispatcher.targetctx.codegen()).emit_assembly(module)


def readable(symbol: str) -> str:
    """Return the name of the function in the source that a symbol of Numba's stands for."""
    names = []
    rest = symbol.removeprefix("_ZN")
    while match := re.match(r"(\d+)", rest):
        end = match.end() + int(match[1])
        names.append(rest[match.end() : end])
        rest = rest[end:]
    return ".".join(names).removeprefix("grurt.kernels.")


def functions(text: str, start: re.Pattern[str], end: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the functions of assembly or of LLVM's language: their names and lines."""
    name, lines = "", []
    for line in text.splitlines():
        if not name and (match := start.match(line)):
            name, lines = readable(match[1]), []
        if name:
            lines.append(line)
            if line.startswith(end):
                yield name, lines
                name = ""


@click.command(help=__doc__)
@click.argument("function", default="")
@click.option("--llvm", is_flag=True, help="LLVM's intermediate language, optimized.")
def main(function: str, llvm: bool) -> None:
    """Print functions, or their names."""
    language, assembly = compiled()
    found = list(functions(language, DEFINITION, "}") if llvm else functions(assembly, LABEL, ".Lfunc_end"))
    for name, lines in found:
        if not function:
            instructions = [line for line in lines if re.match(r"\s+[a-z%]", line)]
            click.echo(f"{len(instructions):6} {name}")
        elif function in name:
            click.echo("\n".join(lines))


if __name__ == "__main__":
    main()
