"""Where the commands write: whether they can is found out before the work, not after it."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

FOREIGN_SUFFIXES = (".onnx", ".pt", ".pth", ".ckpt", ".safetensors", ".pt2", ".npz", ".json", ".keras", ".h5", ".hdf5")
"""Of the files that `grurt convert` reads."""


def check_file(path: Path, *, read: Iterable[Path] = ()) -> None:
    """Raise UsageError if a file cannot be written there, or is one of those that are read."""
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        missing = target.parent if path.is_symlink() else path.parent
        raise click.UsageError(f"{path}: there is no folder {missing}")
    if path.exists() and any(path.samefile(other) for other in read):
        raise click.UsageError(f"{path} would be overwritten, which is read: choose another name for the output")
    if path.exists() and not path.is_file():
        raise click.UsageError(f"{path}: expected a regular file or none, got something else")
    _expect_writable(target.parent, path)


def check_model_file(path: Path, *, read: Iterable[Path] = ()) -> None:
    """Raise UsageError as `check_file`, and if the name is that of another kind of model."""
    check_file(path, read=read)
    if path.suffix.lower() in FOREIGN_SUFFIXES:
        raise click.UsageError(f"{path}: what is written is a .grurt file, not {path.suffix}: choose another name")


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
