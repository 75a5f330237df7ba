"""No text of a file, name or argument reaches a terminal as it is: all are tried, with every control character."""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import models
import numpy as np
import pytest
import rich.console
from commandline import COMMAND, Terminal, invoke
from converters_fuzz import npz_files, rtneural_files
from hostile_texts import CONTROLS, ENCODED, PAYLOAD, WALKS, assert_printable, in_bytes
from paths import DATA, ROOT

import grurt
from grurt.cli.app import grurt as command_line
from grurt.cli.status import status
from grurt.converters import convert
from grurt.demo import MODEL_PATH
from grurt.escaping import MAX_MESSAGE
from grurt.loading import read

FEW = 40
"""Mutants of each format that the suite tries, spread over all of them; all are tried with ``-m long``."""


@dataclass(frozen=True)
class Format:
    """Sound files, how to walk through their texts, and what describes them."""

    walk: str
    files: Callable[[], Sequence[bytes]]
    suffix: str
    layers: str | None = None


def stored(*names: str) -> Callable[[], list[bytes]]:
    return lambda: [(DATA / name).read_bytes() for name in names]


FORMATS = {
    "grurt": Format("grurt", stored("grurt/random0.grurt", "grurt/random5.grurt"), "grurt"),
    "onnx": Format("onnx", stored("onnx/a_h0_bf.dyn.op18.onnx", "onnx/c_eachstep_state2.ts.op18.qdyn.onnx"), "onnx"),
    "onnx, as bytes": Format("h5", stored("onnx/f_cell.ts.op17.onnx"), "onnx"),
    "safetensors": Format("safetensors", stored("torch/model.safetensors"), "safetensors", "gru, fc"),
    "weights only": Format("safetensors", stored("torch/model.safetensors"), "safetensors"),
    "checkpoint": Format("pt", stored("torch/sd_zip.pt", "torch/full_module.pt"), "pt", "gru, fc"),
    "legacy checkpoint": Format("legacy", stored("torch/sd_legacy.pt"), "pt", "gru, fc"),
    "torchscript": Format("pt", stored("torch/jit_trace.pt"), "pt", "gru, fc"),
    "pt2": Format("pt2", stored("torch/export.pt2"), "pt2"),
    "keras": Format("keras", stored("keras/k3_norms.keras", "keras/k3_residual.keras"), "keras"),
    "h5": Format("h5", stored("keras/k2_masked.h5", "keras/k1_gru.h5"), "h5"),
    "rtneural": Format("json", lambda: rtneural_files()[:1], "json"),
    "weights of rtneural": Format("json", lambda: rtneural_files()[1:], "json", "gru, fc"),
    "npz": Format("npz", lambda: npz_files()[:1], "npz", "gru(gru, weight_ih=W, weight_hh=R), ignore(n)"),
}


def mutants(chosen: Format) -> Iterator[bytes]:
    for content in chosen.files():
        yield from WALKS[chosen.walk](content)


def try_file(path: Path, layers: str | None) -> None:
    """Read a file as a library, and show it as a command."""
    try:
        model = read(path) if path.suffix == ".grurt" else convert(path, layers, reference=False)
        assert_printable(repr(model))
    except grurt.GrurtError as error:
        texts = (str(error), repr(error))
        assert_printable("\n".join(texts))
        assert len(texts[0]) <= MAX_MESSAGE
    options = ["--layers", layers] if layers else []
    run("--debug", "inspect", path, *options)


def run(*arguments: object, stdin: bytes | None = None, faults: Sequence[int] = (0, 1, 2)) -> str:
    """Run a command, and check what it prints; the data that it answers with among it."""
    result = invoke(*arguments, stdin=stdin)
    assert result.exit_code in faults, result.output
    assert_printable(result.stdout)
    assert_printable(result.stderr)
    return result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_texts_of_files(name: str, tmp_path: Path) -> None:
    found = list(mutants(FORMATS[name]))
    assert len(found) >= 5
    for content in random.Random(1).sample(found, min(FEW, len(found))):
        path = tmp_path / f"file.{FORMATS[name].suffix}"
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zipfile's, of names that are there twice
            try_file(path, FORMATS[name].layers)


