"""The library of kernels that `grurt compile` builds: what it computes, who loads it, and who does not."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import commandline
import every_layer
import llvmlite.binding
import msgspec
import numpy as np
import pytest

from grurt.errors import EngineError
from grurt.native import build, cpus, intermediate, library, linker
from grurt.runtime import engine

LEVELS = [cpu for cpu in cpus.CPUS if cpus.runs_here(cpu.machine, cpu.flags)]

LOADED = """
import json, sys, numpy, grurt
from grurt.runtime import engine
{before}
weights = {{"fc.weight": numpy.float32([[2]]), "fc.bias": numpy.float32([1])}}
model = grurt.Model(layers=[grurt.Linear(name="fc", input_size=1, output_size=1)], weights=weights)
answer = model.stream().step(numpy.float32([3])).tolist()
print(json.dumps([answer, sorted({{"numba", "llvmlite"}} & set(sys.modules)), engine.entry_point().__name__]))
"""

pytestmark = pytest.mark.skipif(not LEVELS, reason="libraries are for Linux on x86-64 from level 2 on, and AArch64")


def build_for(folder: Path, names: Sequence[str]) -> Path:
    path = folder / "kernels.grurt.so"
    build.build_library(path, names)
    return path


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a library for this CPU."""
    return build_for(tmp_path_factory.mktemp("library"), ["native"])


def run(program: str | Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("GRURT_ENGINE", "GRURT_NATIVE")}
    command = [sys.executable, *(["-c", program] if isinstance(program, str) else [program]), *arguments]
    return subprocess.run(
        list(map(str, command)), env=inherited | environment, capture_output=True, text=True, check=False
    )


def loaded(before: str = "", **environment: str) -> tuple[list[float], list[str], str]:
    """Return what a new process answered, which of Numba and llvmlite it imported, and its entry point."""
    finished = run(LOADED.format(before=before), **environment)
    assert finished.returncode == 0, finished.stderr
    answer, modules, name = json.loads(finished.stdout)
    return answer, modules, name


def assert_same_bits(kernels: Path, folder: Path) -> None:
    finished = run(Path(every_layer.__file__), folder / "answers.npz", GRURT_ENGINE="native", GRURT_NATIVE=str(kernels))
    assert finished.returncode == 0, finished.stderr
    found = np.load(folder / "answers.npz")
    expected = every_layer.answers()
    assert set(found.files) == set(expected)
    assert not [name for name in expected if found[name].tobytes() != expected[name].tobytes()]


