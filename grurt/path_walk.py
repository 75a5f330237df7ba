"""Follows a path as the system does, component by component, so that each can be looked at before it is passed.

Every component is looked up in its folder's descriptor: nobody can put another folder on the way meanwhile.

Paths are texts here and in what else a start needs: `pathlib` takes 3 ms to import where nothing else has done it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator

import msgspec

IS_POSSIBLE = os.name == "posix"
"""Whether this system has folders' descriptors, and owners."""

_MOST_LINKS = 40  # as Linux has it
_FOLDER = (
    getattr(os, "O_PATH", getattr(os, "O_SEARCH", os.O_RDONLY))
    | getattr(os, "O_DIRECTORY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
)


class Step(msgspec.Struct, frozen=True):
    """A component of a path, or of what a symbolic link on it says."""

    folder: int
    """The descriptor of the folder that it is looked up in: open until the walk goes on."""
    folder_path: str
    """The folder's path, without links."""
    name: str
    status: os.stat_result | None
    """Of itself, where it is a link; None if there is nothing."""
    is_last: bool
    """Whether the path ends here; if it is a link, with what it points at."""

    @property
    def path(self) -> str:
        """Where it is, without links but perhaps itself."""
        return os.path.join(self.folder_path, self.name)

    @property
    def is_link(self) -> bool:
        return self.status is not None and stat.S_ISLNK(self.status.st_mode)


def walk(path: str | os.PathLike[str]) -> Generator[Step]:
    """Yield the components of a path in the order in which they are met; links are followed when the walk goes on.

    Raises
    ------
    OSError
        If a component before the last is not there or no folder, or there are too many links.
    """
    place, rest = _start(os.fspath(path))
    folder = os.open(place or os.curdir, _FOLDER)
    n_links = 0
    try:
        while rest:
            name = rest.pop()
            step = Step(folder, place, name, _status(folder, name), not rest)
            yield step
            if step.is_link:
                n_links += 1
                if n_links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(path))
                start, components = _start(os.readlink(name, dir_fd=folder))
                rest += components
                if start:
                    place, folder = start, _entered(os.sep, folder)
            elif rest:
                up = name == os.pardir and place.startswith(os.sep)
                place, folder = os.path.dirname(place) if up else step.path, _entered(name, folder)
    finally:
        os.close(folder)


def _start(path: str) -> tuple[str, list[str]]:
    """Return where a path starts, empty where it is relative, and its components from there, the last one first."""
    components = [name for name in path.split(os.sep) if name not in ("", os.curdir)]
    return (os.sep if path.startswith(os.sep) else ""), components[::-1]


def _status(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _entered(name: str, folder: int) -> int:
    """Return the descriptor of a folder in another, which is closed."""
    found = os.open(name, _FOLDER, dir_fd=folder)
    os.close(folder)
    return found
