"""The formats of timesteps, and which of them a file is in; any may be packed by gzip."""

import gzip
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import click

from grurt.cli.npy import MAGIC as NPY_MAGIC
from grurt.gzipped import DAMAGED, N_MAGIC, is_gzipped

Format = Literal["csv", "jsonl", "npy"]

FORMATS: tuple[Format, ...] = ("csv", "jsonl", "npy")

SUFFIXES: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".npy": "npy"}

_PACKED = ".gz"
_ZIP_MAGIC = b"PK\x03\x04"


class LineError(click.ClickException):
    """A line, or an element of an array, that is not a timestep of the model."""


def format_of_name(name: str) -> Format | None:
    """Return the format that a file name's suffix stands for."""
    return SUFFIXES.get(Path(name).suffix.lower())


def format_of_input(name: str) -> Format | None:
    """Return the format that the suffix of a file that is read stands for, which gzip may have packed."""
    return format_of_name(name[: -len(_PACKED)] if name.lower().endswith(_PACKED) else name)


def is_archive(start: bytes) -> bool:
    """Say whether data that start so are an archive of arrays."""
    return start.startswith(_ZIP_MAGIC)


def unpacked(file: io.BufferedReader) -> io.BufferedReader:
    """Return a file that can be peeked at, or what it holds if gzip has packed that."""
    if not is_gzipped(file.peek(N_MAGIC)):
        return file
    return io.BufferedReader(_Unpacked(fileobj=file))


@contextmanager
def undamaged(where: Callable[[], str]) -> Iterator[None]:
    """Turn what gzip raises into a LineError of the place where it comes."""
    try:
        yield
    except DAMAGED as error:
        raise LineError(f"{where()}: expected what gzip has packed, got damaged data: {error}") from None


class _Unpacked(gzip.GzipFile):
    """What gzip has packed, as it arrives: a file that can be read in one direction only."""

    def seekable(self) -> bool:
        return False

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


def format_of_start(start: bytes) -> Format:
    """Return the format of data that starts so; CSV where nothing speaks for another."""
    if start.startswith((NPY_MAGIC[:1], _ZIP_MAGIC)):
        return "npy"
    return "jsonl" if start.lstrip()[:1] in (b"[", b"{") else "csv"
