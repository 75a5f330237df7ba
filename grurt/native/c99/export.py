"""Exports a model as source text of C99: what ``grurt export --target c99`` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from grurt.errors import EngineError, StreamingError
from grurt.native import c_source
from grurt.native.c99 import TARGET
from grurt.native.c99.example import example
from grurt.native.c99.header import header
from grurt.native.c99.layers import unsupported_reason
from grurt.native.c99.packages import Package, packaged
from grurt.native.c99.ports import given_of, ports_of
from grurt.native.c99.source import Source
from grurt.native.c99.text import kept_apart, named
from grurt.native.folder import write_files
from grurt.version import VERSION

if TYPE_CHECKING:
    from grurt.network.network import Network


@dataclass(frozen=True)
class SourceExport:
    """A model as source text.

    Parameters
    ----------
    name
        What the names of its functions begin with.
    files
        Contents by name: a C file, its header, an example program.
    weight_bytes
        Weights and other constants: they go to flash.
    state_bytes, scratch_bytes
        Memory of one stream, and memory for a timestep, which streams can share.
    context_bytes
        Of a context, which streams share; 0 if the model has none.
    """

    name: str
    files: dict[str, bytes]
    weight_bytes: int
    state_bytes: int
    scratch_bytes: int
    context_bytes: int

    @property
    def target(self) -> str:
        """What it is exported for."""
        return TARGET

    @property
    def flash_bytes(self) -> int:
        """Bytes of weights: those of code depend on the compiler."""
        return self.weight_bytes

    @property
    def ram_bytes(self) -> int:
        """Bytes that one stream needs."""
        return self.state_bytes + self.scratch_bytes

    def sizes(self) -> dict[str, str | int]:
        """Return the target and the sizes, ready for JSON."""
        names = ("weight_bytes", "state_bytes", "scratch_bytes", "context_bytes")
        return {"target": TARGET} | {name: getattr(self, name) for name in names}

    def sizes_text(self) -> str:
        """Return the sizes as a sentence."""
        return (
            f"{TARGET}: {self.weight_bytes:,} bytes of weights for flash, {self.state_bytes:,} bytes of RAM for each "
            f"stream, {self.scratch_bytes:,} for all of them together"
            + (f", {self.context_bytes:,} for a context" if self.context_bytes else "")
        )

    def next_step(self, folder: Path) -> tuple[str, str]:
        """Return what is to be done with the files in a folder, and the command that does it, or the folder."""
        if f"{self.name}.c" not in self.files:
            return "build", str(folder)
        return "compile", f"cc -O2 {folder / 'main.c'} {folder / self.name}.c -o {self.name} -lm"

    def write(self, folder: Path) -> None:
        """Write the files; raise OSError, with nothing written, if that cannot be done."""
        write_files(folder, self.files)


def export_c99(model: Network, *, name: str = "model", package: Package | None = None) -> SourceExport:
    """Write a model in C.

    Parameters
    ----------
    model
        A model that can run one timestep at a time, of layers that `grurt.native.c99.layers` has.
    name
        What the names of functions and files begin with: an identifier of C.
    package
        A build tool whose packages the files are to be one of.

    Raises
    ------
    EngineError
        If the name is none that C can have.
    StreamingError
        If the model needs the whole sequence, or has a layer that cannot be written in C.

    Examples
    --------
    >>> from grurt.demo import load_model
    >>> exported = export_c99(load_model(), name="activity")
    >>> sorted(exported.files), exported.state_bytes
    (['activity.c', 'activity.h', 'main.c'], 136)
    """
    if c_source.identifier(name) != name:
        raise EngineError(f"grurt export: expected a name that C can have, got {name!r}: use for example --name model")
    if reason := _reason_against(model):
        raise StreamingError(f"the model cannot be exported to C: {reason}")
    ports, given = ports_of(model), given_of(model)
    origin = f"{model.source.file or 'a model'}, written by grurt {VERSION} for {TARGET}"
    source = Source(model, ports, given, origin)
    unit = source.unit
    texts = {
        f"{name}.c": kept_apart(source.text(), name),
        f"{name}.h": header(unit, ports, given, origin),
        "main.c": kept_apart(example(ports, given), name),
    }
    files = {file: named(text, name).encode() for file, text in texts.items()}
    return SourceExport(
        name,
        packaged(package, name, files, ports, given, model.fingerprint.hex()) if package else files,
        unit.constant_bytes,
        unit.state_bytes,
        unit.scratch_bytes,
        unit.context_bytes,
    )


def _reason_against(model: Network) -> str | None:
    """Return why a model cannot be written in C; None if it can."""
    if reason := model.unstreamable_reason:
        return reason
    return next((reason for layer in model.layers if (reason := unsupported_reason(layer))), None)
