"""The command `grurt` as a whole: its help, its errors and its exit codes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from commandline import COMMAND, fail, invoke, start, succeed

import grurt
from grurt.demo import MODEL_PATH

COMMANDS = ("bench", "compile", "convert", "demo", "inspect", "run", "verify", "warmup")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_lists_the_commands_and_the_exit_codes(option: str) -> None:
    text = succeed(option)
    for command in COMMANDS:
        assert re.search(rf"^  {command} +\w", text, re.MULTILINE)
    assert [int(code) for code in re.findall(r"^ +(\d+)  \w", text, re.MULTILINE)] == [0, 1, 2, 70, 130, 141]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_shows_an_example(command: str) -> None:
    text = succeed(command, "--help")
    assert re.search(rf"Example.*\n +.*grurt {command}", text)


def test_version() -> None:
    assert succeed("--version") == f"grurt {grurt.__version__}\n"


def test_without_a_command_the_help_is_shown() -> None:
    result = invoke()
    assert result.exit_code == 2
    assert "Usage: grurt" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sing"], r"error: No such command 'sing'\."),
        (["--loud"], r"error: No such option '?--loud'?\."),
        (["run"], r"error: Missing argument 'MODEL'\."),
        (["run", "missing.grurt"], r"error: Invalid value for 'MODEL': File 'missing.grurt' does not exist\."),
        (["run", "."], r"error: Invalid value for 'MODEL': File '\.' is a directory\."),
        (["demo", "--slow"], r"error: No such option '?--slow'?\."),
    ],
)
def test_wrong_usage_is_one_line_after_the_usage(arguments: list[str], message: str) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.match(r"Usage: grurt .*\nTry 'grurt.* --help' for help\.\n\nerror: .*\n$", result.stderr)
    assert re.match(message, result.stderr.splitlines()[-1])


def test_an_error_of_grurt_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.grurt"
    path.write_bytes(b"no model at all")
    result = invoke("run", path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.fullmatch(rf"error: {path}: expected a \.grurt file, got .*\n", result.stderr)


def test_an_error_of_the_operating_system_names_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    message = fail("run", MODEL_PATH, "-o", folder / "answers.csv", stdin="")
    assert message == f"error: {folder}/answers.csv: No such file or directory"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_names_what_could_not_be_written() -> None:
    assert fail("run", MODEL_PATH, "-o", "/dev/full", stdin="1,2,3,4,5,6\n") == (
        "error: /dev/full: No space left on device"
    )
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [*COMMAND, "inspect", MODEL_PATH], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (result.returncode, result.stderr) == (2, "error: stdout: No space left on device\n")


def test_no_summary_in_the_help_is_cut() -> None:
    commands = succeed("--help").partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert len(commands) == 11
    assert not [line for line in commands if not line.endswith(".") or line.endswith("...")]


@pytest.mark.parametrize("command", ["verify", "quantize", "run", "bench", "export"])
def test_commands_for_models_of_its_own_say_so(command: str) -> None:
    assert "MODEL is a .grurt file; `grurt convert` makes one" in " ".join(succeed(command, "--help").split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compile", "-o", "none/k.so"), "none/k.so: there is no folder none"),
        (
            ("export", MODEL_PATH, "--target", "wasm32", "-o", "file/out"),
            "file/out: expected a folder or none, got that",
        ),
        (
            ("export", MODEL_PATH, "--target", "wasm32", "-o", "/proc/out"),
            "/proc/out: the folder /proc cannot be writt",
        ),
    ],
)
def test_places_that_cannot_be_written_are_found_before_the_work(
    arguments: tuple[object, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert fail(*arguments).startswith(f"error: {message}")


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    path = tmp_path / "model.grurt"
    path.write_bytes(b"no model at all")
    result = subprocess.run([*COMMAND, "--debug", "run", path], capture_output=True, text=True, check=False)
    assert "Traceback" in result.stderr
    assert "ModelFileError" in result.stderr.splitlines()[-1]


def test_a_fault_of_grurt_is_one_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("grurt.loading.load", fail)
    result = invoke("verify", MODEL_PATH)
    assert (result.exit_code, result.stdout) == (70, "")
    assert result.stderr == (
        "error: this is a fault of grurt: ZeroDivisionError: division by zero; "
        "please report it with what `grurt --debug ...` shows\n"
    )
    result = invoke("--debug", "verify", MODEL_PATH)
    assert (result.exit_code, result.stdout) == (70, "")
    assert result.stderr.startswith("Traceback (most recent call last):\n")
    assert result.stderr.endswith("\nZeroDivisionError: division by zero\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "more than there is was asked for"), ("Unable to allocate 4 TiB", "Unable to allocate 4 TiB")],
)
def test_too_little_memory_is_no_fault_of_grurt(text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: object) -> None:
        raise MemoryError(text)

    monkeypatch.setattr("grurt.loading.load", fail)
    result = invoke("verify", MODEL_PATH)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: memory does not suffice: {message}\n"


def test_help_and_version_import_nothing_heavy() -> None:
    script = (
        "import sys\nfrom grurt.cli.app import grurt\n"
        "try:\n    grurt(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'numba', 'llvmlite', 'onnx', 'onnxruntime', 'torch', 'rich', 'safetensors', 'grurt.converters'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stderr == "[]\n"


def test_without_the_extra_the_command_says_how_to_install_it() -> None:
    script = (
        "import sys, importlib.util\nfind = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name in ('click', 'rich') else find(name, *a)\n"
        "from grurt.__main__ import main\nmain()"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "error: the command line needs click and rich, which the library does without. Install it with:\n"
        '    pip install "grurt[cli]"\n'
    )


def test_the_installed_command_is_the_module() -> None:
    process = start("--version")
    assert process.communicate() == (f"grurt {grurt.__version__}\n".encode(), b"")
