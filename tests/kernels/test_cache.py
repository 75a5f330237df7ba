"""Where compiled kernels are kept: warm, damaged, and where nothing can be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import every_layer
import pytest

from grurt.kernels import cache, places

QUESTION = (
    "from numba.core import event\n"
    "events = []\n"
    "class Recorder(event.Listener):\n"
    "    def on_start(self, event): events.append(event.kind)\n"
    "    def on_end(self, event): pass\n"
    "event.register('numba:compile', Recorder())\n"
    "import grurt, numpy\n"
    "weights = {'fc.weight': numpy.float32([[2]]), 'fc.bias': numpy.float32([1])}\n"
    "model = grurt.Model(layers=[grurt.Linear(name='fc', input_size=1, output_size=1)], weights=weights)\n"
    "print(model.stream().step([3]), 'compiled' if events else 'loaded')\n"
)
"""A program that prints an answer, and whether Numba compiled anything for it."""


def ask(directory: Path | None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own, which keeps kernels in a directory, or where it always does."""
    inherited = {name: value for name, value in os.environ.items() if name != "GRURT_CACHE_DIR"}
    chosen = {} if directory is None else {"GRURT_CACHE_DIR": str(directory)}
    return subprocess.run(
        [sys.executable, "-c", QUESTION],
        env=inherited | chosen | environment,
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the kernels in it, copied from where this process has them."""
    directory = tmp_path_factory.mktemp("kernels")
    every_layer.functions_model().stream()  # they are compiled by now
    for place in places.cache_directories():
        for entry in place.glob("*.kernel"):
            shutil.copy(entry, directory)
    ask(directory)
    return directory


@pytest.fixture
def copied(warm: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(warm, tmp_path / "copied"))


@pytest.mark.slow
def test_a_warm_cache_is_silent_and_compiles_nothing(warm: Path) -> None:
    answer = ask(warm)
    assert (answer.stdout, answer.stderr) == ("[7.] loaded\n", "")


@pytest.mark.slow
def test_a_cache_that_can_only_be_read_serves(copied: Path) -> None:
    for entry in copied.iterdir():
        entry.chmod(0o444)
    copied.chmod(0o555)
    names = sorted(copied.iterdir())
    answer = ask(copied)
    assert (answer.stdout, answer.stderr) == ("[7.] loaded\n", "")
    assert sorted(copied.iterdir()) == names
    copied.chmod(0o755)


@pytest.mark.slow
def test_without_a_home_directory(copied: Path) -> None:
    answer = ask(copied, HOME="", XDG_CACHE_HOME="")
    assert (answer.stdout, answer.stderr) == ("[7.] loaded\n", "")


@pytest.mark.slow
def test_damaged_entries_are_compiled_again_and_replaced(copied: Path) -> None:
    for entry in copied.iterdir():
        content = bytearray(entry.read_bytes())
        content[len(content) // 2] ^= 1
        entry.write_bytes(content)
    answer = ask(copied)
    assert answer.stdout == "[7.] compiled\n"
    start, end = answer.stderr.splitlines()
    assert start.startswith("grurt: compiling the kernels for this CPU (")
    assert end.startswith("grurt: kernels compiled in ")
    assert end.endswith(f" s, kept in {copied}")
    answer = ask(copied)
    assert (answer.stdout, answer.stderr) == ("[7.] loaded\n", "")


class Compiled:
    """What the cache needs of a compiled function."""

    codegen = SimpleNamespace(magic_tuple=lambda: ("triple", "cpu", "features"))

    def _reduce(self) -> tuple[str, ...]:
        return ("machine code",)


def target(codegen: Any = Compiled.codegen) -> Any:
    return SimpleNamespace(refresh=lambda: None, codegen=lambda: codegen)


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the path of the only entry in a cache."""
    monkeypatch.setenv("GRURT_CACHE_DIR", str(tmp_path / "made" / "when needed"))
    kernels = cache.KernelCache("advance")
    kernels.save_overload("signature", Compiled())
    (path,) = (tmp_path / "made" / "when needed").iterdir()
    assert kernels.path == path
    return path


def is_found(monkeypatch: pytest.MonkeyPatch, signature: str = "signature", codegen: Any = Compiled.codegen) -> bool:
    """Return whether the cache has an entry, without making a function of it."""
    monkeypatch.setattr(cache, "CompileResult", SimpleNamespace(_rebuild=lambda target, code: code))
    kernels = cache.KernelCache("advance")
    found = kernels.load_overload(signature, target(codegen))
    assert kernels.hit == (found is not None)
    assert found in (None, "machine code")
    return kernels.hit


def test_an_entry_is_found_again(monkeypatch: pytest.MonkeyPatch, saved: Path) -> None:
    assert is_found(monkeypatch)


def test_an_entry_belongs_to_sources_versions_and_cpu(monkeypatch: pytest.MonkeyPatch, saved: Path) -> None:
    assert not is_found(monkeypatch, "another signature")
    assert not is_found(monkeypatch, codegen=SimpleNamespace(magic_tuple=lambda: ("triple", "cpu", "others")))
    for name, other in (
        ("SOURCE_DIGEST", "other"),
        ("numba", SimpleNamespace(__version__="0")),
        ("llvmlite", SimpleNamespace(__version__="0")),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(cache, name, other)
            assert not is_found(patched)


def test_the_digest_is_of_every_kernel_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sources = Path(shutil.copytree(Path(places.__file__).parent, tmp_path / "kernels"))
    monkeypatch.setattr(places, "__file__", str(sources / "places.py"))
    assert places.source_digest() == places.SOURCE_DIGEST
    names = {path.name for path in sources.glob("*.py")}
    assert {"simd.py", "gru.py", "entry.py"} < names
    for name in names:
        content = (sources / name).read_bytes()
        (sources / name).write_bytes(content + b"#")
        assert places.source_digest() != places.SOURCE_DIGEST
        (sources / name).write_bytes(content)
    assert places.source_digest() == places.SOURCE_DIGEST


def test_every_damage_is_noticed(monkeypatch: pytest.MonkeyPatch, saved: Path) -> None:
    content = saved.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0x10
        saved.write_bytes(damaged)
        assert not is_found(monkeypatch)
    for size in range(len(content)):
        saved.write_bytes(content[:size])
        assert not is_found(monkeypatch)
    saved.unlink()
    assert not is_found(monkeypatch)
    saved.mkdir()
    assert not is_found(monkeypatch)


def test_where_nothing_can_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, saved: Path) -> None:
    (tmp_path / "file").touch()
    taken = tmp_path / "taken"
    (taken / saved.name).mkdir(parents=True)  # a directory stands where the entry should
    for directory in (tmp_path / "file", tmp_path / "file" / "below", taken, Path("/dev/null/cache")):
        monkeypatch.setenv("GRURT_CACHE_DIR", str(directory))
        kernels = cache.KernelCache("advance")
        kernels.save_overload("signature", Compiled())
        assert kernels.path is None
        assert not is_found(monkeypatch)
    assert [path.name for path in taken.iterdir()] == [saved.name]


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, saved: Path) -> None:
    def write_half(path: Path, content: bytes) -> None:
        path.with_name("half").write_bytes(content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(places, "write_atomically", write_half)
    kernels = cache.KernelCache("advance")
    kernels.save_overload("other signature", Compiled())
    assert kernels.path is None


def test_beside_the_sources_or_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GRURT_CACHE_DIR", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    beside = tmp_path / "kernels" / "__pycache__"
    monkeypatch.setattr(places, "__file__", str(beside.parent / "cache.py"))
    assert places.cache_directories() == [beside, tmp_path / "user" / "grurt"]
    beside.parent.touch()  # a file: nothing can be written below it
    kernels = cache.KernelCache("advance")
    kernels.save_overload("signature", Compiled())
    assert kernels.path is not None
    assert kernels.path.parent == tmp_path / "user" / "grurt"
    assert is_found(monkeypatch)


@pytest.mark.parametrize(
    ("system", "environment", "expected"),
    [
        ("linux", {}, "home/.cache/grurt"),
        ("linux", {"XDG_CACHE_HOME": "xdg"}, "xdg/grurt"),
        ("darwin", {}, "home/Library/Caches/grurt"),
        ("win32", {}, "home/AppData/Local/grurt"),
        ("win32", {"LOCALAPPDATA": "local"}, "local/grurt"),
    ],
)
def test_the_users_cache_directory(
    monkeypatch: pytest.MonkeyPatch, system: str, environment: dict[str, str], expected: str
) -> None:
    for name in ("GRURT_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(Path, "home", lambda: Path("home"))
    assert places.cache_directories()[1:] == [Path(expected)]


def test_no_home_directory_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("GRURT_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(Path, "home", no_home)
    assert places.cache_directories() == [Path(places.__file__).parent / "__pycache__"]


def test_numbas_dispatcher_may_ask_for_all_of_its_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRURT_CACHE_DIR", str(tmp_path))
    kernels = cache.KernelCache("advance")
    kernels.enable()
    kernels.disable()
    kernels.flush()
    assert kernels.cache_path == str(tmp_path)
    assert not any(tmp_path.iterdir())
