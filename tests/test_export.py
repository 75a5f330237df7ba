"""`grurt export`: exported models are compiled into programs and run, for every platform that can be run here."""

from __future__ import annotations

import ctypes
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import commandline
import every_layer
import models
import msgspec
import numpy as np
import pytest

import grurt
from grurt.demo import load_model
from grurt.errors import EngineError, StreamingError
from grurt.kernels import codes
from grurt.native import c_source, cpus, intermediate, linker
from grurt.native.export import Export, export
from grurt.native.targets import PLATFORMS

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "grurt" / "demo" / "activity.grurt"

exports: dict[tuple[str, str | None], Export] = {}


def exported(platform: str, cpu: str | None = None) -> Export:
    """Return the demo's model, compiled once."""
    if (platform, cpu) not in exports:
        exports[platform, cpu] = export(load_model(), platform, cpu=cpu, name="activity")
    return exports[platform, cpu]


def made_up(t: int, size: int) -> np.ndarray:
    """Return the input that an example program makes up."""
    return np.float32([((7 * t + 3 * i) % 11 - 5) / 8 for i in range(size)])


def expected() -> np.ndarray:
    stream = load_model().stream()
    return np.array([stream.step(made_up(t, 6)) for t in range(10)])


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str | Path) -> str:
    finished = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=60)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def numbers(printed: str) -> np.ndarray:
    return np.array([list(map(float, line.split())) for line in printed.splitlines()], np.float32)


@pytest.mark.parametrize(
    ("platform", "cpu", "compiler", "emulator"),
    [
        ("x86_64-linux-gnu", None, "cc", None),
        ("x86_64-linux-gnu", "x86-64-v2", "cc", None),
        ("aarch64-linux-gnu", None, "aarch64-linux-gnu-gcc", "qemu-aarch64"),
        ("riscv64-linux-gnu", None, "riscv64-linux-gnu-gcc", "qemu-riscv64"),
    ],
)
def test_the_example_program_prints_the_same_bits(
    platform: str, cpu: str | None, compiler: str, emulator: str | None, tmp_path: Path
) -> None:
    command = [tool(compiler), *(["-static"] if emulator else []), "-Wall", "-Werror", "-std=c99", "-pedantic"]
    runner = [tool(emulator)] if emulator else []
    if not emulator:
        skip_unless_x86_64_can_run(cpu or "x86-64-v3")
    exported(platform, cpu).write(tmp_path)
    run(*command, tmp_path / "main.c", tmp_path / "activity.o", "-o", tmp_path / "program")
    assert numbers(run(*runner, tmp_path / "program")).tobytes() == expected().tobytes()


def skip_unless_x86_64_can_run(name: str) -> None:
    (cpu,) = (cpu for cpu in cpus.CPUS if cpu.name == name)
    if not cpus.runs_here(cpu.machine, cpu.flags):
        pytest.skip(f"this CPU is not an {name}")


