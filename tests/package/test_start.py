"""Where a service starts: containers, other users, archives, and whatever is missing there."""

from __future__ import annotations

import compileall
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from commandline import fail, invoke, succeed
from paths import ROOT

import grurt
from grurt import trust
from grurt.demo import MODEL_PATH
from grurt.kernels import cache, compiled, places
from grurt.notices import say
from grurt.runtime import engine

pytestmark = pytest.mark.slow

ANSWER = (
    "import sys, numpy, grurt\n"
    "model = grurt.load(sys.argv[1])\n"
    "answer = model.stream().step(numpy.ones(6, numpy.float32))\n"
    "assert answer.tobytes().hex() == sys.argv[2], answer\n"
    "sys.stdout and print('answered with', grurt.__file__)\n"
)
"""A program that loads a model and answers one timestep, with the bits that are expected."""


@pytest.fixture(scope="module", autouse=True)
def kernels() -> None:
    """Have the kernels of this process, before a test says that they are elsewhere."""
    engine.ready()


@pytest.fixture(scope="module")
def expected() -> str:
    """Return the bits of the answer."""
    return bytes(grurt.load(MODEL_PATH).stream().step([1] * 6).tobytes()).hex()


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """Return a folder that every user can read: the model, and the compiled kernels."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copy(MODEL_PATH, folder / "model.grurt")
        path = compiled.cached_in()
        assert path is not None
        (folder / "kernels").mkdir()
        shutil.copy(path, folder / "kernels")
        yield folder


def start(
    image: Path,
    expected: str,
    *,
    environment: dict[str, str] | None = None,
    prefix: Sequence[str] = (),
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """Run the program in a process that knows nothing of this one's environment but where its modules are."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "VIRTUAL_ENV") if name in os.environ}
    defaults = {"GRURT_CACHE_DIR": str(image / "kernels")}
    command = [*prefix, sys.executable, "-c", ANSWER, str(image / "model.grurt"), expected]
    return subprocess.run(
        command,
        env=kept | defaults | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
        **{"cwd": image} | options,
    )


