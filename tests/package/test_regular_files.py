"""What lies where a file is expected is looked at before it is read."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from grurt.regular_files import NotRegularError, open_regular_file, read_regular_file, read_to_size


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    content = os.urandom(1 << 20)
    (tmp_path / "file").write_bytes(content)
    (tmp_path / "link").symlink_to("file")
    assert read_regular_file(tmp_path / "link") == content
    (tmp_path / "empty").touch()
    assert read_regular_file(tmp_path / "empty") == b""


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        found = {"a pipe": tmp_path / "pipe", "a socket": tmp_path / "socket", "a folder": tmp_path}
        for what, path in {**found, "a device": Path("/dev/zero")}.items():
            with pytest.raises(NotRegularError, match=f"expected a regular file, got {what}") as caught:
                read_regular_file(path)
            assert caught.value.found == what
            assert caught.value.filename == str(path)


def test_a_pipe_that_takes_the_place_of_a_file_does_not_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the opening, as a neighbour could arrange it."""
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    status = (tmp_path / "file").stat()
    monkeypatch.setattr("grurt.regular_files.os.stat", lambda path: status)
    with pytest.raises(NotRegularError, match="got a pipe"):
        open_regular_file(tmp_path / "pipe")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    descriptor = os.open(tmp_path / "file", os.O_WRONLY)
    with os.fdopen(descriptor, "rb") as file, pytest.raises(OSError, match=r"Bad file descriptor: '.*/file'"):
        read_to_size(file, tmp_path / "file")


def test_a_file_larger_than_memory_is_an_error_that_says_so(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 42)
    with pytest.raises(OSError, match="it has 4,398,046,511,104 bytes, which memory cannot hold"):
        read_regular_file(tmp_path / "sparse")
