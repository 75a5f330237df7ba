"""Models that are exported to C, compiled by this machine's compiler into a library, and called in this process."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import grurt
from grurt.native.c99.export import SourceExport, export_c99
from grurt.native.c99.ports import given_of, ports_of

STRICT = ("-Wall", "-Wextra", "-pedantic", "-Wconversion", "-Werror")
FUSED = ("-mfma", "-ffp-contract=off")
"""With an instruction for fused multiply-adds, and no others than are written."""

Floats = np.ndarray[Any, np.dtype[np.float32]]


class CompiledModel:
    """An exported model in this process, with one state.

    Parameters
    ----------
    model
        The model.
    folder
        Where it is written and compiled.
    flags
        What the compiler is told beside the language.
    """

    def __init__(self, model: grurt.Model, folder: Path, flags: Sequence[str] = (), compiler: str = "gcc") -> None:
        self.exported: SourceExport = export_c99(model, name="m")
        self.exported.write(folder)
        self.ports = ports_of(model)
        sizes = f'_Static_assert(sizeof(m_state) == {self.exported.state_bytes}, "the state\'s size");\n'
        sizes += f'_Static_assert(sizeof(m_scratch) == {self.exported.scratch_bytes}, "the size of the scratch");\n'
        if self.exported.context_bytes:
            sizes += f'_Static_assert(sizeof(m_context) == {self.exported.context_bytes}, "the size of a context");\n'
        (folder / "sizes.c").write_text(f'#include "m.h"\n{sizes}')
        compile_c(compiler, "-std=c11", "-fsyntax-only", folder / "sizes.c")
        path = folder / "m.so"
        compile_c(compiler, "-std=c99", "-O1", *STRICT, *flags, "-shared", "-fPIC", folder / "m.c", "-o", path, "-lm")
        self.library = ctypes.CDLL(str(path))
        self.state = ctypes.create_string_buffer(b"\xff" * self.exported.state_bytes)
        self.scratch = ctypes.create_string_buffer(b"\xff" * self.exported.scratch_bytes)
        self.context = ctypes.create_string_buffer(b"\xff" * self.exported.context_bytes)
        self.given = given_of(model)
        if self.given:
            self.library.m_set_context(self.state, None)
        self.reset()

    def make_context(self, values: Mapping[str, Any]) -> int:
        """Make a context, give it to the stream, and return the status."""
        arguments: list[Any] = []
        for each in self.given:
            array = np.ascontiguousarray(values[each.source], np.float32)
            arguments.append(array)
            if each.axis is not None:
                arguments.append(array.shape[each.axis])
        passed = [ctypes.c_int64(x) if isinstance(x, int) else _address(x) for x in arguments]
        status = self.library.m_make_context(self.context, self.scratch, *passed)
        self.library.m_set_context(self.state, self.context)
        return int(status)

    def reset(self) -> None:
        self.library.m_reset(self.state)

    def selftest(self) -> bool:
        context = (self.context,) if self.given else ()
        return bool(self.library.m_selftest(self.state, self.scratch, *context))

    def step(self, inputs: Mapping[str, Any]) -> tuple[int, dict[str, Floats]]:
        """Return the status, and the outputs of a timestep, flat."""
        arrays = self._arrays(inputs, 1)
        status = self.library.m_step(self.state, self.scratch, *map(_address, arrays.values()))
        return status, self._outputs(arrays)

    def run(self, inputs: Mapping[str, Any], n_steps: int) -> tuple[int, dict[str, Floats]]:
        """Return the status, and the outputs of some timesteps, each ``(n_steps, elements)``."""
        arrays = self._arrays(inputs, n_steps)
        count = ctypes.c_int64(n_steps)
        status = self.library.m_run(self.state, self.scratch, count, *map(_address, arrays.values()))
        return status, {name: array.reshape(n_steps, -1) for name, array in self._outputs(arrays).items()}

    def _arrays(self, inputs: Mapping[str, Any], n_steps: int) -> dict[str, np.ndarray]:
        return {
            port.name: np.ascontiguousarray(inputs[port.source], np.int64 if port.is_token else np.float32)
            if port.is_input
            else np.full(n_steps * port.count, np.nan, np.float32)
            for port in self.ports
        }

    def _outputs(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Floats]:
        return {port.source: arrays[port.name] for port in self.ports if not port.is_input}

    def get_state(self, count: int) -> tuple[int, Floats]:
        """Return how many timesteps there have been, and the numbers of the state."""
        values = np.full(count, np.nan, np.float32)
        self.library.m_get_state.restype = ctypes.c_int64
        return self.library.m_get_state(self.state, _address(values)), values

    def set_state(self, n_steps: int, values: Floats) -> int:
        """Return the status."""
        numbers = np.ascontiguousarray(values, np.float32)
        return int(self.library.m_set_state(self.state, ctypes.c_int64(n_steps), _address(numbers)))


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def compile_c(*command: str | Path) -> None:
    finished = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=120)
    assert finished.returncode == 0, finished.stderr


def loaded(path: Path) -> ctypes.CDLL:
    """Return a library that is not this process's own under another name."""
    return ctypes.CDLL(str(path))


def printed(program: Path) -> str:
    """Return what a program prints."""
    return subprocess.run([program], capture_output=True, text=True, check=True, timeout=60).stdout