@pytest.mark.slow
def test_the_same_bits_as_compiled_just_in_time(kernels: Path, tmp_path: Path) -> None:
    assert_same_bits(kernels, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("name", [cpu.name for cpu in LEVELS])
def test_every_level_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    assert_same_bits(build_for(tmp_path, [name]), tmp_path)


@pytest.mark.slow
def test_a_library_is_used_without_numba(kernels: Path) -> None:
    expected = ([7.0], [], "advance_native")
    assert loaded(GRURT_NATIVE=str(kernels)) == expected
    assert loaded(GRURT_NATIVE=str(kernels), GRURT_ENGINE="native") == expected
    assert loaded(GRURT_NATIVE=str(kernels.parent)) == expected


@pytest.mark.slow
def test_just_in_time_where_it_is_chosen(kernels: Path) -> None:
    answer, modules, name = loaded(GRURT_NATIVE=str(kernels), GRURT_ENGINE="jit")
    assert (answer, modules) == ([7.0], ["llvmlite", "numba"])
    assert name != "advance_native"


@pytest.mark.slow
def test_a_library_where_compiled_kernels_are_kept_is_found(kernels: Path) -> None:
    assert loaded(GRURT_CACHE_DIR=str(kernels.parent)) == ([7.0], [], "advance_native")


@pytest.mark.slow
def test_a_library_that_does_not_fit_is_passed_by(kernels: Path, tmp_path: Path) -> None:
    for number, content in enumerate(unfitting(kernels).values()):
        (tmp_path / f"a{number}.grurt.so").write_bytes(content)
    (tmp_path / "b.grurt.so").mkdir()
    finished = run(LOADED.format(before=""), GRURT_NATIVE=str(tmp_path), GRURT_ENGINE="native")
    assert "GRURT_ENGINE=native: no library of kernels fits this grurt and this CPU (" in finished.stderr
    assert all(re.search(reason, finished.stderr) for reason in unfitting(kernels))
    shutil.copy(kernels, tmp_path / "c.grurt.so")
    assert loaded(GRURT_NATIVE=str(tmp_path)) == ([7.0], [], "advance_native")


def unfitting(kernels: Path) -> dict[str, bytes]:
    """Return libraries that must not be loaded, by what is said of them."""
    content = kernels.read_bytes()
    described = library.read_description(kernels)
    image = content[: content.index(msgspec.json.encode(described)) - 1]

    def changed(**fields: object) -> bytes:
        return library.sealed(image, msgspec.structs.replace(described, **fields))

    def with_other_byte(position: int) -> bytes:
        return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]

    other = "aarch64" if described.machine == "x86_64" else "x86_64"
    (cpu,) = described.cpus
    unknown = msgspec.structs.replace(cpu, flags=(*cpu.flags, "flux_capacitor"))
    nonsense = image + b"\0{}"
    return {
        r"as `grurt compile` writes it: its end is not there": b"\x7fELF and nothing else",
        "end is not there": content[: len(content) // 2],
        "its end is not there": content + b"\0",
        "it is damaged": with_other_byte(len(content) // 3),
        "damaged": with_other_byte(len(content) - len(library.MARK) - 50),
        "missing required field": nonsense + library._digest(nonsense) + library.MARK,
        "built from other kernels, of grurt": changed(sources="0"),
        "built from other kernels": changed(interface=library.INTERFACE + 1),
        "built for another kind of CPython": changed(header=32),
        "holds kernels for native, none of which this CPU is": changed(cpus=(unknown,)),
        "none of which this CPU is": changed(machine=other),
    }


@pytest.mark.slow
def test_what_does_not_fit_is_never_loaded(kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*arguments: object) -> None:
        raise AssertionError("a library was loaded")

    monkeypatch.setattr(library, "ExtensionFileLoader", load)
    path = tmp_path / "kernels.so"
    for reason, content in unfitting(kernels).items():
        path.write_bytes(content)
        with pytest.raises(EngineError, match=reason):
            library.load(path)


@pytest.mark.slow
def test_a_named_library_that_cannot_be_loaded_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernels: Path
) -> None:
    monkeypatch.setenv("GRURT_NATIVE", str(tmp_path / "missing.so"))
    with pytest.raises(EngineError, match=r"GRURT_NATIVE=.*missing\.so: cannot be loaded: .*No such file"):
        library.entry_point()
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"no library")
    monkeypatch.setenv("GRURT_NATIVE", str(photo))
    with pytest.raises(EngineError, match=r"^GRURT_NATIVE=.*photo\.jpg: expected a library of kernels, as "):
        library.entry_point()
    not_a_program = library.sealed(b"no program" * 100, library.read_description(kernels))
    (tmp_path / "sealed.so").write_bytes(not_a_program)
    monkeypatch.setenv("GRURT_NATIVE", str(tmp_path / "sealed.so"))
    with pytest.raises(EngineError, match=r"sealed\.so: cannot be loaded: .*invalid ELF header"):
        library.entry_point()


@pytest.mark.slow
def test_a_library_that_others_may_have_written_is_passed_by(
    kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copy(kernels, tmp_path / "kernels.grurt.so"))

    def is_found() -> bool:
        return library.entry_point() is not None

    monkeypatch.setenv("GRURT_NATIVE", str(tmp_path))
    for place, mode, expected in (
        (path, 0o664, True),
        (path, 0o666, False),
        (path, 0o644, True),
        (tmp_path, 0o777, False),
        (tmp_path, 0o1777, True),
        (tmp_path, 0o700, True),
    ):
        place.chmod(mode)
        assert is_found() == expected, (place, oct(mode))
    link = tmp_path / "folder" / "link.grurt.so"
    link.parent.mkdir()
    link.symlink_to(path)
    monkeypatch.setenv("GRURT_NATIVE", str(link.parent))
    assert is_found()
    path.parent.chmod(0o777)
    assert not is_found()
    assert library.passed_by() == [f"{link}: somebody else may have put it there: see docs/native.md"]
    path.parent.chmod(0o700)
    monkeypatch.setattr(library.os, "geteuid", lambda: 10_001)
    owners = {path.stat().st_uid, Path(library.__file__).stat().st_uid}
    assert is_found() == (len(owners) == 1 or 0 in owners)


def test_an_engine_that_does_not_exist() -> None:
    with pytest.raises(EngineError, match='GRURT_ENGINE: expected "native", "jit" or "python", got \'numpy\''):
        engine._load("numpy")


def test_without_a_library_and_without_numba(tmp_path: Path) -> None:
    hidden = "sys.modules['numba'] = None"
    finished = run(LOADED.format(before=hidden), GRURT_NATIVE=str(tmp_path))
    message = r', and numba.*, which compiles the kernels, is not installed: `pip install "grurt\[jit'
    assert re.search("no library of kernels fits this grurt and this CPU" + message, finished.stderr)
    chosen = run(LOADED.format(before=hidden), GRURT_NATIVE=str(tmp_path), GRURT_ENGINE="jit")
    assert re.search("EngineError: GRURT_ENGINE=jit" + message, chosen.stderr)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nm") is None, reason="nm is not installed")
