"""The kernels in LLVM's intermediate language, the same for every target.

Numba optimizes for the CPU that it runs on, and takes its options from the environment. So it compiles in a process of
its own, whose environment is always the same, and leaves all optimization to `machine`.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from grurt.array_types import Array
from grurt.errors import EngineError
from grurt.kernels.places import SOURCE_DIGEST, cache_directories, read_entry, write_entry
from grurt.lanes import LANES
from grurt.native.requirements import expect_numba

if TYPE_CHECKING:
    from grurt.lowering.plan import Plan
    from grurt.network.network import Network

Part = Literal["entry", "timestep"]
"""`grurt.kernels.entry.advance`, which Python calls, or all of `grurt.kernels.timestep`."""

_ENVIRONMENT = {"NUMBA_OPT": "0", "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "PYTHONHASHSEED": "0"}

_FORMAT = 3
"""Of what is kept: a number that changes with `Kernels`."""

# The number of lanes must be known before anything else of grurt is imported.
_START = """
import sys, types
lanes = types.ModuleType("grurt.lanes")
lanes.LANES = int(sys.argv[1])
sys.modules["grurt.lanes"] = lanes
from grurt.native.intermediate import main
main(*sys.argv[2:])
"""


@dataclass(frozen=True)
class Kernels:
    """Kernels as LLVM's text.

    Parameters
    ----------
    modules
        One for each entry point. What several of them call is in each.
    symbols
        The functions of the entry points, by their names in the source. Numba has them return an error code, always
        zero, and take two addresses before their own arguments: of the result, and of an exception, never written.
    table_readers
        The functions that take a context or an operation: tables that are constant where there is one model only.
    """

    modules: tuple[str, ...]
    symbols: dict[str, str]
    table_readers: frozenset[str]


def kernels(part: Part, capabilities: Collection[str] = (), lanes: int = LANES) -> Kernels:
    """Return kernels in LLVM's language, not optimized: kept where compiled kernels are kept, or compiled now.

    Parameters
    ----------
    part
        Which.
    capabilities
        What the CPU can do of what `grurt.kernels.targets` asks for.
    lanes
        Of the kernels' vectors.

    Raises
    ------
    EngineError
        If Numba is not installed, or cannot compile the kernels.
    """
    arguments = (part, *sorted(capabilities))
    key = repr((_versions(), SOURCE_DIGEST, _FORMAT, lanes, arguments)).encode()
    name = f"{part}-{hashlib.blake2b(key, digest_size=16).hexdigest()}.ir"
    for directory in cache_directories():
        if (kept := read_entry(directory / name)) is not None:
            with suppress(zlib.error, msgspec.DecodeError):  # an entry that cannot be read is compiled anew
                return msgspec.msgpack.decode(zlib.decompress(kept), type=Kernels)
    encoded = _run("kernels", *arguments, lanes=lanes)
    any(write_entry(directory / name, zlib.compress(encoded)) for directory in cache_directories())
    return msgspec.msgpack.decode(encoded, type=Kernels)


def _versions() -> list[str]:
    """Return what the text depends on besides the sources."""
    expect_numba("compiling the kernels ahead of time")
    return [sys.version, *map(metadata.version, ("numba", "llvmlite"))]


def lowered(model: Network, lanes: int) -> Plan:
    """Return a model lowered for vectors of so many lanes."""
    from grurt.container.writing import save
    from grurt.lowering.lower import plan_of

    if lanes == LANES:
        return plan_of(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.grurt"
        save(model, path)
        encoded = _run("plan", str(path), lanes=lanes)
    fields, arrays = msgspec.msgpack.decode(encoded, type=tuple[dict[str, Any], dict[str, _Array]])
    return _plan(fields, {name: array.decode() for name, array in arrays.items()})


class _Array(msgspec.Struct):
    dtype: str
    shape: tuple[int, ...]
    content: bytes

    def decode(self) -> Array:
        return np.frombuffer(self.content, self.dtype).reshape(self.shape)


def _plan(fields: dict[str, Any], arrays: dict[str, Array]) -> Plan:
    from grurt.lowering.plan import Plan, PlanPort, PlanState

    ports = {key: tuple(PlanPort(**port) for port in fields.pop(key)) for key in ("inputs", "outputs")}
    states = msgspec.convert(fields.pop("states"), dict[str, PlanState])
    values: dict[str, Any] = {**fields, **arrays, **ports, "states": states}
    return Plan(**values)


def _run(*arguments: str, lanes: int = LANES) -> bytes:
    """Run `main` in a process of its own, in which vectors have so many lanes."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("NUMBA_") and name != "GRURT_ENGINE"
    }
    # Its modules are this process's, and none that only lies in the folder where it works.
    path = {"PYTHONPATH": os.pathsep.join(folder or os.curdir for folder in sys.path)}
    result = subprocess.run(  # noqa: S603 - this interpreter, and this module
        [sys.executable, "-P", "-c", _START, str(lanes), *arguments],
        env=inherited | _ENVIRONMENT | path,
        capture_output=True,
        check=False,
    )
    if result.returncode:
        reason = result.stderr.decode().strip().rpartition("\n")[2]
        raise EngineError(f"compiling the kernels ahead of time: Numba failed: {reason}")
    return result.stdout


