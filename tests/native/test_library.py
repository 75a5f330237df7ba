"""The library of kernels that `grurt compile` builds: what it computes, who loads it, and who does not."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import commandline
import every_layer
import llvmlite.binding
import msgspec
import numpy as np
import pytest
from neighbours import give, needs_root

from grurt import host_cpu, trust
from grurt.errors import EngineError
from grurt.installing import install_command
from grurt.kernels import places
from grurt.native import build, cpus, intermediate, library, linker
from grurt.runtime import engine

LEVELS = [cpu for cpu in cpus.CPUS if host_cpu.runs_here(cpu.machine, cpu.flags)]

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
    kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing of it is read or loaded, and that is said once; a library that is named itself is loaded."""
    folder = tmp_path / "above" / "folder"
    folder.mkdir(parents=True)
    path = Path(shutil.copy(kernels, folder / "kernels.grurt.so"))
    monkeypatch.setenv("GRURT_NATIVE", str(folder))
    for place, mode, expected in (
        (path, 0o666, False),
        (path, 0o644, True),
        (folder, 0o777, False),
        (folder, 0o1777, True),
        (folder, 0o700, True),
        (folder.parent, 0o777, False),
        (folder.parent, 0o755, True),
    ):
        place.chmod(mode)
        monkeypatch.setattr(trust, "_said", [])
        assert [library.entry_point() is not None for _ in range(2)] == [expected] * 2, (place, oct(mode))
        reason = f"{path}: somebody else may have put it there: everybody may write to {place}"
        said = capsys.readouterr().err
        assert said.splitlines() == ([] if expected else [said.strip()])
        assert said.startswith("" if expected else f"grurt: passed by {reason}: ")
        assert library.passed_by() == ([] if expected else [reason])
    link = tmp_path / "links" / "link.grurt.so"
    link.parent.mkdir()
    link.symlink_to(path)
    monkeypatch.setenv("GRURT_NATIVE", str(link.parent))
    assert library.entry_point() is not None
    folder.chmod(0o777)
    monkeypatch.setattr(library, "load", lambda path: pytest.fail("it was loaded"))
    assert library.entry_point() is None
    monkeypatch.undo()
    monkeypatch.setenv("GRURT_NATIVE", str(path))
    assert library.entry_point() is not None


@needs_root
@pytest.mark.slow
def test_another_users_library_is_passed_by(
    kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o1777)
    monkeypatch.setattr(trust, "_said", [])
    monkeypatch.setenv("GRURT_CACHE_DIR", str(tmp_path))
    for name in ("a", "b"):
        give(Path(shutil.copy(kernels, tmp_path / f"{name}\n\x1b.grurt.so")))
    assert library.entry_point() is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"grurt: passed by {tmp_path}/a\\n\\x1b.grurt.so: somebody else may have put it there: ")
    shutil.copy(kernels, tmp_path / "c.grurt.so")
    assert library.entry_point() is not None


def test_many_libraries_that_are_passed_by_make_a_short_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1000):
        (tmp_path / f"{number:03}.grurt.so").touch()
    monkeypatch.setenv("GRURT_NATIVE", str(tmp_path))
    assert len(library.passed_by()) == library.MOST_REASONS + 1
    assert library.passed_by()[-1] == "and so on"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_the_place_of_a_library_makes_nobody_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.grurt.so")
    monkeypatch.setenv("GRURT_NATIVE", str(tmp_path))
    assert library.entry_point() is None
    monkeypatch.setenv("GRURT_NATIVE", str(tmp_path / "pipe.grurt.so"))
    with pytest.raises(EngineError, match=r"cannot be loaded: .*expected a regular file, got a pipe"):
        library.entry_point()
    monkeypatch.setenv("GRURT_NATIVE", "long" * 1000)
    with pytest.raises(EngineError, match=r"cannot be loaded: .*too long"):
        library.entry_point()
    monkeypatch.setenv("GRURT_NATIVE", "/proc/self/fd/0/nothing")
    with pytest.raises(EngineError, match="cannot be loaded: "):
        library.entry_point()


def test_an_engine_that_does_not_exist() -> None:
    with pytest.raises(EngineError, match='GRURT_ENGINE: expected "native", "jit" or "python", got \'numpy\''):
        engine._load("numpy")


