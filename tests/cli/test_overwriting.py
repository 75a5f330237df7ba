"""No command writes over what it reads, whatever leads there."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
from commandline import COMMAND, fail, invoke, succeed, write
from paths import DATA, ROOT

from grurt.cli.app import grurt
from grurt.cli.parameters import Command, ReadData, ReadFile, WrittenFile
from grurt.cli.places import open_output
from grurt.demo import MODEL_PATH

LINE = "1,2,3,4,5,6"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(MODEL_PATH, "model.grurt")
    shutil.copy(ROOT / "examples" / "activity.onnx", "source.onnx")
    shutil.copy(DATA / "torch" / "model.safetensors", "weights.safetensors")
    write(tmp_path / "data.csv", [LINE])
    write(tmp_path / "layers.toml", ['[[layers]]\nmodule = "gru"', '[[layers]]\nmodule = "fc"'])
    np.save("xs.npy", np.zeros((9, 6), np.float32))
    return tmp_path


def hard_link(name: str) -> str:
    Path("other").hardlink_to(name)
    return "other"


def symbolic_link(name: str) -> str:
    Path("other").symlink_to(name)
    return "other"


WAYS: dict[str, Callable[[str], str]] = {
    "name": lambda name: name,
    "absolute": lambda name: str(Path(name).absolute()),
    "around": lambda name: f"../{Path.cwd().name}/./{name}",
    "hard link": hard_link,
    "symbolic link": symbolic_link,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["run", "model.grurt", "data.csv", "--to", "csv", "-o"], "model.grurt"),
        (["run", "model.grurt", "data.csv", "--to", "csv", "-o"], "data.csv"),
        (["convert", "source.onnx", "-o"], "source.onnx"),
        (["convert", "weights.safetensors", "--layers", "layers.toml", "-o"], "layers.toml"),
        (["convert", "weights.safetensors", "--layers", "layers.toml", "-o"], "weights.safetensors"),
        (["quantize", "model.grurt", "-o"], "model.grurt"),
        (["quantize", "model.grurt", "--calibration", "xs.npy", "-o"], "xs.npy"),
        (["quantize", "model.grurt", "--report"], "model.grurt"),
        (["quantize", "model.grurt", "--calibration", "xs.npy", "--report"], "xs.npy"),
    ],
)
def test_an_output_that_is_read_is_refused(arguments: list[str], name: str, way: str, folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    output = WAYS[way](name)
    message = fail(*arguments, output, stdin=f"{LINE}\n")
    assert message.endswith(
        f"{Path(output).name} would be overwritten, which is read: choose another name for the output"
    )
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "other"} == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "run model.grurt -o data.csv <data.csv",
        "run model.grurt -o /proc/self/fd/0 <data.csv",
        "run model.grurt data.csv >>data.csv",
        "run model.grurt <data.csv >>data.csv",
        "inspect model.grurt >>model.grurt",
        "convert source.onnx -o out.grurt >>source.onnx",
    ],
)
def test_so_are_standard_streams(text: str, folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = subprocess.run(["bash", "-c", f"{' '.join(COMMAND)} {text}"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert "would be overwritten, which is read: choose another name for the output" in result.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.slow
def test_what_is_no_file_of_a_disk_may_be_read_and_written(folder: Path) -> None:
    for text in ("run model.grurt </dev/null >/dev/null", "run model.grurt /dev/null -o /dev/null"):
        subprocess.run(["bash", "-c", f"{' '.join(COMMAND)} {text}"], check=True)


def test_what_an_export_writes_is_not_its_model(folder: Path) -> None:
    (folder / "out").mkdir()
    shutil.copy("model.grurt", "out/net.o")
    arguments = ("export", "out/net.o", "-o", "out", "--target", "wasm32", "--name", "net")
    assert fail(*arguments).startswith("error: out/net.o would be overwritten, which is read")
    assert (folder / "out" / "net.o").read_bytes() == MODEL_PATH.read_bytes()
    assert list((folder / "out").iterdir()) == [folder / "out" / "net.o"]


def test_a_model_replaces_no_file_of_another_kind(folder: Path) -> None:
    """Such as the weights that an ONNX file keeps beside it, which no argument names."""
    for name in ("weights.bin", "weights.grurt"):
        Path(name).write_bytes(bytes(100))
        for arguments in (["convert", "source.onnx"], ["quantize", "model.grurt"]):
            message = fail(*arguments, "-o", name)
            assert message.startswith(
                f"error: {name}: expected a new file, or an older .grurt file to replace, got anoth"
            )
        assert Path(name).read_bytes() == bytes(100)
    Path("empty.bin").touch()
    shutil.copy("model.grurt", "model.bin")
    for name in ("empty.bin", "model.bin", "new.bin"):
        succeed("convert", "source.onnx", "-o", name)


def test_the_model_and_the_report_are_two_files(folder: Path) -> None:
    Path("a.html").touch()
    Path("b.html").hardlink_to("a.html")
    for report in ("a.html", "./a.html", "b.html"):
        message = fail("quantize", "model.grurt", "-o", "a.html", "--report", report)
        assert message.endswith("would be both the model and the report: choose another name for one of them")


def test_an_output_is_looked_at_again_when_it_is_open(folder: Path) -> None:
    """It may have become an input in between."""
    with pytest.raises(click.UsageError, match=r"data\.csv would be overwritten, which is read"):
        open_output(Path("data.csv"), read=[Path("model.grurt"), Path("data.csv")])
    with Path("data.csv").open("rb") as data, pytest.raises(click.UsageError, match=r"would be overwritten, which is"):
        open_output(Path("data.csv"), read=[data])
    assert Path("data.csv").read_text() == f"{LINE}\n"


def test_bad_usage_and_bad_data_leave_an_older_output(folder: Path) -> None:
    write(folder / "answers.csv", ["older"])
    for arguments, text in (
        (["--float-format", "q"], LINE),
        (["--columns", "z"], LINE),
        (["--format", "npy"], LINE),
        ([], "x,2,3,4,5,6"),
        ([], "1"),
        (["--last"], f"{LINE}\nx,2,3,4,5,6"),
    ):
        assert invoke("run", "model.grurt", "-o", "answers.csv", *arguments, stdin=text).exit_code == 2
        assert (folder / "answers.csv").read_text() == "older\n"
    fail("run", "model.grurt", "-o", "answers.csv", stdin=f"{LINE}\nx")
    assert len((folder / "answers.csv").read_text().splitlines()) == 1  # the answer before that line


def test_every_command_and_every_file_is_of_these_types() -> None:
    for command in grurt.commands.values():
        assert isinstance(command, Command)
        for parameter in command.params:
            if isinstance(parameter.type, click.Path) and parameter.type.file_okay:
                assert isinstance(parameter.type, ReadFile | ReadData | WrittenFile), (command.name, parameter.name)
            if parameter.name == "layers":
                assert type(parameter.type).__name__ == "Layers"
