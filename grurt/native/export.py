"""Exports a model for programs that are not Python: what ``grurt export`` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llvmlite import binding as llvm

from grurt.errors import EngineError, StreamingError
from grurt.native import c_source, intermediate
from grurt.native.folder import write_files
from grurt.native.interface import Interface
from grurt.native.javascript import javascript
from grurt.native.machine import emit, link
from grurt.native.targets import find_target
from grurt.version import VERSION

if TYPE_CHECKING:
    from grurt.network.network import Network


_READ_ONLY = (b".rodata", b".srodata", b".data.rel.ro", b".eh_frame", b".ARM.exidx")
"""How the names of sections begin that are not code, and go to flash."""


@dataclass(frozen=True)
class Export:
    """A model compiled for a platform.

    Parameters
    ----------
    name
        What the names of its functions begin with.
    target
        The platform and the CPU.
    files
        Contents by name: an object file, a C header, an example program; for WebAssembly, a JavaScript module.
    code_bytes, data_bytes
        Machine code, and read-only data: mostly weights. Both go to flash.
    state_bytes
        What one stream remembers.
    scratch_bytes
        Memory that a timestep is computed in, of all streams that are not stepped at the same time.
    context_bytes
        Of a context, which streams share; 0 if the model has none.
    compiler
        A command that compiles C for the platform.
    """

    name: str
    target: str
    files: dict[str, bytes]
    code_bytes: int
    data_bytes: int
    state_bytes: int
    scratch_bytes: int
    context_bytes: int
    compiler: str

    @property
    def flash_bytes(self) -> int:
        """Bytes of code and data."""
        return self.code_bytes + self.data_bytes

    @property
    def ram_bytes(self) -> int:
        """Bytes that one stream needs."""
        return self.state_bytes + self.scratch_bytes

    def sizes(self) -> dict[str, str | int]:
        """Return the target and the sizes, ready for JSON."""
        names = ("target", "code_bytes", "data_bytes", "state_bytes", "scratch_bytes", "context_bytes")
        return {name: getattr(self, name) for name in names}

    def sizes_text(self) -> str:
        """Return the sizes as a sentence."""
        return (
            f"{self.target}: {self.flash_bytes:,} bytes of flash ({self.code_bytes:,} code, {self.data_bytes:,} "
            f"weights), {self.state_bytes:,} bytes of RAM for each stream, {self.scratch_bytes:,} for all of them "
            "together" + (f", {self.context_bytes:,} for a context" if self.context_bytes else "")
        )

    def next_step(self, folder: Path) -> tuple[str, str]:
        """Return what is to be done with the files in a folder, and the command that does it."""
        compiled = folder / f"{self.name}.o"
        if self.target.startswith("wasm32"):
            return "link", f"{self.compiler} {compiled} -o {folder / self.name}.wasm"
        return "compile", f"{self.compiler} {folder / 'main.c'} {compiled} -o {self.name}"

    def write(self, folder: Path) -> None:
        """Write the files; raise OSError, with nothing written, if that cannot be done."""
        write_files(folder, self.files)


def export(model: Network, platform: str, *, cpu: str | None = None, name: str = "model") -> Export:
    """Compile a model for a platform.

    Parameters
    ----------
    model
        A model that can run one timestep at a time.
    platform
        A name of `grurt.native.targets.PLATFORMS`.
    cpu
        One of the platform's CPUs; by default the first.
    name
        What the names of functions and files begin with: an identifier of C.

    Raises
    ------
    EngineError
        If there is no such platform or CPU, the name is none that C can have, or Numba is missing.
    StreamingError
        If the model needs the whole sequence.
    """
    found, cpu = find_target(platform, cpu)
    if reason := model.unstreamable_reason:
        raise StreamingError(f"the model cannot be exported: {reason}")
    if c_source.identifier(name) != name:
        raise EngineError(f"grurt export: expected a name that C can have, got {name!r}: use for example --name model")
    target = found.cpus[cpu]
    kernels = intermediate.kernels("timestep", target.capabilities, lanes=target.lanes)
    interface = Interface.of(name, model, lambda part: intermediate.lowered(part, target.lanes))
    functions = interface.module(kernels, in_sections="wasm" not in target.triple)
    exported = [function.name for function in functions.functions if not function.is_declaration]
    compiled = emit(target, link(target, kernels.modules, functions), exported, inlined=kernels.table_readers)
    code, data = _sizes(compiled)
    file = model.source.file or "a model"
    origin = f"{file}, compiled by grurt {VERSION} for {platform} ({cpu})"
    files = {
        f"{name}.o": compiled,
        f"{name}.h": c_source.header(interface, origin).encode(),
        "main.c": c_source.example(interface).encode(),
    }
    if "wasm" in target.triple:
        files |= javascript(interface, model, c_source.comment(origin))
    sizes = interface.state_bytes, interface.scratch_bytes, interface.context_bytes
    return Export(name, f"{platform} ({cpu})", files, code, data, *sizes, found.compiler)


def _sizes(content: bytes) -> tuple[int, int]:
    """Return the bytes of code and of read-only data in an object file, with what unwinds the stack."""
    if content.startswith(b"\0asm"):
        return _sizes_of_wasm(content)
    code = data = 0
    for section in llvm.ObjectFileRef.from_data(content).sections():
        name = section.name() or b""
        if section.is_text():
            code += section.size()
        elif name.startswith(_READ_ONLY):
            data += section.size()
    return code, data


def _sizes_of_wasm(content: bytes) -> tuple[int, int]:
    sizes = {10: 0, 11: 0}  # the ids of the sections of code and of data
    position = 8
    while position < len(content):
        section = content[position]
        size, position = _leb128(content, position + 1)
        position += size
        if section in sizes:
            sizes[section] += size
    return sizes[10], sizes[11]


def _leb128(content: bytes, position: int) -> tuple[int, int]:
    """Return an unsigned number of variable length, and the position behind it."""
    number = shift = 0
    while True:
        byte = content[position]
        number |= (byte & 0x7F) << shift
        position += 1
        shift += 7
        if byte < 0x80:
            return number, position
