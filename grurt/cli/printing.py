"""Prints lines: results to stdout, everything else to stderr; what stands in them can command no terminal.

Everything that the commands say goes through here, but for the data that `grurt run` answers with, and for what rich
draws.
"""

from __future__ import annotations

import errno
import sys
import traceback
from contextlib import suppress
from typing import TextIO

import click

from grurt.cli.places import naming
from grurt.escaping import escaped, shown


def show(*lines: str) -> None:
    """Print lines of a result; OSError that names stdout if that cannot be done."""
    with naming("stdout"):
        if sys.stdout is None:
            raise OSError(errno.EBADF, "it is closed, and the result would go there")
        for line in lines:
            click.echo(_encodable(escaped(line), sys.stdout))


def show_piece(text: str) -> None:
    """Print a piece of a result, without a line's end; line breaks in it stay, and nothing else commands."""
    with naming("stdout"):
        if sys.stdout is None:
            raise OSError(errno.EBADF, "it is closed, and the result would go there")
        lines = [_encodable(escaped(line), sys.stdout) for line in text.split("\n")]
        click.echo("\n".join(lines), nl=False)
        sys.stdout.flush()


def say(*lines: str) -> None:
    """Print lines to stderr, as long as messages may be; where there is no stderr, nobody wants to know."""
    with suppress(OSError, ValueError):
        for line in lines:
            click.echo(_encodable(shown(line), sys.stderr), err=True)


def say_traceback(error: BaseException) -> None:
    """Print to stderr where an exception comes from."""
    say(*"".join(traceback.format_exception(error)).rstrip("\n").split("\n"))


def is_terminal(stream: TextIO | None) -> bool:
    """Say whether a standard stream is there, and a terminal."""
    return stream is not None and stream.isatty()


def _encodable(text: str, stream: TextIO | None) -> str:
    """Return the text with escapes for what the stream's encoding does not have."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
