"""What Linux says of the CPU."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from grurt import host_cpu


def test_the_flags_of_the_first_core(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nflags\t\t: fpu sse2\n\nprocessor\t: 1\nflags\t\t: avx\n")
    assert host_cpu.flags_in_cpuinfo(tmp_path / "cpuinfo") == {"fpu", "sse2"}
    assert host_cpu.flags_in_cpuinfo(tmp_path / "nothing") == frozenset()


def vector(*pairs: tuple[int, int]) -> bytes:
    return b"".join(struct.pack("=QQ", *pair) for pair in (*pairs, (0, 0)))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (vector((6, 4096), (16, 0b11), (26, 1 << 20)), {"fp", "asimd"}),
        (vector((16, 1 << 20 | 0b11)), {"fp", "asimd", "asimddp"}),
        (vector((16, 1 << 20 | 0b11))[:-3], {"fp", "asimd", "asimddp"}),
        (vector((6, 4096)), set()),
        (b"", set()),
    ],
)
def test_the_flags_that_a_process_was_started_with(content: bytes, expected: set[str], tmp_path: Path) -> None:
    (tmp_path / "auxv").write_bytes(content)
    assert host_cpu.flags_at_start(tmp_path / "auxv") == expected


def test_an_arm_is_asked_for_what_it_was_started_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_cpu, "machine", lambda: "aarch64")
    monkeypatch.setattr(host_cpu, "flags_at_start", lambda path: frozenset({str(path)}))
    assert host_cpu.host_flags.__wrapped__() == {"/proc/self/auxv"}


def test_apples_have_the_dot_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_cpu, "machine", lambda: "arm64")
    monkeypatch.setattr(host_cpu.sys, "platform", "darwin")
    assert host_cpu.host_flags.__wrapped__() == {"fp", "asimd", "asimddp"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_file_says_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for flags in (host_cpu.flags_in_cpuinfo, host_cpu.flags_at_start):
        assert flags(tmp_path / "pipe") == frozenset()
        assert flags(tmp_path / "nothing") == frozenset()
