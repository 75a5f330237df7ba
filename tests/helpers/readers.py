"""A reader of the pages, who types their commands."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType

import pytest
from commandline import invoke
from paths import ROOT

SERVERS = {"grurt serve": "--port {}", "python -m http.server": "{}"}
"""Commands that go on until they are stopped, and how they are told a port."""

PORT = ":8000"
"""Where the pages expect them."""

TOOLS = {"python": "", "grurt": "-P -m grurt"}


class Reader:
    """A checkout of links in a temporary folder, where commands are typed: what they write is written there.

    Commands of `grurt` are run in this process where `quick` says so, which takes a tenth of the time.
    """

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, *, quick: bool = True) -> None:
        self.folder = folder / "checkout"
        self.missing: list[str] = []
        self._quick, self._patch, self._port = quick, patch, 0
        self._servers: list[subprocess.Popen[bytes]] = []
        _link_checkout(self.folder)
        tools = folder / "bin"
        tools.mkdir()
        for name, started in TOOLS.items():
            (tools / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {started} "$@"\n')
            (tools / name).chmod(0o755)
        patch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
        patch.chdir(self.folder)

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.send_signal(signal.SIGINT)
            server.wait()

    def type(self, command: str, session: str = "") -> str:
        """Type a command, and lines that it reads; return what it printed. A program that is not there is noted."""
        words = shlex.split(command)
        assert words[:2] != ["pip", "install"], "nothing is installed into the environment of the tests"
        if words[0] == "export":
            for name, value in (word.split("=", 1) for word in words[1:]):
                self._patch.setenv(name, value)
            return ""
        program = next(word for word in words if not re.match(r"\w+=", word))
        if shutil.which(program) is None:
            self.missing.append(program)
            return ""
        for start, port in SERVERS.items():
            if command.startswith(start):
                self._port = _free_port()
                other = re.sub(r"(?<=-port )\d+", str(_free_port()), command)
                return self._serve(f"exec {other} {port.format(self._port)}")
        if self._quick and words[0] == "grurt":
            result = invoke(*words[1:])
            code, said = result.exit_code, result.output
        else:
            code, said = self._run(command.replace(PORT, f":{self._port}"), session)
        assert code == 0, f"{command}\n{said}"
        return said

    def _run(self, command: str, session: str) -> tuple[int, str]:
        """Run a command with files in place of a terminal: perf reads and writes its data where there are pipes."""
        with TemporaryFile() as typed, TemporaryFile() as said:
            typed.write(session.encode())
            typed.seek(0)
            shell = ["bash", "-c", command]
            code = subprocess.run(shell, stdin=typed, stdout=said, stderr=subprocess.STDOUT, check=False).returncode
            said.seek(0)
            return code, said.read().decode(errors="replace")

    def _serve(self, command: str) -> str:
        """Start a server, and return its page."""
        server = subprocess.Popen(["bash", "-c", command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._servers.append(server)
        while server.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/", timeout=10) as answer:
                    return str(answer.read().decode())
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"{command}: ended with {server.returncode}")


def _link_checkout(folder: Path) -> None:
    """Make a folder of links to what a checkout holds; folders that commands write to are its own."""
    (folder / "docs").mkdir(parents=True)
    for entry in (*ROOT.iterdir(), *(ROOT / "docs").iterdir()):
        if entry.name not in ("docs", "images", "build"):
            (folder / entry.relative_to(ROOT)).symlink_to(entry)
    shutil.copytree(ROOT / "docs" / "images", folder / "docs" / "images")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
