"""`grurt export`: exported models are compiled into programs and run, for every platform that can be run here."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import c_programs
import commandline
import every_layer
import msgspec
import numpy as np
import pytest
from llvmlite import binding as llvm
from paths import ROOT

import grurt
from grurt.demo import load_model
from grurt.errors import EngineError, StreamingError
from grurt.kernels import codes
from grurt.model import Source
from grurt.native import c_source, intermediate, linker
from grurt.native.export import Export, export
from grurt.native.targets import PLATFORMS
from grurt.network.signature import Signature, ValuePort
from grurt.runtime.engine import ready

pytestmark = pytest.mark.slow

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
    ("platform", "cpu"),
    [
        ("x86_64-linux-gnu", None),
        ("x86_64-linux-gnu", "x86-64-v2"),
        ("aarch64-linux-gnu", None),
        ("aarch64-linux-gnu", "armv8.2-a+dotprod"),
        ("riscv64-linux-gnu", None),
    ],
)
def test_the_example_program_prints_the_same_bits(platform: str, cpu: str | None, tmp_path: Path) -> None:
    tools = c_programs.toolchain(platform, cpu)
    exported(platform, cpu).write(tmp_path)
    assert numbers(tools.run(tmp_path, "main.c", "activity.o")).tobytes() == expected().tobytes()


PAGE = (ROOT / "docs" / "microcontroller.md").read_text()


def typed(beginning: str, folder: Path) -> str:
    """Run the commands of docs/microcontroller.md that begin so, in a folder, and return what they print."""
    (commands,) = re.findall(rf"```sh\n({re.escape(beginning)}.*?)```", PAGE, re.DOTALL)
    for name in ("examples", "grurt"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    finished = subprocess.run(
        ["sh", "-ec", commands],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_a_cortex_m4_prints_the_same_bits(tmp_path: Path) -> None:
    """Commands, numbers and roughly the sizes are those of docs/microcontroller.md."""
    for name in ("arm-none-eabi-gcc", "qemu-system-arm"):
        tool(name)
    sizes = typed("grurt export grurt/demo/activity.grurt -o out --target thumbv7em-none-eabihf", tmp_path)
    found = [int(number.replace(",", "")) for number in re.findall(r"([\d,]+) (?:bytes|code|weights|for all)", sizes)]
    (said,) = re.findall(
        r"([\d.]+) kB of flash \(([\d.]+) kB code, ([\d.]+) kB\s+weights\), (\d+) bytes of RAM for each stream "
        r"and (\d+)",
        PAGE,
    )
    flash, code, weights, *ram = map(float, said)
    assert found == pytest.approx([1000 * flash, 1000 * code, 1000 * weights, *ram], rel=0.1)
    printed = typed("arm-none-eabi-gcc ", tmp_path)
    assert numbers(printed).tobytes() == expected().tobytes()
    assert [line.strip() for line in printed.splitlines()[:2]] == re.findall(r"^    (0\..*)$", PAGE, re.MULTILINE)


def test_webassembly_answers_the_same_within_rounding(tmp_path: Path) -> None:
    """The commands are those of docs/microcontroller.md."""
    tool("node")
    if find_spec("ziglang") is None:
        pytest.skip("ziglang, which links WebAssembly, is not installed")
    *_, printed = typed("grurt export grurt/demo/activity.grurt -o wasm --target wasm32", tmp_path).rpartition(
        "activity.wasm\n"
    )
    assert np.abs(numbers(printed) - expected()).max() < 1e-6


def test_the_table_of_targets() -> None:
    for name, platform in PLATFORMS.items():
        (cpus, size) = re.findall(rf"\| `{name}` \| (.*?) \| ([\d.]+) kB \|", PAGE)[0]
        assert set(re.findall(r"`([\w.+-]+)`", cpus)) == set(platform.cpus)
        assert exported(name).code_bytes / 1000 == pytest.approx(float(size), rel=0.2)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_objects_need_nothing_and_change_nothing(platform: str) -> None:
    found = exported(platform)
    of_wasm = ["activity.d.mts", "activity.mjs"] * (platform == "wasm32")
    assert sorted(found.files) == sorted(["activity.h", "activity.o", "main.c", *of_wasm])
    content = found.files["activity.o"]
    assert b"memcpy" not in content
    assert b"memset" not in content
    assert b"fmaf" not in content
    weights = 4 * load_model().parameter_count
    assert 0.9 * weights < found.data_bytes < 1.5 * weights
    assert 3000 < found.code_bytes < 12_000
    assert 128 <= found.state_bytes < 200
    assert 500 < found.scratch_bytes < 1000
    assert found.context_bytes == 0


def test_bytes_are_multiplied_by_the_instruction_for_it_where_an_arm_has_it() -> None:
    model = load_model().quantize("int8")
    counts = {
        cpu: dot_products(export(model, "aarch64-linux-gnu", cpu=cpu)) for cpu in PLATFORMS["aarch64-linux-gnu"].cpus
    }
    with_them = {"cortex-a76", "neoverse-n1", "armv8.2-a+dotprod"}
    assert {cpu for cpu, count in counts.items() if count >= 32} == with_them
    assert {cpu for cpu, count in counts.items() if count == 0} == counts.keys() - with_them


def dot_products(found: Export) -> int:
    """Count the instructions in an object for 64-bit Arm that are ``sdot`` of vectors."""
    sections = llvm.ObjectFileRef.from_data(found.files[f"{found.name}.o"]).sections()
    codes = [np.frombuffer(section.data(), "<u4") for section in sections if section.is_text()]
    return int(np.count_nonzero(np.concatenate(codes) & 0xFFE0FC00 == 0x4E809400))


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
        self._scratch = np.full(found.scratch_bytes // 8, -1, np.int64)
        self._library.model_reset(ctypes.c_void_p(self._state.ctypes.data))

    def step(self, inputs: dict[str, Any]) -> tuple[int, dict[str, np.ndarray]]:
        read = [np.ascontiguousarray(inputs[port.name]) for port in self._model.inputs]
        written = {port.name: np.zeros(port.size, np.float32) for port in self._model.plan.outputs}
        pointers = [array.ctypes.data for array in (self._state, self._scratch, *read, *written.values())]
        return self._library.model_step(*map(ctypes.c_void_p, pointers)), written

    @property
    def state(self) -> bytes:
        return self._state.tobytes()


def test_bad_input_leaves_no_trace(tmp_path: Path) -> None:
    c_programs.toolchain("x86_64-linux-gnu")
    program = Program(load_model(), tmp_path)
    good = {"samples": made_up(1, 6)}
    program.step(good)
    before = program.state
    for bad in (np.nan, np.inf):
        assert program.step({"samples": np.float32([0, 1, bad, 3, 4, 5])})[0] == codes.NONFINITE
        assert program.state == before
    assert program.step(good)[0] == codes.OK


NAMES = {
    "x": "x",
    "a.b/c": "a_b_c",
    "3d": "x3d",
    "": "x",
    "état": "tat",
    "__FILE__": "FILE__",
    "int": "int_",
    "class": "class_",
    "state": "state_",
    "printf": "printf_",
    "INT8_MAX": "INT8_MAX_",
    "int64_t": "int64_t_",
    "linux": "linux_",
}


def test_names_as_c_can_have_them() -> None:
    assert {name: c_source.identifier(name) for name in NAMES} == NAMES


def named(*names: str) -> grurt.Model:
    """Return a model that adds one to each of its inputs, which have these names, as have its outputs."""
    layers = [
        grurt.Activation(name=f"layer{i}", inputs=(name,), function=grurt.network.functions.Affine(1.0, 1.0))
        for i, name in enumerate(names)
    ]
    return grurt.Model(
        layers=layers,
        inputs=[grurt.Input(name, 1) for name in names],
        outputs=[grurt.Output(f"{name}/out", layer.name) for name, layer in zip(names, layers, strict=True)],
        weights={},
        source=Source(format="onnx", file="*/ #error \n\\"),
    )


@pytest.mark.parametrize("compiler", ["cc", "c++"])
def test_programs_with_hostile_names_compile_and_run(compiler: str, tmp_path: Path) -> None:
    c_programs.toolchain("x86_64-linux-gnu")
    names = [*filter(None, NAMES), "model_step", "a", "A", "a_", "t", "status", "y", "NULL", "true"]
    export(named(*names), "x86_64-linux-gnu").write(tmp_path)
    language = ["-x", "c++", "-std=c++17"] if compiler == "c++" else ["-std=c99"]
    program = tmp_path / "program"
    run(
        *(tool(compiler), "-Wall", "-Wextra", "-Werror", "-pedantic", *language, tmp_path / "main.c"),
        *("-x", "none", tmp_path / "model.o", "-o", program),
    )
    printed = numbers(run(program))
    expected = np.array([made_up(t, 1) + 1 for t in range(10)])
    assert np.array_equal(printed, np.repeat(expected, len(names), axis=1))


def test_the_header() -> None:
    header = exported("x86_64-linux-gnu").files["activity.h"].decode()
    arguments = "activity_state *state, activity_scratch *scratch, const float *samples, float *probabilities"
    assert f"int activity_step({arguments});" in header
    assert "#define ACTIVITY_SAMPLES_SIZE 6 /* input, float */" in header
    assert "A state belongs to one thread at a time." in header
    words = re.findall(r"int64_t opaque\[(\d+)\];", header)
    found = exported("x86_64-linux-gnu")
    assert [8 * int(each) for each in words] == [found.state_bytes, found.scratch_bytes]


def test_a_grid_is_in_the_sources_order(tmp_path: Path) -> None:
    ports = [
        ValuePort(name=name, value=name, dtype="float32", positions=5, axes=("batch", "feature", "time", "position"))
        for name in ("x", "y")
    ]
    rng = np.random.default_rng(0)
    model = grurt.Model(
        inputs=[grurt.Input("x", 15)],
        layers=[
            grurt.Unflatten(name="grid", inputs=("x",), positions=5),
            grurt.GRU(name="gru", inputs=("grid",), input_size=3, hidden_size=4, bias=False),
            grurt.Flatten(name="y", inputs=("gru",)),
        ],
        weights={"gru.weight_ih": rng.standard_normal((12, 3)), "gru.weight_hh": rng.standard_normal((12, 4))},
        signature=Signature((ports[0],), (ports[1],)),
    )
    program = export(model, "x86_64-linux-gnu", name="grid")
    assert "#define GRID_X_SIZE 15 /* input, float, 3 by 5, row by row */" in program.files["grid.h"].decode()
    program.write(tmp_path)
    printed = c_programs.toolchain("x86_64-linux-gnu", None).run(tmp_path, "main.c", "grid.o")
    stream = model.stream()
    steps = [stream.step(made_up(t, 15).reshape(3, 5)).ravel() for t in range(10)]
    assert numbers(printed).tobytes() == np.array(steps).tobytes()


def test_the_same_bytes_every_time() -> None:
    program = (
        "import zlib; from grurt.demo import load_model; from grurt.native.export import export\n"
        "files = export(load_model(), 'thumbv7em-none-eabihf', name='activity').files\n"
        "print({name: zlib.crc32(content) for name, content in files.items()})"
    )
    files = exported("thumbv7em-none-eabihf").files
    assert run(sys.executable, "-c", program) == f"{ {name: zlib.crc32(content) for name, content in files.items()} }\n"


def test_a_folder_is_written_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = exported("x86_64-linux-gnu")
    made: list[Path] = []

    def write_two(path: Path, content: bytes) -> None:
        if len(made) == 2:
            raise OSError("No space left on device")
        path.write_bytes(content)
        made.append(path)

    with monkeypatch.context() as patch:
        patch.setattr("grurt.native.folder.write_atomically", write_two)
        with pytest.raises(OSError, match="No space left"):
            found.write(tmp_path / "out")
    assert not list(tmp_path.iterdir())
    found.write(tmp_path / "out")
    (tmp_path / "out" / "mine.c").write_text("kept")
    (tmp_path / "out" / "activity.h").write_text("old")
    monkeypatch.chdir(tmp_path / "out")
    found.write(Path())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*found.files, "mine.c"])
    assert (tmp_path / "out" / "activity.h").read_bytes() == found.files["activity.h"]


def test_a_link_to_the_folder_is_followed_unless_it_may_be_anothers(tmp_path: Path) -> None:
    found = exported("x86_64-linux-gnu")
    (tmp_path / "shared").mkdir()
    (tmp_path / "own").mkdir()
    (tmp_path / "shared" / "link").symlink_to(tmp_path / "own")
    (tmp_path / "shared").chmod(0o777)
    for folder in ("", "new", "new/er"):
        with pytest.raises(PermissionError, match="link, a link on the way, may be somebody else's: name the folder"):
            found.write(tmp_path / "shared" / "link" / folder)
    assert not list((tmp_path / "own").iterdir())
    (tmp_path / "shared").chmod(0o755)
    found.write(tmp_path / "shared" / "link")
    assert {path.name for path in (tmp_path / "own").iterdir()} == set(found.files)


def test_flash_and_ram_are_those_of_the_object(tmp_path: Path) -> None:
    """What `grurt inspect --target` shows, and what the tools of the platform measure."""
    found = exported("thumbv7em-none-eabihf")
    found.write(tmp_path)
    text, data, bss = map(int, run(tool("arm-none-eabi-size"), tmp_path / "activity.o").splitlines()[1].split()[:3])
    assert text == found.code_bytes + found.data_bytes
    assert (data, bss) == (0, 0)
    (tmp_path / "size.c").write_text('#include "activity.h"\nactivity_state state;\nactivity_scratch scratch;\n')
    run(tool("arm-none-eabi-gcc"), "-mcpu=cortex-m4", "-c", tmp_path / "size.c", "-o", tmp_path / "size.o")
    *_, bss = run("arm-none-eabi-size", tmp_path / "size.o").splitlines()[1].split()[:3]
    assert int(bss) == found.state_bytes + found.scratch_bytes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"platform": "z80"}, "target: expected one of x86_64-linux-gnu, aarch64.* wasm32, got 'z80'"),
        ({"platform": "wasm32", "cpu": "i386"}, "cpu: expected one of generic, exact for wasm32, got 'i386'"),
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
    weights = []

    def stand_in(model: grurt.Model, *arguments: object, **options: object) -> Export:
        weights.append(model.weights["gru.weight_hh"].dtype)
        return found

    monkeypatch.setattr("grurt.native.export.export", stand_in)
    command = ("export", DEMO, "-o", tmp_path / "out", "--target", "thumbv7em-none-eabihf", "--name", "activity")
    printed = commandline.succeed(*command)
    flash = found.code_bytes + found.data_bytes
    assert f"thumbv7em-none-eabihf (cortex-m4): {flash:,} bytes of flash" in printed
    assert f"{found.state_bytes:,} bytes of RAM for each stream, {found.scratch_bytes:,} for all" in printed
    assert "compile: arm-none-eabi-gcc -mcpu=cortex-m4" in printed
    assert (tmp_path / "out" / "activity.o").read_bytes() == found.files["activity.o"]
    commandline.succeed(*command, "--weights", "int8")
    assert weights == [np.float32, np.int8]


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (("compile",), "grurt compile"),
        (("export", DEMO, "-o", "out", "--target", "wasm32"), "grurt export"),
        (("inspect", DEMO, "--target", "wasm32"), "grurt inspect --target"),
    ],
)
def test_commands_that_compile_say_that_they_need_numba(
    arguments: tuple[object, ...], where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready()  # before Numba is taken away
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "numba", None)
    message = commandline.fail(*arguments)
    assert re.match(rf"error: {where}: expected Numba to .*, but numba cannot be imported; `pip", message)
    assert not list(tmp_path.iterdir())


def test_an_export_needs_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(EngineError, match="compiling the kernels ahead of time: expected Numba to compile the kernels"):
        export(load_model(), "wasm32")


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
    made = intermediate.Kernels(("text",), {"advance": "symbol"}, frozenset({"symbol"}))
    monkeypatch.setattr(intermediate, "_run", lambda *arguments, **options: msgspec.msgpack.encode(made))
    assert intermediate.kernels("entry") == made
    assert len(no_cache()) == 1
    monkeypatch.setattr(intermediate, "_run", lambda *arguments, **options: pytest.fail("compiled again"))
    assert intermediate.kernels("entry") == made


@pytest.fixture
def export_stub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the command write files as an export's, without compiling anything."""

    def stand_in(model: grurt.Model, target: str, *, cpu: str | None, name: str) -> Export:
        return replace(exported(target, cpu), name=name)

    monkeypatch.setattr("grurt.native.export.export", stand_in)


