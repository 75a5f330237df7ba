"""`grurt export --target c99 --package`: folders that build tools take as they are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import c99_models
import commandline
import pytest
from paths import ROOT

DEMO = ROOT / "grurt" / "demo" / "activity.grurt"

# What an Arduino core declares, as far as a sketch uses it.
_ARDUINO_H = """\
#pragma once
enum { A0 = 14 };
struct Port { void begin(long); void println(float); void println(const char *); };
extern Port Serial;
int analogRead(int pin);
void delay(unsigned long milliseconds);
"""

# https://docs.arduino.cc/arduino-cli/library-specification
_CATEGORIES = {
    *("Display", "Communication", "Signal Input/Output", "Sensors", "Device Control", "Timing", "Data Storage"),
    *("Data Processing", "Other"),
}


def package(tool: str, tmp_path: Path) -> Path:
    """Return the folder of the demo's model."""
    out = tmp_path / "activity"
    printed = commandline.succeed(
        "export", DEMO, "-o", out, "--target", "c99", "--name", "activity", "--package", tool, "--weights", "int8"
    )
    assert printed.splitlines()[-1] == f"build: {out}"
    return out


def run(*command: str | Path) -> str:
    finished = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=120)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def compile_sketch(sketch: Path, folder: Path) -> None:
    """Compile a sketch as an Arduino core would, without one."""
    (folder / "Arduino.h").write_text(_ARDUINO_H)
    flags = ("-x", "c++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-include", "Arduino.h")
    c99_models.compile_c("g++", *flags, f"-I{folder}", f"-I{sketch.parents[2] / 'src'}", sketch)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cmake") is None, reason="there is no cmake")
def test_cmake_builds_and_tests_it(tmp_path: Path) -> None:
    folder = package("cmake", tmp_path)
    run("cmake", "-S", folder, "-B", tmp_path / "build", f"-DCMAKE_INSTALL_PREFIX={tmp_path / 'installed'}")
    run("cmake", "--build", tmp_path / "build")
    assert "100% tests passed" in run("ctest", "--test-dir", tmp_path / "build")
    run("cmake", "--install", tmp_path / "build")
    assert (tmp_path / "installed" / "include" / "activity.h").exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cmake") is None, reason="there is no cmake")
def test_cmake_takes_it_into_a_project(tmp_path: Path) -> None:
    package("cmake", tmp_path)
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(whole LANGUAGES C)\nadd_subdirectory(activity)\n"
        "add_executable(program program.c)\ntarget_link_libraries(program PRIVATE activity)\n"
    )
    (tmp_path / "program.c").write_text(
        "#include <activity.h>\nint main(void)\n{\n    activity_state state;\n    activity_scratch scratch;\n"
        "    return !activity_selftest(&state, &scratch);\n}\n"
    )
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build")
    run("cmake", "--build", tmp_path / "build")
    run(tmp_path / "build" / "program")


def test_an_arduino_library_keeps_the_rules(tmp_path: Path) -> None:
    folder = package("arduino", tmp_path)
    lines = (folder / "library.properties").read_text().splitlines()
    properties = dict(line.split("=", 1) for line in lines)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}", properties["name"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", properties["version"])
    assert properties["category"] in _CATEGORIES
    assert {"author", "maintainer", "sentence", "paragraph", "url", "architectures"} <= properties.keys()
    assert (folder / "src" / properties["includes"]).exists()
    (sketch,) = folder.glob("examples/*/*.ino")
    assert sketch.stem == sketch.parent.name
    compile_sketch(sketch, tmp_path)


def test_a_platformio_library_keeps_the_rules(tmp_path: Path) -> None:
    folder = package("platformio", tmp_path)
    described = json.loads((folder / "library.json").read_text())
    assert re.fullmatch(r"\d+\.\d+\.\d+", described["version"])
    assert len(described["name"]) <= 100
    assert (folder / "src" / described["headers"]).exists()
    (example,) = described["examples"]
    for file in example["files"]:
        compile_sketch(folder / example["base"] / file, tmp_path)


def test_platformio_packs_it(tmp_path: Path) -> None:
    if shutil.which("pio") is None:
        pytest.skip("PlatformIO is not installed")
    folder = package("platformio", tmp_path)
    assert "activity-" in run("pio", "pkg", "pack", folder, "-o", tmp_path)


def test_a_package_does_not_take_the_place_of_another(tmp_path: Path) -> None:
    command = ("export", DEMO, "-o", tmp_path / "out", "--target", "c99", "--package", "cmake")
    commandline.succeed(*command)
    example, header = tmp_path / "out" / "examples" / "main.c", tmp_path / "out" / "src" / "model.h"
    message = commandline.fail(*command, "--name", "other")
    assert message.startswith(
        f"error: {example}: expected none, or one of other, got that of model, which would be lost"
    )
    header.write_text(header.read_text().replace("for c99.", "for riscv32 (generic-rv32)."))
    message = commandline.fail(*command)
    assert message.startswith(f"error: {header}: expected none, or one for c99, got that of an export for riscv32 (gen")


def test_a_package_of_an_object_file(tmp_path: Path) -> None:
    command = ("export", DEMO, "-o", tmp_path / "out", "--target", "wasm32", "--package", "cmake")
    assert "--package: is for --target c99" in commandline.fail(*command)


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_an_esp8266_compiler_takes_it(weights: str, tmp_path: Path) -> None:
    """It is compiled, and not linked: float arithmetic is in the chip's ROM, and not in the compiler's library."""
    compiler = "xtensa-lx106-elf-gcc"
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    options = () if weights == "float32" else ("--weights", weights)
    commandline.succeed("export", DEMO, "-o", tmp_path, "--target", "c99", "--name", "activity", *options)
    headers = Path("/usr/lib/xtensa-lx106-elf/include")  # picolibc's, which the compiler does not look at by itself
    if not headers.exists():
        pytest.skip("there is no picolibc for Xtensa")
    flags = ("-std=c99", "-Os", *c99_models.STRICT, "-mlongcalls", f"-isystem{headers}")
    c99_models.compile_c(compiler, *flags, "-c", tmp_path / "activity.c", "-o", tmp_path / "activity.o")
    sizes = run("xtensa-lx106-elf-size", tmp_path / "activity.o").splitlines()[1].split()
    assert sizes[1:3] == ["0", "0"]  # nothing that changes
