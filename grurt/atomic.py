"""Writes a file whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write ``content`` to ``path``, which at every moment holds the old file or the new one, also after a power cut.

    The content goes to a temporary file in the same folder, reaches the disk, and then takes the place of ``path``. A
    symbolic link stays, and the file that it points at is replaced. Permissions are those of a new file under the
    process's umask.

    Raises
    ------
    OSError
        If the file cannot be written. An older file at the path is untouched then, and the temporary one is removed.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise FileExistsError(errno.EEXIST, "expected a regular file or none, got something else", str(path))
    try:
        _replace(target, content)
    except OSError as error:  # it names the temporary file, or none
        raise OSError(error.errno, error.strerror, str(path)) from error
    _sync_folder(target.parent)


def _replace(target: Path, content: bytes) -> None:
    temporary = target.with_name(f".{os.urandom(8).hex()}.tmp")
    file = temporary.open("xb")
    try:
        with file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Bring a rename to the disk. Some file systems cannot, and the new file is in place already: no error then."""
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
