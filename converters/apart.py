"""Asks a library of somebody else's in a process of its own, so that its crash, endless loop or hunger is not ours.

The process is this Python, started afresh: nothing is forked, no module of the user's runs in it, and it is gone when
the answer is there. Both sides talk over pipes, and leave no file.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import msgspec
import numpy as np

from grurt.array_types import Array
from grurt.errors import ConversionError

MAX_SECONDS = 60
"""How long a library may take to start and to answer."""

MAX_MEMORY = 4 << 30
"""How many bytes it may take, beside 16 times what it is given."""

_TIMES_GIVEN = 16

_START = "import sys; from grurt.converters.apart import serve; serve(*sys.argv[1:])"

_INTERPRETERS = ("python", "pypy", "graalpy")


class PackedArray(msgspec.Struct, array_like=True):
    """An array on its way between processes."""

    dtype: str
    shape: tuple[int, ...]
    content: bytes

    @classmethod
    def of(cls, array: Array) -> PackedArray:
        """Return an array, packed."""
        return cls(array.dtype.str, array.shape, array.tobytes())

    def unpacked(self) -> Array:
        """Return the array, read-only."""
        return np.frombuffer(self.content, self.dtype).reshape(self.shape)


class _Answer(msgspec.Struct, array_like=True):
    content: bytes
    error: str


def ask(library: str, module: str, request: bytes) -> bytes:
    """Return what ``answer(request)`` of a module of grurt's returns, called in a process of its own.

    Parameters
    ----------
    library
        Who computes there, for messages.
    module
        Its name. Its ``answer`` takes and returns bytes, and raises ConversionError.
    request
        What it is asked.

    Raises
    ------
    ConversionError
        What ``answer`` raises; or there can be no such process; or it ended without an answer, or took more than
        `MAX_SECONDS` and was ended.
    """
    limit = MAX_MEMORY + _TIMES_GIVEN * len(request)
    command = [_interpreter(library), "-P", "-c", _START, module, str(limit), str(MAX_SECONDS)]
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(command, env=_environment(), stdin=pipe, stdout=pipe, stderr=pipe)  # noqa: S603
    except OSError as error:
        raise ConversionError(f"expected a process for {library}, got none: {error.strerror or error}") from error
    with process:
        try:
            content, said = process.communicate(request, timeout=MAX_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise _unanswered(library, f"took more than {MAX_SECONDS} s, and was ended") from error
        finally:
            process.kill()
            process.wait()
    try:
        answer = msgspec.msgpack.decode(content, type=_Answer)
    except msgspec.DecodeError as error:
        raise _unanswered(library, _end(process.returncode, said)) from error
    if answer.error:
        raise ConversionError(answer.error)
    return answer.content


def serve(module: str, most_bytes: str, most_seconds: str) -> None:
    """Answer one request from stdin on stdout: what runs in the process that `ask` starts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of Ctrl-C, the one who asked takes care
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):  # what libraries print is no answer
        os.dup2(nowhere, descriptor)
    _limit(int(most_bytes), int(most_seconds))
    request = sys.stdin.buffer.read()
    try:
        answer = _Answer(import_module(module).answer(request), "")
    except ConversionError as error:
        answer = _Answer(b"", str(error))
    except MemoryError:
        answer = _Answer(b"", f"it takes more than {int(most_bytes) >> 20:,} MiB of memory")
    with suppress(BrokenPipeError):
        answers.write(msgspec.msgpack.encode(answer))
        answers.flush()
    os._exit(0)  # without what libraries do at the end: some crash there


def _limit(most_bytes: int, most_seconds: int) -> None:
    """Limit this process, as far as the system can; it also ends by itself if the one who asked is gone.

    Where memory is short for all, this process is the one that the system ends.
    """
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    try:
        import resource
    except ImportError:  # on Windows
        return
    held = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE") if _has_proc() else 0
    limits = {"RLIMIT_AS": held + most_bytes, "RLIMIT_CPU": 2 * most_seconds, "RLIMIT_CORE": 0}
    for name, limit in limits.items():
        with suppress(ValueError, OSError):
            kind = getattr(resource, name)
            hard = resource.getrlimit(kind)[1]
            resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _has_proc() -> bool:
    return Path("/proc/self/statm").exists()


def _environment() -> dict[str, str]:
    """Return the environment, with this process's modules, and none that only lies in the folder where it works."""
    folders = (folder or os.curdir for folder in sys.path if isinstance(folder, str))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    environment.pop("PYTHONINSPECT", None)  # with which a Python that cannot start would run its stdin: the file
    return environment


def _interpreter(library: str) -> str:
    """Return the Python that runs this program; a frozen application is one itself, and would start once more."""
    executable = sys.executable or ""
    if getattr(sys, "frozen", False) or not Path(executable).name.lower().startswith(_INTERPRETERS):
        raise ConversionError(f"{library} is run by an interpreter of its own, and this program has none")
    return executable


def _unanswered(library: str, what: str) -> ConversionError:
    return ConversionError(
        f"{library}, in a process of its own, {what}; the model itself was converted, and not compared with its "
        "source: give --no-reference, or convert(..., reference=False), to leave the comparison out"
    )


def _end(code: int, said: bytes) -> str:
    if code < 0:
        names: Mapping[int, str] = {each.value: each.name for each in signal.Signals}
        because = ", as the system does where memory is short" if -code == signal.SIGKILL else ""
        return f"was ended by {names.get(-code, f'signal {-code}')}{because}"
    last = said.decode(errors="replace").strip().rpartition("\n")[2]
    return f"ended without an answer, with exit code {code}" + (f": {last[:200]}" if last else "")
