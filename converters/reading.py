"""Reads files of strangers: regular files of a bounded size, and errors that name them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grurt.errors import ConversionError, DesignReason, ModelError, UnsupportedError
from grurt.network.stages import OwnEndError
from grurt.regular_files import open_regular_file, read_to_size


@contextmanager
def errors_named(name: str) -> Iterator[None]:
    """Put a file's name before errors; what Python raises for want of memory or depth is a ConversionError too."""
    try:
        yield
    except ConversionError as error:
        first, *further = error.args or ("",)
        raise error.reworded(f"{name}: {first}", *further) from error
    except OwnEndError as error:
        raise UnsupportedError(f"{name}: {error}", reason=DesignReason.WHOLE_SEQUENCE) from error
    except ModelError as error:
        raise ConversionError(f"{name}: {error}") from error
    except RecursionError as error:
        raise ConversionError(
            f"{name}: expected a model, got something that is nested too deeply; the file is damaged or hostile"
        ) from error
    except MemoryError as error:
        raise ConversionError(f"{name}: expected a model that fits into memory, got a larger one") from error


@contextmanager
def unreadable_files_named(name: str) -> Iterator[None]:
    """Let a file that cannot be read be a ConversionError that says its name."""
    try:
        yield
    except OSError as error:
        raise ConversionError(f"{name}: expected a file that can be read, got: {error.strerror or error}") from error


def read_bounded(path: Path, most: int, where: str, advice: str) -> bytes:
    """Return the bytes of a regular file of at most so many.

    Raises
    ------
    ConversionError
        If it has more.
    OSError
        If it cannot be read, or is no regular file.
    """
    with open_regular_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise ConversionError(f"{where}: expected at most {most} bytes, got {size}; {advice}")
        return read_to_size(file, path)
