"""Where compiled kernels are kept: warm, damaged, and where nothing can be written."""

from __future__ import annotations

import fcntl
import os
import pickle
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import every_layer
import pytest
from neighbours import NEIGHBOUR, give, needs_root

from grurt import atomic, trust
from grurt.kernels import cache, places, turns
from grurt.kernels.machine_code import MachineCode

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
    "import sys\n"
    "assert events or not {'grurt.kernels.entry', 'numba.np.arrayobj'} & set(sys.modules)\n"
)
"""A program that prints an answer, and whether Numba compiled anything for it: if not, it needs no kernel's source."""


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


CODEGEN = SimpleNamespace(magic_tuple=lambda: ("triple", "cpu", "features"))
CODE = MachineCode("symbol", b"object file")


def entry_name(signature: str = "signature", codegen: Any = CODEGEN) -> str:
    return cache.entry_name("advance", signature, codegen)


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the path of the only entry in a cache."""
    monkeypatch.setenv("GRURT_CACHE_DIR", str(tmp_path / "made" / "when needed"))
    path = cache.keep(entry_name(), CODE)
    assert path is not None
    assert list((tmp_path / "made" / "when needed").iterdir()) == [path]
    return path


def is_found(monkeypatch: pytest.MonkeyPatch, name: str | None = None) -> bool:
    """Return whether the cache has an entry, without loading its code."""
    monkeypatch.setattr(cache.machine_code, "loaded", lambda code: code)
    found = cache.load(name or entry_name())
    assert found is None or found[0] == CODE
    return found is not None


def test_an_entry_is_found_again(monkeypatch: pytest.MonkeyPatch, saved: Path) -> None:
    assert is_found(monkeypatch)


def test_an_entry_belongs_to_sources_versions_and_cpu(monkeypatch: pytest.MonkeyPatch, saved: Path) -> None:
    others = SimpleNamespace(magic_tuple=lambda: ("triple", "cpu", "others"))
    names = {entry_name(), entry_name("another signature"), entry_name(codegen=others)}
    for name, other in (
        ("SOURCE_DIGEST", "other"),
        ("numba", SimpleNamespace(__version__="0")),
        ("llvmlite", SimpleNamespace(__version__="0")),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(cache, name, other)
            names.add(entry_name())
    assert len(names) == 6
    assert saved.name in names


def test_an_entry_under_anothers_name_is_none(monkeypatch: pytest.MonkeyPatch, saved: Path) -> None:
    other = entry_name("another signature")
    saved.rename(saved.with_name(other))
    assert not is_found(monkeypatch, other)


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
    os.mkfifo(sources / "pipe.py")  # which nobody writes to, and nobody could import
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
    saved.rmdir()
    os.mkfifo(saved)  # nobody writes to it
    assert not is_found(monkeypatch)


def test_where_nothing_can_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    taken = tmp_path / "taken"
    (taken / saved.name).mkdir(parents=True)  # a directory stands where the entry should
    long = tmp_path / ("long" * 100)
    for directory in (tmp_path / "file", tmp_path / "file" / "below", taken, Path("/dev/null/cache"), long):
        monkeypatch.setenv("GRURT_CACHE_DIR", str(directory))
        assert cache.keep(entry_name(), CODE) is None
        assert not is_found(monkeypatch)
    assert [path.name for path in taken.iterdir()] == [saved.name]
    assert capsys.readouterr().err == ""


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, saved: Path) -> None:
    def write_half(path: Path, content: bytes, mode: int) -> None:
        path.with_name("half").write_bytes(content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "write_atomically", write_half)
    assert cache.keep(entry_name("other signature"), CODE) is None


def test_beside_the_sources_or_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GRURT_CACHE_DIR", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    beside = tmp_path / "kernels" / "__pycache__"
    monkeypatch.setattr(places, "__file__", str(beside.parent / "cache.py"))
    assert places.cache_directories() == [beside, tmp_path / "user" / "grurt"]
    beside.parent.touch()  # a file: nothing can be written below it
    path = cache.keep(entry_name(), CODE)
    assert path is not None
    assert path.parent == tmp_path / "user" / "grurt"
    assert is_found(monkeypatch)


def test_other_copies_of_the_package_find_what_one_has_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GRURT_CACHE_DIR", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    for copy in ("installed", "checkout"):
        folder = tmp_path / copy / "kernels"
        folder.mkdir(parents=True)
        monkeypatch.setattr(places, "__file__", str(folder / "places.py"))
        assert is_found(monkeypatch) == (copy == "checkout")
        assert cache.keep(entry_name(), CODE) == folder / "__pycache__" / entry_name()


def test_a_users_cache_that_is_not_safe_is_left_alone_in_silence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GRURT_CACHE_DIR", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(trust, "_said", [])
    user = tmp_path / "user"
    user.mkdir()
    user.chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(user))
    monkeypatch.setattr(places, "__file__", str(tmp_path / "places.py"))
    assert cache.keep(entry_name(), CODE) == tmp_path / "__pycache__" / entry_name()
    assert not list(user.iterdir())
    assert capsys.readouterr().err == ""


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the path of the lock of an empty cache."""
    monkeypatch.setenv("GRURT_CACHE_DIR", str(tmp_path))
    with turns.turn() as has_waited:
        assert not has_waited
    return tmp_path / turns.LOCK


