"""Lines on stderr, and those that move on a terminal."""

from __future__ import annotations

import io
import sys

import pytest

from grurt.notices import saying


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def said_on(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    with saying("compiling ...") as tell:
        for latest in (" 5 %", "75 %"):
            tell(latest)
    return stream.getvalue()


def test_on_a_terminal_the_latest_stands_behind_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "grurt: compiling ..."
    assert said_on(Terminal(), monkeypatch) == f"{line}\r{line}  5 %\r{line} 75 %\n"


def test_elsewhere_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said_on(io.StringIO(), monkeypatch) == "grurt: compiling ...\n"


def test_without_stderr_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with saying("compiling ...") as tell:
        tell("5 %")
    closed = Terminal()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    with saying("compiling ...") as tell:
        tell("5 %")