def replace(found: Export, name: str) -> Export:
    texts = {file.replace("activity", name): content for file, content in found.files.items()}
    texts |= {file: content.replace(b"activity", name.encode()) for file, content in texts.items() if file[-1] != "o"}
    return dataclasses.replace(found, name=name, files=texts)


@pytest.mark.usefixtures("export_stub")
def test_an_export_for_one_target_does_not_take_the_place_of_another(tmp_path: Path) -> None:
    command = ("export", DEMO, "-o", tmp_path / "out", "--target")
    commandline.succeed(*command, "thumbv7em-none-eabihf")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    message = commandline.fail(*command, "thumbv7em-none-eabihf", "--cpu", "cortex-m7")
    assert message == (
        f"error: {tmp_path}/out/model.h: expected none, or one for thumbv7em-none-eabihf (cortex-m7), got that of an "
        "export for thumbv7em-none-eabihf (cortex-m4), which would be lost: choose another folder with -o, or another "
        "name with --name"
    )
    message = commandline.fail(*command, "thumbv7em-none-eabihf", "--name", "other")
    assert message == (
        f"error: {tmp_path}/out/main.c: expected none, or one of other, got that of model, which would be lost: "
        "choose another folder with -o"
    )
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    commandline.succeed(*command, "thumbv7em-none-eabihf")


@pytest.mark.usefixtures("export_stub")
def test_the_command_as_json(tmp_path: Path) -> None:
    command = ("export", DEMO, "-o", tmp_path, "--target", "thumbv7em-none-eabihf", "--json")
    found = json.loads(commandline.succeed(*command))
    assert found["files"] == [str(tmp_path / name) for name in ("model.o", "model.h", "main.c")]
    assert found["compile"].endswith(f"{tmp_path}/main.c {tmp_path}/model.o -o model")
    sizes = exported("thumbv7em-none-eabihf").sizes()
    assert {name: found[name] for name in sizes} == sizes