def test_without_a_library_and_without_numba(tmp_path: Path) -> None:
    hidden = "sys.modules['numba'] = None"
    finished = run(LOADED.format(before=hidden), GRURT_NATIVE=str(tmp_path))
    message = r", and numba.*, which compiles the kernels, is not installed: `" + re.escape(install_command("jit"))
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
    found = json.loads(commandline.succeed("compile", "--json"))
    assert found["output"] == str(tmp_path / "kept" / "kernels.grurt.so")
    assert found["bytes"] == Path(found["output"]).stat().st_size
    assert found["cpus"] == ["native"]


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
    monkeypatch.setattr(host_cpu, "host_flags", lambda: frozenset())
    with pytest.raises(EngineError, match=r"grurt compile: this CPU \(.*\) is none of x86-64-v4"):
        build.build_library(tmp_path / "k.so")
    monkeypatch.setattr(build.platform, "system", lambda: "Plan 9")
    with pytest.raises(EngineError, match="grurt compile: builds for Linux only, and this is Plan 9"):
        build.build_library(tmp_path / "k.so")


def test_without_a_linker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linker.shutil, "which", lambda name, path: None)
    monkeypatch.setattr(linker, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match="expected gcc, ld or the package ziglang, got none; `pip install ziglang`"):
        linker.link_library({"a": b""}, host_cpu.machine())
    with pytest.raises(EngineError, match="expected riscv64-linux-gnu-gcc, riscv64-linux-gnu-ld or"):
        linker.link_library({"a": b""}, "riscv64")
    monkeypatch.setattr(linker, "find_spec", lambda name: object())
    assert linker._linker("riscv64")[1:] == ["-P", "-m", "ziglang", "cc", "--target=riscv64-linux-gnu"]


def test_a_linker_in_the_folder_where_one_works_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever PATH says; a program of the name may be anybody's."""
    for name in ("cc", "gcc", "clang", "ld"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(linker, "find_spec", lambda name: object())
    monkeypatch.setenv("PATH", os.pathsep.join(["", ".", "./", f"../{tmp_path.name}"]))
    assert linker._linker(host_cpu.machine())[0] == sys.executable
    monkeypatch.setenv("PATH", str(tmp_path))
    assert linker._linker(host_cpu.machine()) == [str(tmp_path / "cc")]


def test_a_temporary_folder_that_others_may_exchange_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o777)
    monkeypatch.setattr(linker.tempfile, "tempdir", str(tmp_path))
    message = "expected a temporary folder that nobody else can exchange, got .*: name another one in TMPDIR"
    with pytest.raises(EngineError, match=message):
        linker.link_library({"nonsense": b"not an object"}, host_cpu.machine())
    assert not list(tmp_path.iterdir())


def test_modules_in_the_folder_where_one_works_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by the process that compiles, nor by the one that links."""
    for name in ("numba", "msgspec", "grurt", "ziglang"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise SystemExit('{name} was run')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.setattr(intermediate, "_START", "import sys, numba, msgspec, grurt; sys.stdout.write('done')")
    assert intermediate._run("kernels") == b"done"
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(linker, "find_spec", lambda name: object())
    command = [*linker._linker(host_cpu.machine())[:-2], "version"]
    assert "was run" not in subprocess.run(command, capture_output=True, text=True, check=False).stderr


def test_kernels_that_cannot_be_decoded_are_compiled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRURT_CACHE_DIR", str(tmp_path))
    expected = intermediate.Kernels(("text",), {"name": "symbol"}, frozenset())
    monkeypatch.setattr(intermediate, "_run", lambda *arguments, **options: msgspec.msgpack.encode(expected))
    assert intermediate.kernels("entry") == expected
    (entry,) = tmp_path.iterdir()
    for content in (b"nothing that was compressed", zlib.compress(b"nothing that was encoded")):
        assert places.write_entry(entry, content)
        assert intermediate.kernels("entry") == expected


def test_a_linker_that_fails() -> None:
    with pytest.raises(EngineError, match=r"linking the kernels: .* failed: "):
        linker.link_library({"nonsense": b"not an object"}, host_cpu.machine())


def test_numba_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intermediate, "_START", "import no_such_module")
    with pytest.raises(EngineError, match=r"ahead of time: Numba failed: .*No module named 'no_such_module'"):
        intermediate.kernels("entry")


@pytest.mark.skipif(host_cpu.machine() != "x86_64", reason="compares the levels of x86-64 with LLVM's view of this CPU")
def test_linux_and_llvm_agree_on_the_cpu() -> None:
    names = {"pni": "sse3", "cx16": "cx16", "lahf_lm": "sahf", "sse4_1": "sse4.1", "sse4_2": "sse4.2", "abm": "lzcnt"}
    names |= {"bmi1": "bmi", "avx512_vnni": "avx512vnni", "avx_vnni": "avxvnni"}
    found = llvmlite.binding.get_host_cpu_features()
    flags = {flag for cpu in cpus.CPUS if cpu.machine == "x86_64" for flag in cpu.flags}
    assert {flag for flag in flags if found[names.get(flag, flag)]} == flags & host_cpu.host_flags()