@pytest.mark.long
@pytest.mark.parametrize("name", FORMATS)
def test_all_texts_of_files(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"file.{FORMATS[name].suffix}"
    for content in mutants(FORMATS[name]):
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try_file(path, FORMATS[name].layers)


DESCRIPTION = """\
ignore = ["fc"]

[[inputs]]
name = "x"

[[layers]]
module = "gru"
kind = "gru"
functions = ["tanh"]
inputs = ["x"]

[[outputs]]
name = "y"
value = "gru"
"""


def test_texts_of_descriptions(tmp_path: Path) -> None:
    path = tmp_path / "layers.toml"
    source = tmp_path / "weights.safetensors"
    shutil.copy(DATA / "torch" / "model.safetensors", source)
    escapes = "".join(f"\\U{ord(each):08x}" for each in PAYLOAD if not "\ud800" <= each <= "\udfff")
    texts = DESCRIPTION.split('"')
    changed = ['"'.join([*texts[:i], texts[i] + escapes, *texts[i + 1 :]]) for i in range(1, len(texts), 2)]
    for content in [DESCRIPTION.encode(), *(text.encode() for text in changed), *in_bytes(DESCRIPTION.encode())]:
        path.write_bytes(content)
        run("--debug", "inspect", source, "--layers", path)
        run("inspect", source, "--layers", content.decode("utf-8", "replace"))


# Data


@pytest.mark.parametrize("text", [PAYLOAD, *(each.decode("utf-8", "surrogateescape") for each in ENCODED[::5])])
def test_texts_of_data(text: str, tmp_path: Path) -> None:
    content = text.encode("utf-8", "surrogatepass" if text is PAYLOAD else "surrogateescape")
    lines = [content, b"1,2,3,4,5," + content, b'"' + content + b'",2,3,4,5,6', b"a,b,c,d,e," + content + b"\n1"]
    for line in lines:
        run("run", MODEL_PATH, stdin=line + b"\n")
        run("run", MODEL_PATH, "--columns", "1,2,3,4,5,z", stdin=line + b"\n")
    for value in (text, {text: 1}, [text] * 6, {"samples": text}, {"samples": [1, 2, 3, 4, 5, text]}):
        run("run", MODEL_PATH, "--format", "jsonl", stdin=json.dumps(value).encode() + b"\n")
        run("run", MODEL_PATH, "--format", "jsonl", stdin=content + b"\n")


def test_texts_of_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "xs.npy", np.zeros((3, 6), np.float32))
    np.savez(tmp_path / "xs.npz", samples=np.zeros((3, 6), np.float32), other=np.zeros(1))
    content = (tmp_path / "xs.npy").read_bytes()
    for texts in ([each] for each in ENCODED):
        for changed in in_bytes(content[:128], texts):
            run("run", MODEL_PATH, stdin=changed + content[128:])
    for changed in [*in_bytes(content), *WALKS["npz"]((tmp_path / "xs.npz").read_bytes())]:
        (tmp_path / "changed").write_bytes(changed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run("quantize", MODEL_PATH, "--steps", 10, "--calibration", tmp_path / "changed")


# Names of files, and arguments

NAME = "".join(each for each in PAYLOAD if each not in "\0/" and not "\ud800" <= each <= "\udfff")
NAMES = [f"{NAME[start : start + 40]}.grurt" for start in range(0, len(NAME), 40)] + ["\udc9b\udcff\x9b.grurt"]


@pytest.mark.parametrize("index", range(len(NAMES)))
def test_names_of_files(index: int, tmp_path: Path) -> None:
    path = tmp_path / NAMES[index]
    shutil.copy(MODEL_PATH, path)
    damaged = path.with_name(f"damaged{path.name}")
    damaged.write_bytes(path.read_bytes()[:-1])
    onnx = path.with_name(f"{path.stem}.onnx")
    shutil.copy(ROOT / "examples" / "activity.onnx", onnx)
    data = path.with_suffix(".csv")
    data.write_text("1,2,3,4,5,6\nx\n")
    for command in ("inspect", "verify", "quantize", "run"):
        run(command, damaged)
        run("--debug", command, damaged)
    run("inspect", path)
    run("run", path, data, "-o", path.with_name(f"answers{data.name}"))
    run("run", path, "-o", path / "in a file.csv", stdin=b"")
    run("verify", path, "--against", data)
    run("convert", onnx, "-o", path)
    run("convert", path, "-o", path)
    run("quantize", path, "--calibration", data, "-o", path.with_name("a"))
    run("quantize", path, "--steps", 10, "--report", path.with_suffix(".html"), "-o", path.with_name(f"q{path.name}"))
    assert_printable(path.with_suffix(".html").read_text())
    run("export", path, "-o", path, "--target", "wasm32")
    os.mkfifo(path.with_name(f"pipe{path.name}"))
    run("inspect", path.with_name(f"pipe{path.name}"))


ARGUMENTS = {
    "convert": [ROOT / "examples" / "activity.onnx", "-o", "out.grurt"],
    "bench": [MODEL_PATH, "--seconds", "0.001"],
    "export": [MODEL_PATH, "-o", "out", "--target", "none"],
    **{name: [MODEL_PATH] for name in ("inspect", "verify", "quantize", "run")},
}


@pytest.mark.parametrize("name", command_line.commands)
def test_arguments(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every option with a value, and every argument, of every command."""
    monkeypatch.chdir(tmp_path)
    payload = "".join(each for each in PAYLOAD if each != "\0" and not "\ud800" <= each <= "\udfff") + "\udcff"
    for value in (payload, payload.replace("/", ""), "\x9b" * 5000):
        for parameter in command_line.commands[name].params:
            if isinstance(parameter, click.Argument):
                run(name, *([value] if parameter.name != "input_path" else [MODEL_PATH, value]))
            elif not parameter.is_flag:  # type: ignore[attr-defined]
                run(name, *ARGUMENTS.get(name, []), parameter.opts[0], value, stdin=b"")
        run(name, f"--{value}")
        run(value)
        run(name, *ARGUMENTS.get(name, []), value, value, stdin=b"")


# Names that a model may have: neither control characters nor surrogates are among them, but marks are


def named(name: str) -> grurt.Model:
    """Return a model all of whose names are one."""
    return models.layer_model(
        grurt.GRU(name=name, inputs=("x",), input_size=2, hidden_size=3),
        grurt.Linear(name=f"{name}2", input_size=3, output_size=1),
        rng=np.random.default_rng(3),
        inputs=[grurt.Input("x", 2)],
        outputs=[grurt.Output(name, f"{name}2")],
        source=grurt.Source(format="f\u202e", producer="p\u200f[bold]", file="\u2066", notes=("n\u061c :smile:",)),
    )


MARKS = "".join(
    each for each in CONTROLS if not each < " " and not "\x7f" <= each <= "\x9f" and not "\ud800" <= each <= "\udfff"
)
MODEL_NAMES = [f"[bold]{MARKS}", "[link=http://x]a[/link] :smile: <script>x</script>&", "_$x$", "$\\frac{a", "名前"]


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_names_in_models(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.grurt"
    model = named(name)
    model.save(path)
    assert_printable(repr(model) + repr(model.stream()) + repr(model.pool(1)))
    for arguments in (["inspect"], ["inspect", "--json"], ["inspect", "--all"], ["verify"]):
        run(arguments[0], path, *arguments[1:])
    for suffix in (".html", ".svg", ".png"):
        run("quantize", path, "--steps", 10, "--keep", f"{name}2", "--report", tmp_path / f"report{suffix}")
    page = (tmp_path / "report.html").read_text()
    assert_printable(page)
    assert "<script" not in page
    assert_printable((tmp_path / "report.svg").read_text())
    with pytest.raises(grurt.GrurtError) as caught:
        model.stream().run({name: [1]})
    assert_printable(str(caught.value))


def test_answers_are_data_unless_a_terminal_shows_them(tmp_path: Path) -> None:
    name = 'a\u202e,b"'
    named(name).save(tmp_path / "model.grurt")
    header, answer = invoke("run", tmp_path / "model.grurt", stdin="p,q\n1,2\n").stdout.splitlines()
    assert header == '"a\u202e,b"""'
    assert float(answer)
    (tmp_path / "data.csv").write_text("p,q\n1,2\n")
    text = Terminal("run", tmp_path / "model.grurt", tmp_path / "data.csv").read_to_end()
    assert text.splitlines()[0] == '"a\\u202e,b"""'


def test_rich_reads_no_markup_in_names(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr("rich.console.Console", partial(rich.console.Console, file=shown, force_terminal=True))
    with status() as tell:
        tell("[bold red]x[/]:smile:\u202e")
    assert "measuring [bold red]x[/]:smile:\\u202e" in shown.getvalue()
    assert "\u202e" not in shown.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}])
def test_what_an_encoding_does_not_have_is_escaped(environment: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "名\udcff.grurt"
    named("größe 名").save(path)
    for arguments in (["inspect"], ["quantize", "--steps", "10"], ["run"]):
        result = subprocess.run(
            [*COMMAND, arguments[0], path, *arguments[1:]],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        assert (result.returncode, result.stderr) == (0, b"")
    path.write_bytes(b"damaged")
    result = subprocess.run([*COMMAND, "inspect", path], env=os.environ | environment, capture_output=True, check=False)
    assert result.returncode == 2
    assert b"\\udcff.grurt: expected a .grurt file" in result.stderr


def test_nothing_but_one_module_prints() -> None:
    """What is printed otherwise is data of `grurt run`, or drawn by rich."""
    printing = re.compile(r"\becho\(|\bprint\(|\bsecho\(|std(out|err)\.write\(")
    files = (ROOT / "grurt" / "cli").glob("*.py")
    assert {path.name for path in files if printing.search(path.read_text())} == {"printing.py"}
