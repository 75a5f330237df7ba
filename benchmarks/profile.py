"""Runs a script whose kernels ``perf`` knows by name.

perf reads the names of functions that are in no file from ``/tmp/perf-PID.map``: here it is written, when the kernels
have been compiled, before the script begins::

    perf record -e cpu-clock -D 15000 python -m benchmarks.profile script.py
    perf report --sort symbol --column-widths 8,60
"""

import os
import runpy
import sys
from pathlib import Path
from typing import Any

import click

from benchmarks import assembly
from grurt.kernels import machine_code
from grurt.kernels.codegen.objects import SIGNATURE
from grurt.kernels.entry import advance
from grurt.kernels.fastcall import just_in_time
from grurt.kernels.options import kernel
from grurt.runtime import engine


def load_named_kernels() -> Path:
    """Compile the kernels for this process, and write the map of their functions; return its path."""
    dispatcher: Any = kernel(advance)
    codegen = dispatcher.targetctx.codegen()
    entry, module = machine_code.optimized(dispatcher, SIGNATURE)
    target = machine_code.target_machine(codegen)
    text = target.emit_assembly(module)
    symbols = [match[1] for line in text.splitlines() if (match := assembly.LABEL.match(line))]
    address = machine_code.loaded(machine_code.MachineCode(entry, target.emit_object(module)))
    engine._entry_point = just_in_time(codegen, address, advance.__name__)
    compiler = machine_code._kept[-1]
    found = sorted((compiler.get_function_address(symbol), assembly.readable(symbol)) for symbol in symbols)
    ends = [address for address, _ in found[1:]] + [found[-1][0] + len(text)]  # of the last, what is surely enough
    path = Path(f"/tmp/perf-{os.getpid()}.map")  # where perf looks
    path.write_text(
        "".join(f"{address:x} {end - address:x} {name}\n" for (address, name), end in zip(found, ends, strict=True))
    )
    return path


@click.command(help=__doc__, context_settings={"ignore_unknown_options": True})
@click.argument("script", type=click.Path(exists=True))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def main(script: str, arguments: tuple[str, ...]) -> None:
    """Run a script."""
    load_named_kernels()
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
