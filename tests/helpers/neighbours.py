"""Another user of the same machine, whose files nobody else should run or follow."""

from __future__ import annotations

import os
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

NEIGHBOUR = 54321
"""A user and a group that no system has."""

needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can make files that belong to another user"
)


def give(path: Path) -> Path:
    """Make a file, a folder or a link the neighbour's."""
    os.chown(path, NEIGHBOUR, NEIGHBOUR, follow_symlinks=False)
    return path


def public_folder() -> Iterator[Path]:
    """Yield a new folder that everybody can reach: pytest's own are their user's alone."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def as_neighbour(function: Callable[[], object]) -> None:
    """Run a function in a process of the neighbour's, and fail if it raises anything.

    The process is this one, forked: not every interpreter lies where other users may run it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads of this process do nothing just now
        process = os.fork()
    if process == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(NEIGHBOUR, NEIGHBOUR, NEIGHBOUR)
            os.setresuid(NEIGHBOUR, NEIGHBOUR, NEIGHBOUR)
            function()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, ended = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(ended) == 0