def test_who_starts_while_another_compiles_waits_for_it(locked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A process that is killed while it has the lock does not keep it."""
    holds = (
        "import sys; from grurt.kernels.turns import turn\nwith turn(): print('holds', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", holds], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"holds\n"
        threading.Timer(0.3, process.kill).start()
        with turns.turn() as has_waited:
            assert has_waited
            assert process.wait() < 0
    assert capsys.readouterr().err == "grurt: another process is compiling the kernels: waiting for it ...\n"
    with turns.turn() as has_waited:
        assert not has_waited


def test_nobody_waits_for_ever(
    locked: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(turns, "LONGEST_WAIT", 0.1)
    with locked.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with turns.turn() as has_waited:
            assert has_waited


def test_nobody_else_may_open_the_lock(locked: Path) -> None:
    assert locked.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("obstacle", ["folder", "link", "pipe"])
def test_where_the_lock_cannot_be_everybody_compiles(locked: Path, obstacle: str) -> None:
    locked.unlink()
    {
        "folder": locked.mkdir,
        "link": lambda: locked.symlink_to(locked.parent / "elsewhere"),
        "pipe": lambda: os.mkfifo(locked),
    }[obstacle]()
    with turns.turn() as has_waited:
        assert not has_waited
    assert not (locked.parent / "elsewhere").exists()


@pytest.mark.slow
def test_of_two_that_start_with_an_empty_cache_one_compiles(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        answers = [*pool.map(ask, [tmp_path] * 2)]
    assert sorted(answer.stdout for answer in answers) == ["[7.] compiled\n", "[7.] loaded\n"]


@pytest.mark.parametrize(
    ("system", "environment", "expected"),
    [
        ("linux", {}, "home/.cache/grurt"),
        ("linux", {"XDG_CACHE_HOME": "{}/xdg"}, "xdg/grurt"),
        ("linux", {"XDG_CACHE_HOME": "xdg"}, "home/.cache/grurt"),  # a relative path is invalid, says its specification
        ("linux", {"XDG_CACHE_HOME": "~/.cache"}, "home/.cache/grurt"),
        ("linux", {"XDG_CACHE_HOME": ""}, "home/.cache/grurt"),
        ("linux", {"XDG_CACHE_HOME": "{}/xdg", "HOME": ""}, "xdg/grurt"),
        ("linux", {"HOME": "home"}, None),
        ("linux", {"HOME": "~"}, None),
        ("linux", {"HOME": ""}, None),
        ("linux", {"HOME": "{}/nonexistent"}, None),
        ("linux", {"HOME": "{}/file"}, None),
        ("darwin", {"XDG_CACHE_HOME": "{}/xdg"}, "home/Library/Caches/grurt"),
        ("darwin", {"HOME": "home"}, None),
        ("win32", {}, "home/AppData/Local/grurt"),
        ("win32", {"LOCALAPPDATA": "{}/local"}, "local/grurt"),
        ("win32", {"LOCALAPPDATA": "local"}, "home/AppData/Local/grurt"),
    ],
)
def test_the_users_cache_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, system: str, environment: dict[str, str], expected: str | None
) -> None:
    """A path that is not absolute would lead into whatever folder the process works in."""
    for folder in ("home", "working"):
        (tmp_path / folder).mkdir()
    (tmp_path / "working" / "home").mkdir()
    (tmp_path / "file").touch()
    for name in ("GRURT_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"HOME": "{}/home"} | environment).items():
        monkeypatch.setenv(name, value.format(tmp_path))
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.chdir(tmp_path / "working")
    assert places.cache_directories()[1:] == ([] if expected is None else [tmp_path / expected])


def test_no_home_directory_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("GRURT_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(Path, "home", no_home)
    assert places.cache_directories() == [Path(places.__file__).parent / "__pycache__"]
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert places.cache_directories()[1:] == [Path("/cache/grurt")]


@pytest.mark.parametrize("umask", [0, 0o002, 0o022, 0o077])
def test_what_is_made_nobody_else_may_write_to(umask: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The user's own directory is private; one that is chosen may serve everybody, as in an image."""
    monkeypatch.setenv("GRURT_CACHE_DIR", str(tmp_path / "new" / "kernels"))
    old = os.umask(umask)
    try:
        chosen = cache.keep(entry_name(), CODE)
        monkeypatch.delenv("GRURT_CACHE_DIR")
        monkeypatch.setattr(places, "__file__", "/dev/null/places.py")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own" / "cache"))
        monkeypatch.setattr(sys, "platform", "linux")
        own = cache.keep(entry_name(), CODE)
    finally:
        os.umask(old)
    assert chosen is not None
    assert own is not None
    for path, mode in {chosen: 0o644, chosen.parent: 0o755, chosen.parent.parent: 0o755, own: 0o644}.items():
        assert path.stat().st_mode & 0o777 == mode & ~umask
    assert own.parent == tmp_path / "own" / "cache" / "grurt"
    for path in (own.parent, own.parent.parent, own.parent.parent.parent):
        assert path.stat().st_mode & 0o777 == 0o700
    assert is_found(monkeypatch)


@pytest.fixture
def untrusted(monkeypatch: pytest.MonkeyPatch, saved: Path) -> Path:
    """Return the directory of the saved entry, with nothing said of it yet."""
    monkeypatch.setattr(trust, "_said", [])
    return saved.parent


def assert_passed_by(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: Path, reason: str
) -> None:
    """It is neither read nor replaced, and that is said once."""
    before = {path: path.stat().st_ino for path in place.iterdir()}
    assert not is_found(monkeypatch)
    assert cache.keep(entry_name(), CODE) is None
    assert not is_found(monkeypatch)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"grurt: passed by {place}")
    assert f": somebody else may have put it there: {reason}: take the right to write there away from others" in line
    assert {path: path.stat().st_ino for path in place.iterdir()} == before


