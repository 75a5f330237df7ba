"""Where the commands write: whether they can is found out before the work, not after it."""

import errno
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

import click

from grurt.atomic import open_for_writing
from grurt.container.header import is_of_model
from grurt.regular_files import open_regular_file

FOREIGN_SUFFIXES = (".onnx", ".pt", ".pth", ".ckpt", ".safetensors", ".pt2", ".npz", ".json", ".keras", ".h5", ".hdf5")
"""Of the files that `grurt convert` reads."""


Place = Path | TextIO | BinaryIO | None
"""A path, or a file that is open; None for a standard stream that is closed."""


def refuse_overwriting(output: Place, read: Iterable[Place], name: Path | str = "stdout") -> None:
    """Raise UsageError if an output is one of the files that are read, under whatever name.

    Only files of a disk count: a terminal, a pipe or the null device can be read and written at once.
    """
    identity = _identity(output)
    if identity is not None and any(identity == _identity(other) for other in read):
        name = output if isinstance(output, Path) else name
        raise click.UsageError(f"{name} would be overwritten, which is read: choose another name for the output")


def is_same_file(path: Path, other: Path) -> bool:
    """Say whether two paths lead to one file, or would if it were there."""
    return os.path.realpath(path) == os.path.realpath(other) or (_identity(path) or path) == _identity(other)


def _identity(place: Place) -> tuple[int, int] | None:
    """Return what all names of a file have in common; None if there is none, or it is not of a disk."""
    try:
        status = os.stat(place if isinstance(place, Path) else place.fileno())  # type: ignore[union-attr]  # noqa: PTH116
    except (OSError, ValueError, AttributeError):  # there is nothing, or no path at all, or it is closed
        return None
    mode = status.st_mode
    return (status.st_dev, status.st_ino) if stat.S_ISREG(mode) or stat.S_ISBLK(mode) else None


def open_output(path: Path, read: Iterable[Place]) -> BinaryIO:
    """Open a file, or a pipe, for writing from its beginning; what is opened is none of those that are read.

    Raises
    ------
    UsageError
        If it is one of those; it is as it was.
    OSError
        If it cannot be opened, or somebody else may have put a link or a pipe there.
    """
    file = os.fdopen(open_for_writing(path), "wb")
    try:
        refuse_overwriting(file, read, path)
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.truncate(0)
    except BaseException:
        file.close()
        raise
    return file


def check_can_be_opened(path: Path) -> None:
    """Raise OSError if a file or a pipe cannot be opened for writing, as far as that can be told without doing so."""
    folder = path.parent
    code = 0
    if not path.exists() and not folder.is_dir():
        code = errno.ENOENT
    elif not os.access(path if path.exists() else folder, os.W_OK):
        code = errno.EACCES
    if code:
        raise OSError(code, os.strerror(code), str(path))


def check_file(path: Path) -> None:
    """Raise UsageError if a file cannot be written there."""
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        missing = target.parent if path.is_symlink() else path.parent
        raise click.UsageError(f"{path}: there is no folder {missing}")
    if path.exists() and not path.is_file():
        raise click.UsageError(f"{path}: expected a regular file or none, got something else")
    _expect_writable(target.parent, path)


def check_model_file(path: Path) -> None:
    """Raise UsageError as `check_file`, and if what is there, or the name, is that of another kind of file."""
    check_file(path)
    if path.suffix.lower() in FOREIGN_SUFFIXES:
        raise click.UsageError(f"{path}: what is written is a .grurt file, not {path.suffix}: choose another name")
    if path.is_file() and not _may_be_replaced(path):
        raise click.UsageError(
            f"{path}: expected a new file, or an older .grurt file to replace, got another file: choose another name"
        )


def _may_be_replaced(path: Path) -> bool:
    """Say whether a file is empty, or a model: and not what another model keeps its weights in, for example."""
    with open_regular_file(path) as file:
        head = file.read(512)
    return not head or is_of_model(head)


def check_folder(path: Path) -> None:
    """Raise UsageError if files cannot be written into a folder, which is made where there is none."""
    folder = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    if not folder.is_dir():
        raise click.UsageError(f"{path}: expected a folder or none, got that {folder} is a file")
    _expect_writable(folder, path)


def no_cache_directory() -> click.ClickException:
    """Return the error of a command that keeps what it compiles, where nothing can be kept."""
    from grurt.kernels.places import cache_directories
    from grurt.trust import has_passed_by

    return click.ClickException(
        "expected a directory where compiled kernels can be kept, got none that can be written"
        f"{' and is safe from others' if has_passed_by() else ''} "
        f"(tried {', '.join(map(str, cache_directories()))}): name one in GRURT_CACHE_DIR"
    )


@contextmanager
def naming(file: str) -> Iterator[None]:
    """Let the operating system's errors name a file, where they name none, as those of reading and writing do."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, file) from error


def _expect_writable(folder: Path, path: Path) -> None:
    """Make a file without a name, as only that shows what a file system allows."""
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise click.UsageError(f"{path}: the folder {folder} cannot be written to: {error.strerror}") from error