def assert_answered(result: subprocess.CompletedProcess[str], stderr: str = "") -> None:
    assert (result.returncode, result.stderr) == (0, stderr)
    assert result.stdout.startswith("answered with ")


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({}, id="hardly any variable, and no HOME"),
        pytest.param(
            {"HOME": "/nonexistent", "XDG_CACHE_HOME": "/proc/nowhere", "TMPDIR": "/nonexistent"},
            id="neither home nor temporary directory",
        ),
        pytest.param(
            {"HOME": "", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
            id="an empty HOME and an ASCII locale",
        ),
        pytest.param(
            {"PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "error"}, id="PYTHONOPTIMIZE=2, and warnings are errors"
        ),
        pytest.param(
            {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": "/nonexistent"},
            id="no bytecode",
            marks=pytest.mark.long,
        ),
    ],
)
def test_in_a_bare_environment(image: Path, expected: str, environment: dict[str, str]) -> None:
    assert_answered(start(image, expected, environment=environment))


def test_as_a_user_without_a_name_home_or_any_folder_to_write(image: Path, expected: str) -> None:
    """To such a user the whole file system is read-only; that all of it can be read is for Python's own files."""
    capabilities = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search"]
    stranger = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", *capabilities]
    try:
        subprocess.run([*stranger, sys.executable, "-c", ""], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system lets nobody start a process as another user")
    probe = [*stranger, sys.executable, "-c", f"open({str(image / 'kernels' / 'file')!r}, 'w')"]
    assert subprocess.run(probe, capture_output=True, check=False).returncode != 0
    assert_answered(start(image, expected, prefix=stranger))


def test_in_a_container_whose_file_system_is_read_only(image: Path, expected: str) -> None:
    """A mount namespace of its own, as container runtimes make them, with everything in it mounted read-only."""
    lock = 'mount --make-rprivate / && mount -o remount,ro,bind / && ! touch . 2>&- && exec "$@"'
    isolated = ["unshare", "--mount", "sh", "-c", lock, "sh"]
    try:
        subprocess.run([*isolated, "true"], check=True, capture_output=True, cwd=image)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system lets nobody make mount namespaces")
    command = [*isolated, sys.executable, "-c", ANSWER, str(image / "model.grurt"), expected]
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    environment["GRURT_CACHE_DIR"] = str(image / "kernels")
    assert_answered(subprocess.run(command, cwd=image, env=environment, capture_output=True, text=True, check=False))


READ_ONLY = """
import errno, os, sys
def refuse(event, args):
    writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or event in ("os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink", "os.chmod", "os.utime"):
        raise OSError(errno.EROFS, "Read-only file system", str(args[0]))
sys.addaudithook(refuse)
"""
"""Whatever Python tries to write in this process fails as on a file system that is mounted read-only."""


@pytest.mark.parametrize("cache_is_filled", [True, pytest.param(False, marks=pytest.mark.long)])
def test_on_a_read_only_file_system(image: Path, expected: str, cache_is_filled: bool) -> None:
    kernels = image / ("kernels" if cache_is_filled else "none")
    command = [sys.executable, "-c", READ_ONLY + ANSWER, str(image / "model.grurt"), expected]
    environment = os.environ | {"GRURT_CACHE_DIR": str(kernels)} | ({} if cache_is_filled else {"NUMBA_OPT": "0"})
    result = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert result.returncode == 0
    assert result.stderr.endswith("" if cache_is_filled else " s, not kept: no cache directory can be written\n")
    assert result.stderr.count("\n") == (0 if cache_is_filled else 2)


def test_without_stdout_and_stderr(image: Path, expected: str) -> None:
    """As a daemon starts: the file descriptors are closed."""
    close = 'exec "$@" >&- 2>&-'
    command = [sys.executable, "-c", ANSWER, str(image / "model.grurt"), expected]
    environment = os.environ | {"GRURT_CACHE_DIR": str(image / "kernels")}
    assert subprocess.run(["sh", "-c", close, "sh", *command], env=environment, check=False).returncode == 0


def test_in_a_folder_that_is_gone(image: Path, expected: str, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    leave = f'rmdir "{folder}"; exec "$@"'
    command = [sys.executable, "-P", "-c", ANSWER, str(image / "model.grurt"), expected]
    environment = os.environ | {"GRURT_CACHE_DIR": str(image / "kernels")}
    result = subprocess.run(
        ["sh", "-c", leave, "sh", *command], env=environment, check=False, cwd=folder, capture_output=True, text=True
    )
    assert_answered(result)


def packed(folder: Path, *, bytecode: bool) -> Path:
    """Return an archive of the package, as a zipped application has it: sources, or only bytecode."""
    names = [path for path in (ROOT / "grurt").rglob("*.py") if "converters" not in path.parts]
    for path in names:
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    if bytecode:
        assert compileall.compile_dir(folder / "grurt", quiet=1, legacy=True)
        for path in folder.rglob("*.py"):
            path.unlink()
    archive = folder / "application.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted((folder / "grurt").rglob("*.py*")):
            if "__pycache__" not in path.parts:
                file.write(path, path.relative_to(folder))
    return archive


def test_from_a_zip_archive(image: Path, expected: str, tmp_path: Path) -> None:
    """The archive's kernels are those of the folder: what was compiled for the one serves the other."""
    archive = packed(tmp_path, bytecode=False)
    result = start(image, expected, environment={"PYTHONPATH": str(archive)})
    assert_answered(result)
    assert str(archive) in result.stdout


DIGEST = (
    "from grurt.kernels.places import SOURCE_DIGEST, cache_directories; print(SOURCE_DIGEST, cache_directories()[0])"
)


def test_kernels_without_sources_have_a_digest_of_their_own(tmp_path: Path) -> None:
    archive = packed(tmp_path, bytecode=True)
    environment = os.environ | {"PYTHONPATH": str(archive), "GRURT_CACHE_DIR": ""}
    command = [sys.executable, "-c", DIGEST]
    first, directory = subprocess.check_output(command, env=environment, text=True, cwd=os.sep).split()
    assert first != places.SOURCE_DIGEST
    assert directory.startswith(str(archive))  # where nothing can be written: the next directory is taken then
    with zipfile.ZipFile(archive, "a") as file:
        (tmp_path / "more.py").write_text("SIZE = 3\n")
        compileall.compile_file(tmp_path / "more.py", quiet=1, legacy=True)
        file.write(tmp_path / "more.pyc", "grurt/kernels/more.pyc")
    assert subprocess.check_output(command, env=environment, text=True, cwd=os.sep).split()[0] != first


@pytest.mark.long
@pytest.mark.parametrize("bytecode", [False, True])
def test_an_archive_compiles_its_kernels(expected: str, image: Path, tmp_path: Path, bytecode: bool) -> None:
    """Neither Numba nor the cache needs a file of the sources; the user's cache directory keeps what is compiled."""
    archive = packed(tmp_path, bytecode=bytecode)
    environment = {"PYTHONPATH": str(archive), "GRURT_CACHE_DIR": "", "XDG_CACHE_HOME": str(tmp_path), "NUMBA_OPT": "1"}
    result = start(image, expected, environment=environment)
    assert result.returncode == 0
    assert result.stderr.endswith(f" s, kept in {tmp_path / 'grurt'}\n")
    assert_answered(start(image, expected, environment=environment))


@pytest.mark.long
def test_two_processes_at_once_fill_an_empty_cache(image: Path, expected: str, tmp_path: Path) -> None:
    environment = os.environ | {"GRURT_CACHE_DIR": str(tmp_path / "kernels"), "NUMBA_OPT": "0"}
    command = [sys.executable, "-c", ANSWER, str(image / "model.grurt"), expected]
    processes = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum(f"kept in {tmp_path / 'kernels'}" in each for each in said) == 1
    assert sum("waiting for it" in each for each in said) <= 1
    assert len(list((tmp_path / "kernels").iterdir())) == 2  # one entry, the lock, and no temporary file
    assert_answered(
        start(image, expected, environment={"GRURT_CACHE_DIR": str(tmp_path / "kernels"), "NUMBA_OPT": "0"})
    )


WRITE = """
import sys
from pathlib import Path
from grurt.kernels.places import read_entry, write_entry
path = Path(sys.argv[1]) / "made" / "at once" / "advance.kernel"
payloads = {bytes([byte]) * 200_000 for byte in (1, 2)}
for _ in range(300):
    assert write_entry(path, bytes([int(sys.argv[2])]) * 200_000)
    assert read_entry(path) in payloads
"""


def test_processes_that_write_an_entry_at_once_never_see_half_of_it(tmp_path: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", WRITE, str(tmp_path), byte]) for byte in ("1", "2")]
    assert [process.wait() for process in processes] == [0, 0]
    assert [path.name for path in (tmp_path / "made" / "at once").iterdir()] == ["advance.kernel"]


def test_entries_of_others_do_not_disturb(image: Path, expected: str, tmp_path: Path) -> None:
    """Of another CPU, another version, or of nobody: they have other names, or are damaged and taken for none."""
    shutil.copytree(image / "kernels", tmp_path / "kernels")
    (entry,) = (tmp_path / "kernels").iterdir()
    for name in ("advance-00.kernel", "advance-ffffffffffffffffffffffffffffffff.kernel", "something else"):
        (tmp_path / "kernels" / name).write_bytes(entry.read_bytes()[:1000])
    assert_answered(start(image, expected, environment={"GRURT_CACHE_DIR": str(tmp_path / "kernels")}))


FULL = """
import sys
from pathlib import Path
from grurt.kernels.places import read_entry, write_entry
folder = Path(sys.argv[1])
assert write_entry(folder / "small.kernel", bytes(1_000))
assert not write_entry(folder / "large.kernel", bytes(1_000_000))
assert [path.name for path in folder.iterdir()] == ["small.kernel"]
assert read_entry(folder / "small.kernel") == bytes(1_000)
"""


def test_an_entry_that_finds_the_disk_full_leaves_nothing(tmp_path: Path) -> None:
    """A file system of 64 KiB, which nobody but this process sees."""
    mount = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o size=64k none "{tmp_path}" && exec "$@"', "sh"]
    try:
        subprocess.run([*mount, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system lets nobody mount a file system")
    result = subprocess.run([*mount, sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, check=False)
    assert (result.returncode, result.stderr) == (0, b"")


@pytest.mark.long
def test_a_full_disk_at_the_cache(image: Path, expected: str, tmp_path: Path) -> None:
    """The system cuts every file short, as a full disk does: the kernels serve this process, and nothing is left."""
    resource = pytest.importorskip("resource", reason="needs POSIX resource limits")
    result = start(
        image,
        expected,
        # Some releases of Python keep bytecode that was cut short.
        environment={"GRURT_CACHE_DIR": str(tmp_path), "NUMBA_OPT": "0", "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )
    assert result.returncode == 0
    assert result.stderr.endswith(" s, not kept: no cache directory can be written\n")
    assert result.stderr.count("\n") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["compiling.lock"]


def test_warmup_says_which_file_keeps_the_kernels() -> None:
    path = Path(succeed("warmup").strip())
    assert path == compiled.cached_in()
    assert path.is_file()
    assert path.parent in places.cache_directories()
    assert succeed("warmup").strip() == str(path)
    assert json.loads(succeed("warmup", "--json")) == {"path": str(path), "reason": None}


def test_warmup_leaves_a_library_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_is_compiled_here", False)
    assert json.loads(succeed("warmup", "--json")) == {"path": None, "reason": "a library of kernels serves this CPU"}
    result = invoke("warmup")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "nothing to compile: a library of kernels serves this CPU\n"


def test_warmup_fails_where_nothing_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRURT_CACHE_DIR", "/dev/null/kernels")
    message = (
        "error: expected a directory where compiled kernels can be kept, got none that can be written "
        "(tried {}): name one in GRURT_CACHE_DIR"
    )
    monkeypatch.setattr(compiled, "cached_in", lambda: pytest.fail("compiled before it was known"))
    assert fail("warmup") == message.format("/dev/null/kernels")
    tmp_path.chmod(0o777)
    with monkeypatch.context() as patched:
        patched.setattr(trust, "_said", [])
        patched.setenv("GRURT_CACHE_DIR", str(tmp_path))
        passed_by, error = invoke("warmup").stderr.splitlines()
    assert passed_by.startswith(
        f"grurt: passed by {tmp_path}: somebody else may have put it there: everybody may write"
    )
    assert f"got none that can be written and is safe from others (tried {tmp_path}): name one in" in error
    tmp_path.chmod(0o755)
    fresh = subprocess.run([sys.executable, "-m", "grurt", "warmup"], capture_output=True, text=True, check=False)
    assert (fresh.returncode, fresh.stderr) == (2, message.format("/dev/null/kernels") + "\n")
    monkeypatch.setenv("GRURT_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiled, "cached_in", lambda: None)
    assert fail("warmup") == message.format(tmp_path)


def test_where_numba_may_not_compile() -> None:
    command = [sys.executable, "-m", "grurt", "demo"]
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "GRURT_ENGINE": "jit"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == (
        "error: GRURT_ENGINE=jit, and NUMBA_DISABLE_JIT forbids Numba to compile the kernels: unset it; "
        "to run the kernels in Python, set GRURT_ENGINE=python\n"
    )


def test_without_the_gil(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a free-threaded build says; asked for twice, as a service that goes on after the first error."""
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    monkeypatch.setattr(engine, "_entry_point", None)
    for _ in range(2):
        with pytest.raises(grurt.EngineError, match="expected a Python with its GIL, got it off: set PYTHON_GIL=1"):
            grurt.load(MODEL_PATH).stream()


@pytest.mark.parametrize("stderr", [None, "closed"])
def test_a_process_without_stderr_compiles_silently(monkeypatch: pytest.MonkeyPatch, stderr: str | None) -> None:
    with (Path(os.devnull)).open("w") as file:
        file.close()
        monkeypatch.setattr(sys, "stderr", file if stderr else None)
        say("compiling")


def test_the_images_of_the_documentation_can_be_built() -> None:
    """Docker itself is not run here; every command of grurt in the page is."""
    page = (ROOT / "docs" / "deployment.md").read_text()
    assert page.count("```dockerfile") == 2  # with a wheel, and with kernels compiled as the image is built
    commands = set(re.findall(r"(?<![.\w])grurt (\w+)", page))
    assert {"warmup"} <= commands
    for command in commands:
        assert invoke(command, "--help").exit_code == 0
    assert set(re.findall(r"\bGRURT_\w+", page)) <= {
        "GRURT_CACHE_DIR",
        "GRURT_ENGINE",
        "GRURT_NATIVE",
        "GRURT_WHEEL_CPUS",
    }
    assert cache.cache_directories() == places.cache_directories()