def _lower(path: str) -> Any:
    from grurt.container.reading import read
    from grurt.lowering.lower import lower
    from grurt.network.costs import NO_LIMITS

    plan = lower(read(path, NO_LIMITS))
    arrays, fields = {}, {}
    for name in plan.__struct_fields__:
        value = getattr(plan, name)
        if isinstance(value, np.ndarray):
            arrays[name] = _Array(value.dtype.str, value.shape, value.tobytes())
        else:
            fields[name] = dict(value) if name == "states" else value
    return fields, arrays


def _compile(part: str, capabilities: Collection[str]) -> Kernels:
    from numba import int64
    from numba.core.compiler import Flags, compile_extra
    from numba.core.registry import cpu_target

    from grurt.kernels.targets import compiling_for
    from grurt.kernels.whole_program import linked, whole_program

    flags = Flags()
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    flags.error_model = "numpy"
    modules, symbols = [], {}
    context = cpu_target.target_context
    with compiling_for(frozenset(capabilities)), whole_program(context):
        for function, arguments in _functions(part):
            result = compile_extra(cpu_target.typing_context, context, function, arguments, int64, flags, {})
            modules.append(str(linked(result.library)))
            symbols[function.__name__] = result.fndesc.llvm_func_name
    return Kernels(tuple(modules), symbols, frozenset(symbols.values()).union(_table_readers()))


def _table_readers() -> Iterator[str]:
    """Yield the symbols of the compiled kernels that have a parameter named as the kernels name their tables."""
    from numba.core.dispatcher import Dispatcher

    for name, module in sys.modules.items():
        for value in vars(module).values() if name.startswith("grurt.kernels.") else ():
            if isinstance(value, Dispatcher) and {"c", "op"}.intersection(signature(value.py_func).parameters):
                yield from (compiled.fndesc.llvm_func_name for compiled in value.overloads.values())


def _functions(part: str) -> list[tuple[Any, tuple[Any, ...]]]:
    from numba import int64

    if part == "entry":
        from grurt.kernels.codegen.objects import SIGNATURE
        from grurt.kernels.entry import advance

        return [(advance, SIGNATURE.args)]
    from grurt.kernels import timestep

    compiled: list[Any] = [timestep.check, timestep.admit, timestep.begin, timestep.end, timestep.operate]
    return [(function.py_func, (int64,) * function.py_func.__code__.co_argcount) for function in compiled]


def main(job: str, *arguments: str) -> None:
    """Do the work of the other process, and write the result to stdout."""
    result = _lower(*arguments) if job == "plan" else _compile(arguments[0], arguments[1:])
    sys.stdout.buffer.write(msgspec.msgpack.encode(result))