def test_a_library_calls_nothing_but_python(kernels: Path) -> None:
    printed = subprocess.run(
        ["nm", "-D", "--undefined-only", kernels], capture_output=True, text=True, check=True
    ).stdout
    assert not [name for name in printed.split() if not name.startswith("Py") and name != "U"]


@pytest.mark.slow
def test_the_entry_point_wants_four_arguments(kernels: Path) -> None:
    with pytest.raises(TypeError, match="expected 4 arguments"):
        library.load(kernels)()


@pytest.mark.slow
def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernels: Path) -> None:
    def build_library(path: Path, names: Sequence[str]) -> library.Description:
        path.write_bytes(kernels.read_bytes())
        return msgspec.structs.replace(library.read_description(kernels), version=" ".join(names))

    monkeypatch.setattr(build, "build_library", build_library)
    monkeypatch.setenv("GRURT_CACHE_DIR", str(tmp_path / "kept"))
    printed = commandline.succeed("compile", "-o", tmp_path / "k.so", "--cpu", "x86-64-v3", "--cpu", "x86-64-v4")
    assert printed.startswith(f"wrote {tmp_path / 'k.so'}, ")
    assert printed.endswith(" bytes: kernels of grurt x86-64-v3 x86-64-v4 for native\n")
    assert str(tmp_path / "kept" / "kernels.grurt.so") in commandline.succeed("compile")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["x86-64-v9"], "grurt compile: unknown CPU 'x86-64-v9': expected native, x86-64-v4-vnni, .*armv8-a"),
        (["armv8-a", "x86-64-v3"], "grurt compile: expected CPUs of one machine, got aarch64 and x86_64"),
    ],
)
def test_cpus_that_cannot_be_compiled_for(names: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=message):
        build.build_library(tmp_path / "k.so", names)
    assert not list(tmp_path.iterdir())


def test_systems_and_cpus_that_are_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "host_flags", lambda: frozenset())
    with pytest.raises(EngineError, match=r"grurt compile: this CPU \(.*\) is none of x86-64-v4"):
        build.build_library(tmp_path / "k.so")
    monkeypatch.setattr(build.platform, "system", lambda: "Plan 9")
    with pytest.raises(EngineError, match="grurt compile: builds for Linux only, and this is Plan 9"):
        build.build_library(tmp_path / "k.so")


def test_without_a_linker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linker.shutil, "which", lambda name: None)
    monkeypatch.setattr(linker, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match="expected gcc, ld or the package ziglang, got none; `pip install ziglang`"):
        linker.link_library({"a": b""}, cpus.machine())
    with pytest.raises(EngineError, match="expected riscv64-linux-gnu-gcc, riscv64-linux-gnu-ld or"):
        linker.link_library({"a": b""}, "riscv64")
    monkeypatch.setattr(linker, "find_spec", lambda name: object())
    assert linker._linker("riscv64")[1:] == ["-m", "ziglang", "cc", "--target=riscv64-linux-gnu"]


def test_a_linker_that_fails() -> None:
    with pytest.raises(EngineError, match=r"linking the kernels: .* failed: "):
        linker.link_library({"nonsense": b"not an object"}, cpus.machine())


def test_numba_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intermediate, "_START", "import no_such_module")
    with pytest.raises(EngineError, match=r"ahead of time: Numba failed: .*No module named 'no_such_module'"):
        intermediate.kernels("entry")


def test_what_linux_says_of_the_cpu(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd\n\nprocessor\t: 1\nFeatures\t: sve\n")
    assert cpus.host_flags(tmp_path / "cpuinfo") == {"fp", "asimd"}
    assert cpus.host_flags(tmp_path / "nothing") == frozenset()


@pytest.mark.skipif(cpus.machine() != "x86_64", reason="compares the levels of x86-64 with LLVM's view of this CPU")
def test_linux_and_llvm_agree_on_the_cpu() -> None:
    names = {"pni": "sse3", "cx16": "cx16", "lahf_lm": "sahf", "sse4_1": "sse4.1", "sse4_2": "sse4.2", "abm": "lzcnt"}
    names |= {"bmi1": "bmi", "avx512_vnni": "avx512vnni", "avx_vnni": "avxvnni"}
    found = llvmlite.binding.get_host_cpu_features()
    flags = {flag for cpu in cpus.CPUS if cpu.machine == "x86_64" for flag in cpu.flags}
    assert {flag for flag in flags if found[names.get(flag, flag)]} == flags & cpus.host_flags()
