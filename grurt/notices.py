"""Lines on stderr: what somebody should know, and no exception tells."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from grurt.escaping import shown


def say(message: str) -> None:
    """Write a line to stderr, where there is one: a service without it goes on as well."""
    _write(f"{_prefixed(message)}\n")


@contextmanager
def saying(message: str) -> Iterator[Callable[[str], None]]:
    """Say what takes a while; on a terminal, what is told meanwhile stands behind it, and the latest stays.

    All that is told should be of one length.
    """
    if not _is_terminal():
        say(message)
        yield lambda latest: None
        return
    _write(_prefixed(message))
    try:
        yield lambda latest: _write(f"\r{_prefixed(f'{message} {latest}')}")
    finally:
        _write("\n")


def _prefixed(message: str) -> str:
    return f"grurt: {shown(message)}"


def _write(text: str) -> None:
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(text, end="", file=sys.stderr, flush=True)


def _is_terminal() -> bool:
    with suppress(OSError, ValueError, AttributeError):  # closed, or something else in its place
        return sys.stderr is not None and sys.stderr.isatty()
    return False
