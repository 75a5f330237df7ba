"""What a wheel carries, what building it needs, and what the gate runs: without building anything."""

from __future__ import annotations

import re
import subprocess
import tomllib

import extras
import pytest
from paths import ROOT

from grurt.native.cpus import CPUS
from release import backend, kernels
from release.kernels import Choice, chosen
from release.packages import MACHINES, cpus_of

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(kernels.VARIABLE, raising=False)
    monkeypatch.setattr(backend.build_meta, "get_requires_for_build_wheel", lambda settings: [])


def test_without_the_variable_a_wheel_is_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels.sys, "platform", "linux")
    monkeypatch.setattr(kernels, "best_here", lambda: CPUS[0])
    monkeypatch.setattr(kernels.host_cpu, "machine", lambda: "x86_64")
    assert chosen() == Choice(("native",), "x86_64", is_portable=False)
    assert chosen().tag == "linux_x86_64"


@pytest.mark.parametrize(("platform", "best"), [("darwin", CPUS[0]), ("win32", CPUS[0]), ("linux", None)])
def test_where_no_library_can_be_the_wheel_is_python_alone(
    platform: str, best: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels.sys, "platform", platform)
    monkeypatch.setattr(kernels, "best_here", lambda: best)
    assert (chosen().cpus, chosen().tag) == ((), "any")
    assert backend.get_requires_for_build_wheel() == []


@pytest.mark.parametrize("machine", MACHINES)
def test_a_release_has_all_cpus_of_a_machine(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kernels.VARIABLE, cpus_of(machine))
    names = tuple(cpu.name for cpu in CPUS if cpu.machine == machine)
    assert chosen() == Choice(names, machine)
    assert chosen().tag == f"manylinux_2_17_{machine}.musllinux_1_1_{machine}"


def test_a_wheel_of_python_alone_needs_nothing_to_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kernels.VARIABLE, cpus_of("any"))
    assert chosen() == Choice()
    assert backend.get_requires_for_build_wheel() == []


@pytest.mark.parametrize("names", ["none none", "native", "x86-64-v3 armv8-a", "x86-64-v9", "x86-64-v3 none"])
def test_names_that_no_wheel_is_for(names: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kernels.VARIABLE, names)
    with pytest.raises(SystemExit, match="GRURT_WHEEL_CPUS: expected none, or names of CPUs of one machine, out of"):
        chosen()


@pytest.mark.parametrize(("linker", "needed"), [("/usr/bin/cc", []), (None, [backend.LINKER])])
def test_compiling_needs_numba_and_a_linker(
    linker: str | None, needed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(kernels.VARIABLE, "x86-64-v3")
    monkeypatch.setattr(kernels, "find_linker", lambda machine: linker)
    found = backend.get_requires_for_build_wheel()
    assert found == ["msgspec>=0.19", "numpy>=2.0", "safetensors>=0.5", *EXTRAS["jit"], *needed]


def test_the_gate_runs_what_contributing_says() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    (line,) = (line for line in script.splitlines() if line.startswith("install_and_test="))
    commands = f'{line}\nprintf "%s|%s" "${{install_and_test%%&&*}}" "${{install_and_test#*&& }}"'
    found = subprocess.run(["bash", "-c", commands], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert found == 'pip install -e ".[everything]" |pytest'
    assert "pytest -m quick" in (ROOT / "README.md").read_text()


def brought_by(extra: str) -> set[str]:
    """Return the names of the packages that an extra brings, through other extras too."""
    needed, seen = [extra], set()
    while needed:
        for each in EXTRAS[needed.pop()]:
            name, _, others = each.partition("]")[0].partition("[")
            if name == "grurt":
                needed += others.split(",")
            else:
                seen.add(re.split("[<>=;]", name)[0])
    return seen


def test_what_the_quick_suite_installs_has_no_framework() -> None:
    seen = brought_by("test")
    assert {"pytest", "numba", "onnxruntime"} <= seen
    assert not seen & {"torch", "keras", "ziglang", "pyspark", "tensorflow"}


@pytest.mark.parametrize("package", extras.EXTRAS)
def test_extras_that_skipped_tests_name_bring_what_is_missing(package: str) -> None:
    distribution = {"grpc": "grpcio", "paho": "aiomqtt"}.get(package, package.replace("_", "-"))
    assert distribution in brought_by(extras.EXTRAS[package])
    assert package == "onnxruntime" or package not in brought_by("test")