@pytest.mark.parametrize("above", [0, 1, 2])
def test_a_directory_that_others_may_write_to_is_passed_by(
    above: int, untrusted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = [untrusted, *untrusted.parents][above]
    place.chmod(0o777)
    assert_passed_by(monkeypatch, capsys, untrusted, f"everybody may write to {place}")
    place.chmod(0o1777)
    assert is_found(monkeypatch)


def test_an_empty_directory_that_others_may_write_to_is_not_filled(
    untrusted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is put there now would not be read at the next start either."""
    (untrusted / entry_name()).unlink()
    untrusted.chmod(0o777)
    assert_passed_by(monkeypatch, capsys, untrusted, f"everybody may write to {untrusted}")
    assert places.directory_to_write() is None
    monkeypatch.setenv("GRURT_CACHE_DIR", str(untrusted / "new" / "folder"))
    assert cache.keep(entry_name(), CODE) is None
    assert not list(untrusted.iterdir())


@needs_root
@pytest.mark.parametrize("above", [None, 0, 1])
@pytest.mark.parametrize("mode", [0o755, 0o1777])
def test_another_users_entry_or_directory_is_passed_by(
    above: int | None,
    mode: int,
    untrusted: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Be it that of a user whose HOME root has been left with, as sudo does."""
    place = untrusted / entry_name() if above is None else [untrusted, *untrusted.parents][above]
    untrusted.chmod(mode)
    give(place)
    before = sorted(untrusted.iterdir())
    assert not is_found(monkeypatch)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"grurt: passed by {untrusted / entry_name()}: somebody else may have put it there: "
        f"{place} belongs to user {NEIGHBOUR}: "
    )
    assert sorted(untrusted.iterdir()) == before
    # In a directory of its own, root may put another's entry away; in another's, it leaves nothing.
    assert (cache.keep(entry_name(), CODE) is None) == (above is not None)
    assert is_found(monkeypatch) == (above is None)
    assert capsys.readouterr().err == ""


@needs_root
def test_root_makes_no_directory_in_the_home_of_another_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The user could not use it afterwards."""
    monkeypatch.setattr(trust, "_said", [])
    for name in ("GRURT_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(places, "__file__", "/dev/null/places.py")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(give(tmp_path)))
    assert cache.keep(entry_name(), CODE) is None
    assert not list(tmp_path.iterdir())
    assert f"{tmp_path} belongs to user {NEIGHBOUR}: " in capsys.readouterr().err


def test_a_directory_by_a_relative_path_is_looked_at_from_the_root(
    untrusted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(untrusted)
    monkeypatch.setenv("GRURT_CACHE_DIR", ".")
    assert is_found(monkeypatch)
    untrusted.parent.chmod(0o777)
    assert not is_found(monkeypatch)
    assert f"everybody may write to {untrusted.parent}: " in capsys.readouterr().err


OTHER_CODE = """
define i32 @other(ptr %result, ptr %exception) {{
  %file = call i32 @creat(ptr @marker, i32 420)
  ret i32 0
}}
declare i32 @creat(ptr, i32)
@marker = constant [{size} x i8] c"{path}\\00"
"""
"""A function that makes a file, which shows that it was called."""

CALL = """
import ctypes, sys
from numba.core.registry import cpu_target
from grurt.kernels import cache
cpu_target.target_context.codegen()  # LLVM is there from now on
found = cache.load(sys.argv[1])
if found:
    ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)(found[0])(None, None)
