"""Runs the command `grurt` for the tests: in this process, or as a user's shell would."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from click.testing import CliRunner, Result

from grurt.cli.app import grurt
from grurt.runtime.engine import ready

COMMAND = (sys.executable, "-m", "grurt")


def invoke(*arguments: object, stdin: str | bytes | None = None) -> Result:
    """Run in this process: quick, but with stand-ins for stdin and stdout."""
    ready()  # or the first command would report on stderr that it compiles the kernels
    return CliRunner().invoke(grurt, [str(argument) for argument in arguments], input=stdin, prog_name="grurt")


def succeed(*arguments: object, stdin: str | bytes | None = None) -> str:
    """Run in this process, expect success and silence on stderr, and return what was printed."""
    result = invoke(*arguments, stdin=stdin)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def fail(*arguments: object, stdin: str | bytes | None = None, code: int = 2) -> str:
    """Run in this process, expect an exit code, and return the last line of stderr."""
    result = invoke(*arguments, stdin=stdin)
    assert result.exit_code == code, result.output
    return result.stderr.splitlines()[-1]


def start(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
    """Start a process of its own, with pipes."""
    ready()  # as above: compiled kernels are kept for all processes
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen([*COMMAND, *map(str, arguments)], **pipes)  # type: ignore[call-overload, no-any-return]


class Terminal:
    """A process whose stdin, stdout and stderr are a terminal."""

    def __init__(self, *arguments: object, environment: dict[str, str] | None = None) -> None:
        ready()
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"} | (environment or {}),
            start_new_session=True,
        )
        os.close(slave)
        self.text = ""

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def read_until(self, wanted: str) -> str:
        """Return all that was shown, as soon as it contains a text."""
        while wanted not in self.text and self._read():
            pass
        assert wanted in self.text
        return self.text

    def read_to_end(self) -> str:
        """Return all that was shown when the process has ended."""
        while self._read():
            pass
        self.process.wait()
        os.close(self._master)
        return self.text

    def _read(self) -> bool:
        try:
            content = os.read(self._master, 65536)
        except OSError:  # how Linux reports that the other side has closed
            return False
        self.text += content.decode(errors="replace")
        return bool(content)


def write(path: Path, lines: Sequence[object]) -> Path:
    """Write lines to a file, and return its path."""
    path.write_text("".join(f"{line}\n" for line in lines))
    return path
