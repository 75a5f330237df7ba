"""Writes a file whole or not at all, and never through a link that somebody else may have laid."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from grurt.path_walk import IS_POSSIBLE, Step, walk
from grurt.trust import is_in_a_shared_folder, is_ours

_EXISTING = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def write_atomically(path: str | os.PathLike[str], content: bytes, *, mode: int = 0o666) -> None:
    """Write ``content`` to ``path``, which at every moment holds the old file or the new one, also after a power cut.

    The content goes to a temporary file in the same folder, reaches the disk, and then takes the place of ``path``. A
    symbolic link stays, and the file that it points at is replaced: unless the link belongs to another user, or lies in
    a folder of another user or that others may write to; then the link itself is replaced. A link on the way to the
    folder that somebody else may have laid is an error.

    Parameters
    ----------
    path
        Where; its folder must be there.
    content
        All of it.
    mode
        Permissions of the new file, of which the process's umask is taken away.

    Raises
    ------
    OSError
        If the file cannot be written. An older file at the path is untouched then, and the temporary one is removed.
    """
    name = os.fsdecode(path)
    place = Path(name)
    try:
        if IS_POSSIBLE:
            _write_along(place, content, mode)
        else:
            target = place.resolve()
            _expect_regular(target.stat() if target.exists() else None, place)
            _replace(None, str(target), content, mode)
    except ValueError as error:  # a null, or a surrogate
        raise OSError(errno.EINVAL, f"expected a path that a file can have: {error}", name) from error
    except OSError as error:  # it names the temporary file, or none
        raise OSError(error.errno, error.strerror, name) from error


def open_for_writing(path: str | os.PathLike[str]) -> int:
    """Return a descriptor of what is at a path, for writing: a file, which is made where there is none, or a pipe.

    It is not emptied. Links are followed if nobody else can have laid them, and a pipe must be nobody else's either.

    Raises
    ------
    OSError
        If it cannot be opened, or somebody else may have put a link on the way, or a pipe there.
    """
    if not IS_POSSIBLE:
        return os.open(path, _EXISTING, 0o666)
    with contextlib.closing(walk(path)) as steps:
        for step in steps:
            if step.is_link:
                _expect_ours(step, path)
                if not (step.is_last and _is_of_an_open_file(step)):
                    continue
                return os.open(step.name, _EXISTING, 0o666, dir_fd=step.folder)
            if step.is_last:
                if step.status is not None and stat.S_ISFIFO(step.status.st_mode):
                    _expect_ours(step, path)
                return os.open(step.name, _EXISTING | os.O_NOFOLLOW, 0o666, dir_fd=step.folder)
    return os.open(path, _EXISTING)  # a folder, by no name of its own: an error


def _is_of_an_open_file(step: Step) -> bool:
    """Whether a link is one of the system's own to files that are open, as behind ``/dev/stdout``: it says no path."""
    try:
        return step.status is not None and step.status.st_dev == Path("/proc/self/fd").stat().st_dev
    except OSError:  # there are no such links here
        return False


def expect_own_links(path: str | os.PathLike[str]) -> None:
    """Raise PermissionError if a link on the way to what is written to, or there, may be somebody else's."""
    if IS_POSSIBLE:
        with contextlib.closing(walk(path)) as steps:
            for step in steps:
                if step.is_link:
                    _expect_ours(step, path)


def _write_along(path: Path, content: bytes, mode: int) -> None:
    with contextlib.closing(walk(path)) as steps:
        for step in steps:
            if step.is_link and _is_followed(step, path):
                continue
            if step.is_last:
                _expect_regular(None if step.is_link else step.status, path)
                _replace(step.folder, step.name, content, mode)
                _sync_folder(step.folder)
                return
    _expect_regular(path.stat(), path)  # a folder, by no name of its own


def _is_followed(link: Step, path: Path) -> bool:
    """Return whether a link is followed, and not replaced; on the way, it is followed or an error."""
    if link.is_last:
        return is_ours(link) and not is_in_a_shared_folder(link)
    _expect_ours(link, path)
    return True


def _expect_ours(step: Step, path: str | os.PathLike[str]) -> None:
    if not is_ours(step):
        reason = f"{step.path}, a pipe, may be somebody else's"
        if step.is_link:
            reason = f"{step.path}, a link on the way, may be somebody else's: name the folder"
        raise PermissionError(errno.EACCES, reason, str(path))


def _expect_regular(status: os.stat_result | None, path: Path) -> None:
    if status is not None and not stat.S_ISREG(status.st_mode):
        raise FileExistsError(errno.EEXIST, "expected a regular file or none, got something else", str(path))


def _replace(folder: int | None, name: str, content: bytes, mode: int) -> None:
    """Put a new file in the place of what has a name in a folder, or of what has a path where there is none."""
    temporary = str(Path(name).with_name(f".{os.urandom(8).hex()}.tmp"))
    descriptor = os.open(temporary, _NEW, mode, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        raise


def _sync_folder(folder: int) -> None:
    """Bring a rename to the disk. Some file systems cannot, and the new file is in place already: no error then."""
    with contextlib.suppress(OSError):
        descriptor = os.open(os.curdir, os.O_RDONLY, dir_fd=folder)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