print("loaded" if found else "passed by")
"""


class Unpickled:
    """Whoever unpickles it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="this system has neither owners nor modes of files")
def test_a_poisoned_entry_is_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The same entry is run where nobody else can have put it: it is sound, and its digest fits."""
    marker = tmp_path / "marker"
    llvm = pytest.importorskip("llvmlite.binding")
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(jit=True)
    module = llvm.parse_assembly(OTHER_CODE.format(size=len(str(marker)) + 1, path=marker))
    directory = tmp_path / "kernels"
    monkeypatch.setenv("GRURT_CACHE_DIR", str(directory))
    code = cache.keep("other.kernel", MachineCode("other", machine.emit_object(module)))
    assert code is not None
    assert places.write_entry(directory / "pickle.kernel", pickle.dumps(Unpickled(marker)))

    def call(name: str) -> tuple[str, int, bool]:
        command = [sys.executable, "-c", CALL, name]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        was_run = marker.exists()
        marker.unlink(missing_ok=True)
        return result.stdout.strip(), len(result.stderr.splitlines()), was_run

    assert call("other.kernel") == ("loaded", 0, True)
    assert call("pickle.kernel") == ("passed by", 0, False)
    directory.chmod(0o777)
    assert call("other.kernel") == ("passed by", 1, False)
    directory.chmod(0o755)
    if os.geteuid() == 0:
        give(code)
        assert call("other.kernel") == ("passed by", 1, False)