def test_a_cortex_m4_prints_the_same_bits(tmp_path: Path) -> None:
    """The commands are those of docs/microcontroller.md, and so are the first numbers."""
    for name in ("arm-none-eabi-gcc", "qemu-system-arm"):
        tool(name)
    page = (ROOT / "docs" / "microcontroller.md").read_text()
    (commands,) = re.findall(r"```sh\n(arm-none-eabi-gcc .*?)```", page, re.DOTALL)
    exported("thumbv7em-none-eabihf").write(tmp_path / "out")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    finished = subprocess.run(commands, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert finished.returncode == 0, finished.stderr
    assert numbers(finished.stdout).tobytes() == expected().tobytes()
    assert [line.strip() for line in finished.stdout.splitlines()[:2]] == re.findall(
        r"^    (0\..*)$", page, re.MULTILINE
    )


def test_webassembly_answers_the_same_within_rounding(tmp_path: Path) -> None:
    node = tool("node")
    if find_spec("ziglang") is None:
        pytest.skip("ziglang, which links WebAssembly, is not installed")
    found = exported("wasm32")
    found.write(tmp_path)
    link = [sys.executable, "-m", "ziglang", *found.compiler.split()]
    run(*link, tmp_path / "activity.o", "-o", tmp_path / "activity.wasm")
    script = ROOT / "examples" / "wasm" / "step.mjs"
    printed = run(node, script, tmp_path / "activity.wasm", "activity", str(found.state_bytes), "6", "4")
    assert np.abs(numbers(printed) - expected()).max() < 1e-6


@pytest.mark.parametrize("platform", PLATFORMS)
def test_objects_need_nothing_and_change_nothing(platform: str) -> None:
    found = exported(platform)
    assert sorted(found.files) == ["activity.h", "activity.o", "main.c"]
    content = found.files["activity.o"]
    assert b"memcpy" not in content
    assert b"memset" not in content
    assert b"fmaf" not in content
    weights = 4 * load_model().parameter_count
    assert 0.9 * weights < found.data_bytes < 1.5 * weights
    assert 3000 < found.code_bytes < 12_000
    assert 128 < found.state_bytes < 1100


def test_a_cortex_m4_object_says_that_floats_are_in_registers(tmp_path: Path) -> None:
    readelf = tool("arm-none-eabi-readelf")
    exported("thumbv7em-none-eabihf").write(tmp_path)
    assert "Tag_ABI_VFP_args: VFP registers" in run(readelf, "-A", tmp_path / "activity.o")
    assert run(tool("arm-none-eabi-nm"), "-u", tmp_path / "activity.o") == ""


class Program:
    """An exported model in this process."""

    def __init__(self, model: grurt.Model, folder: Path) -> None:
        self._model = model
        found = export(model, "x86_64-linux-gnu")
        path = folder / "model.so"
        path.write_bytes(linker.link_library({"model": found.files["model.o"]}, "x86_64"))
        self._library = ctypes.CDLL(str(path))
        self._state = np.full(found.state_bytes // 8, -1, np.int64)
        self._library.model_reset(ctypes.c_void_p(self._state.ctypes.data))

    def step(self, inputs: dict[str, Any]) -> tuple[int, dict[str, np.ndarray]]:
        read = [np.ascontiguousarray(inputs[port.name]) for port in self._model.inputs]
        written = {port.name: np.zeros(port.size, np.float32) for port in self._model.plan.outputs}
        pointers = [array.ctypes.data for array in (self._state, *read, *written.values())]
        return self._library.model_step(*map(ctypes.c_void_p, pointers)), written

    @property
    def state(self) -> bytes:
        return self._state.tobytes()


STREAMING = {name: model for name, model in every_layer.all_models().items() if model.unstreamable_reason is None}
SHORT = ("gates", "functions", "random 1", "random 2")


@pytest.mark.parametrize(
    "name", [name if name in SHORT else pytest.param(name, marks=pytest.mark.long) for name in STREAMING]
)
def test_every_layer_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    skip_unless_x86_64_can_run("x86-64-v3")
    model = STREAMING[name]
    program, stream = Program(model, tmp_path), model.stream()
    inputs = models.random_inputs(model.inputs, 20, np.random.default_rng(5))
    for t in range(20):
        x = {port: xs[t] for port, xs in inputs.items()}
        answer = stream.step(x)
        answers = answer if isinstance(answer, dict) else {model.outputs[0].name: answer}
        status, found = program.step(x)
        assert status == codes.OK
        assert {port: y.tobytes() for port, y in found.items()} == {port: y.tobytes() for port, y in answers.items()}


def test_bad_input_leaves_no_trace(tmp_path: Path) -> None:
    skip_unless_x86_64_can_run("x86-64-v3")
    program = Program(load_model(), tmp_path)
    good = {"samples": made_up(1, 6)}
    program.step(good)
    before = program.state
    for bad in (np.nan, np.inf):
        assert program.step({"samples": np.float32([0, 1, bad, 3, 4, 5])})[0] == codes.NONFINITE
        assert program.state == before
    assert program.step(good)[0] == codes.OK


def test_the_header_names_ports_as_c_can() -> None:
    assert [c_source.identifier(name) for name in ("x", "3d", "a.b", "int", "")] == ["x", "_3d", "a_b", "_int", "_"]
    header = exported("x86_64-linux-gnu").files["activity.h"].decode()
    assert "int activity_step(activity_state *state, const float *samples, float *probabilities);" in header
    assert "#define ACTIVITY_SAMPLES_SIZE 6 /* input, float */" in header
    (words,) = re.findall(r"int64_t opaque\[(\d+)\];", header)
    assert 8 * int(words) == exported("x86_64-linux-gnu").state_bytes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"platform": "z80"}, "grurt export: unknown target 'z80': expected one of x86_64-linux-gnu, aarch64"),
        ({"platform": "wasm32", "cpu": "i386"}, "unknown CPU 'i386' for wasm32: expected one of generic"),
        ({"platform": "wasm32", "name": "my-model"}, "expected a name that C can have, got 'my-model'"),
    ],
)
def test_what_cannot_be_exported(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        export(load_model(), **arguments)


def test_a_model_that_cannot_stream() -> None:
    name = next(name for name, model in every_layer.all_models().items() if model.unstreamable_reason is not None)
    with pytest.raises(StreamingError, match="the model cannot be exported: "):
        export(every_layer.all_models()[name], "wasm32")


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = exported("thumbv7em-none-eabihf")
    monkeypatch.setattr("grurt.native.export.export", lambda *arguments, **options: found)
    command = ("export", DEMO, "-o", tmp_path / "out", "--target", "thumbv7em-none-eabihf", "--name", "activity")
    printed = commandline.succeed(*command)
    flash = found.code_bytes + found.data_bytes
    assert f"thumbv7em-none-eabihf (cortex-m4): {flash:,} bytes of flash" in printed
    assert f"{found.state_bytes:,} bytes of RAM for each stream" in printed
    assert "compile: arm-none-eabi-gcc -mcpu=cortex-m4" in printed
    assert (tmp_path / "out" / "activity.o").read_bytes() == found.files["activity.o"]


def test_inspect_shows_what_a_model_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = exported("thumbv7em-none-eabihf")
    monkeypatch.setattr("grurt.native.export.export", lambda *arguments, **options: found)
    flash = found.code_bytes + found.data_bytes
    printed = commandline.succeed("inspect", DEMO, "--target", "thumbv7em-none-eabihf")
    assert printed.splitlines()[-1].startswith(f"thumbv7em-none-eabihf (cortex-m4): {flash:,} bytes of flash")
    described = json.loads(commandline.succeed("inspect", DEMO, "--target", "thumbv7em-none-eabihf", "--json"))
    assert described["exported"] == found.sizes()


@pytest.fixture
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Path]]:
    monkeypatch.setenv("GRURT_CACHE_DIR", str(tmp_path / "cache"))
    return lambda: sorted((tmp_path / "cache").glob("*.ir"))


def test_kernels_are_kept_for_the_next_export(
    no_cache: Callable[[], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = intermediate.Kernels(("text",), {"advance": "symbol"})
    monkeypatch.setattr(intermediate, "_run", lambda *arguments, **options: msgspec.msgpack.encode(made))
    assert intermediate.kernels("entry") == made
    assert len(no_cache()) == 1
    monkeypatch.setattr(intermediate, "_run", lambda *arguments, **options: pytest.fail("compiled again"))
    assert intermediate.kernels("entry") == made
