"""The command `grurt quantize`: what it prints, writes, draws and refuses."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import commandline
import models
import numpy as np
import pytest
import step_programs

import grurt
from grurt.demo import MODEL_PATH, RECORDINGS_PATH
from grurt.installing import install_command
from grurt.loading import read
from grurt.quantization.recordings import random_recordings

STEPS = ("--steps", 100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quantize")
    rng = np.random.default_rng(21)
    model = models.gru_model(3, 10, rng, output_size=2)
    model.save(folder / "model.grurt")
    np.save(folder / "xs.npy", rng.standard_normal((4, 30, 3)).astype(np.float32))
    np.savez(folder / "xs.npz", x=rng.standard_normal((30, 3)), other=np.zeros(2))
    np.savez(folder / "any.npz", recording=rng.standard_normal((30, 3)))
    return folder


def test_it_prints_what_is_lost_and_writes_the_model(folder: Path) -> None:
    out = folder / "small.grurt"
    text = commandline.succeed(
        "quantize", folder / "model.grurt", "-o", out, "--calibration", folder / "xs.npy", *STEPS
    )
    small = read(out)
    assert {layer.weight_format for layer in small.layers} == {"int8"}  # type: ignore[union-attr]
    lines = text.splitlines()
    assert lines[0].startswith(f"wrote {out}, {out.stat().st_size:,} bytes: int8, weights of ")
    assert lines[1] == "measured on xs.npy: sequences: 4, timesteps: 120"
    assert lines[3].split() == ["output", "dB", "largest", "mean", "same", "arg-max"]
    assert "layer, if only it is quantized  kind    its own dB  y dB" in text
    assert "timesteps of a long stream  y dB" in text
    assert [line.split("  ")[0] for line in lines[-2:]] == ["1 to 10", "11 to 100"]


def test_matrices_of_a_step_program_are_layers_of_their_own(folder: Path) -> None:
    model = step_programs.random_step_program(3, n_operators=12, kinds=step_programs.OF_MATRICES)
    model.save(folder / "program.grurt")
    names = [part.name for layer in model.layers for part in layer.parts()]
    found = json.loads(commandline.succeed("quantize", folder / "program.grurt", "--json", *STEPS))
    assert {layer["name"] for layer in found["layers"]} == {*names}
    assert found["bytes_after"] < found["bytes_before"]
    out = folder / "program8.grurt"
    text = commandline.succeed("quantize", folder / "program.grurt", "--keep", names[0], "-o", out, *STEPS)
    assert f"kept in float32: {names[0]}\n" in text
    assert {
        part.name for layer in read(out).layers for part in layer.parts() if part.matrices[0] not in layer.int8
    } == {names[0]}
    message = commandline.fail("quantize", folder / "program.grurt", "--keep", "program.c", *STEPS)
    assert "keep: the model has no layer 'program.c': its layers are program" in message


def test_without_an_output_it_only_shows(folder: Path) -> None:
    before = sorted(folder.iterdir())
    text = commandline.succeed("quantize", folder / "model.grurt", "--weights", "float16", *STEPS)
    assert text.startswith("nothing was written, as -o names no file: float16, weights of ")
    assert "measured on 8 random sequences of 200 timesteps: standard normal features\n" in text
    assert sorted(folder.iterdir()) == before


def test_json(folder: Path) -> None:
    found = json.loads(commandline.succeed("quantize", folder / "model.grurt", "--json", "--keep", "head", *STEPS))
    assert (found["ok"], found["output"], found["weights"], found["kept"]) == (True, None, "int8", ["head"])
    assert found["bytes_after"] < found["bytes_before"]
    assert [layer["name"] for layer in found["layers"]] == ["gru0"]
    assert found["outputs"][0].keys() == {"name", "decibels", "largest", "mean", "agreement"}
    assert [(span["first"], span["last"]) for span in found["spans"]] == [(1, 10), (11, 100)]


def test_data_by_name_or_alone(folder: Path) -> None:
    arguments = ("--calibration", folder / "xs.npz", "--calibration", folder / "any.npz")
    text = commandline.succeed("quantize", folder / "model.grurt", *arguments, *STEPS)
    assert "measured on xs.npz, any.npz: sequences: 2, timesteps: 60" in text


def test_too_great_a_loss_is_refused_and_the_layers_are_named(folder: Path) -> None:
    out = folder / "never.grurt"
    arguments = ("quantize", folder / "model.grurt", "-o", out, "--max-loss", "70dB", *STEPS)
    message = commandline.fail(*arguments, code=1)
    assert message.startswith("error: output 'y': expected a loss within 70 dB, got ")
    assert "no model was written. The layers that cost most are " in message
    assert "gru0 (" in message
    assert "head (" in message
    assert message.endswith("dB alone): keep them with --keep, or use --auto-keep")
    assert not out.exists()
    result = commandline.invoke(*arguments, "--json")
    assert json.loads(result.stdout)["ok"] is False


def test_a_loss_within_the_limit_is_written(folder: Path) -> None:
    out = folder / "within.grurt"
    commandline.succeed("quantize", folder / "model.grurt", "-o", out, "--max-loss", "0.5", *STEPS)
    assert out.exists()


def test_just_what_the_limit_needs_is_kept(folder: Path) -> None:
    model = folder / "model.grurt"
    layers = json.loads(commandline.succeed("quantize", model, "--json", *STEPS))["layers"]
    costly, cheap = (layer["outputs"][0]["decibels"] for layer in layers)
    limit = f"{(costly + cheap) / 2:.2f}dB"
    out = folder / "kept.grurt"
    text = commandline.succeed("quantize", model, "-o", out, "--max-loss", limit, "--auto-keep", *STEPS)
    assert f"kept in float32: {layers[0]['name']}" in text
    kept = {layer.name for layer in read(out).layers if layer.weight_format == "float32"}  # type: ignore[union-attr]
    assert kept == {layers[0]["name"]}


def test_it_says_if_nothing_is_left_in_the_format(tmp_path: Path) -> None:
    rng = np.random.default_rng(23)
    models.gru_model(3, 10, rng, output_size=2).save(tmp_path / "model.grurt")
    arguments = ("quantize", tmp_path / "model.grurt", "--weights", "int4", "--keep", "gru0", *STEPS)
    assert commandline.succeed(*arguments).startswith(
        "nothing was written, as -o names no file: nothing of it is in int4, all in float32 and int8, weights of "
    )


def test_random_recordings_are_described_by_what_the_model_reads() -> None:
    rng = np.random.default_rng(24)
    letters = grurt.Embedding(name="letters", vocabulary_size=9, size=6, inputs=("a",))
    both = models.layer_model(
        letters,
        grurt.Concat(name="both", inputs=("letters", "b")),
        grurt.GRU(name="gru", input_size=8, hidden_size=4),
        rng=rng,
        inputs=[grurt.TokenInput("a", 9), grurt.Input("b", 2)],
    )
    assert random_recordings(both).origin.endswith("timesteps: standard normal features, uniform tokens")
    tokens = models.layer_model(letters, rng=rng, inputs=[grurt.TokenInput("a", 9)])
    assert random_recordings(tokens).origin.endswith("timesteps: uniform tokens")


def test_rescaled_inputs_are_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    model = models.layer_model(grurt.Linear(name="mix", input_size=2, output_size=3), rng=rng)
    model.save(tmp_path / "model.grurt")
    np.save(tmp_path / "xs.npy", rng.standard_normal((100, 2)) * [1, 0.01] + [1000, 0])
    arguments = ("quantize", tmp_path / "model.grurt", "--calibration", tmp_path / "xs.npy", *STEPS)
    assert "rescaled: the inputs of mix" in commandline.succeed(*arguments)


def test_reports(folder: Path) -> None:
    for name in ("report.html", "report.svg", "report.png"):
        arguments = ("--report", folder / name, "--calibration", folder / "xs.npy")
        commandline.succeed("quantize", folder / "model.grurt", *arguments, *STEPS)
    page = (folder / "report.html").read_text()
    assert "<h1>model.grurt with int8 weights</h1>" in page
    assert "output &#x27;y&#x27;, if only one layer is quantized" in page
    assert page.count("<table>") == 3
    assert 'href="http' not in page.replace("http://www.w3.org", "")
    assert "<script" not in page
    picture = page[page.index("<svg") : page.index("</svg>") + 6]
    texts = "".join(ET.fromstring(picture).itertext())
    assert "dB from signal to error, if only this layer is quantized" in texts
    assert (folder / "report.png").read_bytes().startswith(b"\x89PNG")
    assert "timesteps of a long stream" in (folder / "report.svg").read_text()


def test_a_report_of_a_refused_model_is_drawn(folder: Path) -> None:
    report = folder / "refused.html"
    commandline.fail("quantize", folder / "model.grurt", "--max-loss", "70dB", "--report", report, *STEPS, code=1)
    assert report.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--auto-keep",), "--auto-keep needs --max-loss"),
        (("-o", "{folder}/model.grurt"), "model.grurt would be overwritten, which is read"),
        (("-o", "{folder}/xs.npy", "--calibration", "{folder}/xs.npy"), "xs.npy would be overwritten, which is read"),
        (("-o", "{folder}/a.html", "--report", "{folder}/a.html"), "a.html would be both the model and the report"),
        (("-o", "{folder}/small.onnx"), "small.onnx: what is written is a .grurt file, not .onnx: choose another name"),
        (("-o", "/dev/null"), "/dev/null: expected a regular file or none, got something else"),
        (("-o", "{folder}/none/small.grurt"), "none/small.grurt: there is no folder"),
        (("--report", "{folder}/none/loss.html"), "none/loss.html: there is no folder"),
        (("--max-loss", "much"), "--max-loss: expected decibels from signal to error such as 30dB"),
        (("--max-loss", "40"), "--max-loss: expected a largest absolute error below 1, or decibels with their unit"),
        (("--max-loss", " 40 "), "got ' 40 ': is 40dB meant?"),
        (("--report", "loss.pdf"), "report: expected a file name that ends in .html, .svg, .png, got 'loss.pdf'"),
        (("--keep", "nose"), "keep: the model has no layer 'nose': its layers are gru0, head"),
        (("--keep", "gru0", "--keep", "head"), "no layer is left to be quantized"),
        (("--calibration", "{folder}/model.grurt"), "model.grurt: expected an array as .npy or .npz holds it"),
        (
            ("--calibration", "{folder}/wide.npy"),
            "wide.npy: input 'x': expected shape (n_steps, 3) or (batch, n_steps, 3), got (4, 7)",
        ),
        (("--calibration", "{folder}/cut.npz"), "cut.npz: expected an array as .npy or .npz holds it"),
        (("--calibration", "{folder}/damaged.npz"), "damaged.npz: expected an array as .npy or .npz holds it"),
        (("--calibration", "{folder}/objects.npy"), "objects.npy: expected an array as .npy or .npz holds it"),
        (("--calibration", "{folder}/nan.npy"), "nan.npy: input 'x': expected finite numbers, got a NaN"),
        (("--calibration", "{folder}/two.npz"), "two.npz: expected the arrays ['x'], as the model's inputs are called"),
    ],
)
def test_errors(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    np.save(folder / "wide.npy", np.zeros((4, 7)))
    np.savez(folder / "two.npz", a=np.zeros((4, 3)), b=np.zeros((4, 3)))
    np.save(folder / "nan.npy", np.full((4, 3), np.nan))
    np.save(folder / "objects.npy", np.array([{}]), allow_pickle=True)
    np.savez_compressed(folder / "whole.npz", x=np.ones((200, 3)))
    whole = (folder / "whole.npz").read_bytes()
    (folder / "cut.npz").write_bytes(whole[:-40])
    (folder / "damaged.npz").write_bytes(whole[:60] + bytes(40) + whole[100:])
    filled = [argument.format(folder=folder) for argument in arguments]
    assert message in commandline.fail("quantize", folder / "model.grurt", *filled)


def test_a_limit_that_nothing_meets_is_shown_and_refused(folder: Path) -> None:
    arguments = ("quantize", folder / "model.grurt", "--max-loss", "200dB", "--auto-keep", *STEPS)
    assert commandline.fail(*arguments, code=1).endswith(
        "not even one can be quantized to int8 within the limit; allow a greater loss, or use --weights float16"
    )
    assert "layer, if only it is quantized" in commandline.invoke(*arguments).stdout
    half = commandline.fail(*arguments, "--weights", "float16", code=1)
    assert half.endswith("not even one can be quantized to float16 within the limit; allow a greater loss")


def test_a_layer_that_is_named_twice_is_kept_once(folder: Path) -> None:
    arguments = ("--keep", "head", "--keep", "head", *STEPS)
    assert "\nkept in float32: head\n" in commandline.succeed("quantize", folder / "model.grurt", *arguments)


def test_tokens_are_calibrated_with(folder: Path) -> None:
    rng = np.random.default_rng(2)
    layers = [
        grurt.Embedding(name="letters", vocabulary_size=9, size=6),
        grurt.GRU(name="gru", input_size=6, hidden_size=8),
    ]
    model = models.layer_model(*layers, rng=rng)
    model.save(folder / "tokens.grurt")
    np.save(folder / "tokens.npy", rng.integers(9, size=(5, 12)))
    np.save(folder / "others.npy", np.full(7, 9))
    np.save(folder / "floats.npy", np.ones(7))
    arguments = ("quantize", folder / "tokens.grurt", *STEPS, "--calibration")
    text = commandline.succeed(*arguments, folder / "tokens.npy")
    assert "measured on tokens.npy: sequences: 5, timesteps: 60" in text
    assert "others.npy: input 'x': expected tokens in [0, 9), got others" in commandline.fail(
        *arguments, folder / "others.npy"
    )
    assert "floats.npy: input 'x': expected token ids of an integer dtype" in commandline.fail(
        *arguments, folder / "floats.npy"
    )


def test_a_quantized_model_is_refused(folder: Path) -> None:
    read(folder / "model.grurt").quantize("float16").save(folder / "half.grurt")
    assert "the model is quantized already" in commandline.fail("quantize", folder / "half.grurt")


def test_matplotlib_is_asked_for_before_the_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    message = commandline.fail("quantize", folder / "model.grurt", "--report", folder / "missing.html")
    command = install_command("report")
    assert message == f"error: report: drawing needs matplotlib, which is not installed: {command}"


@pytest.mark.slow
def test_on_a_terminal_it_says_what_it_measures(folder: Path) -> None:
    terminal = commandline.Terminal("quantize", folder / "model.grurt", "--steps", 20_000)
    text = terminal.read_to_end()
    assert "measuring gru0" in text or "measuring a long stream" in text
    assert terminal.process.returncode == 0


def test_the_demo_keeps_its_accuracy() -> None:
    found = json.loads(commandline.succeed("quantize", MODEL_PATH, "--calibration", RECORDINGS_PATH, "--json", *STEPS))
    (output,) = found["outputs"]
    assert output["decibels"] > 50
    assert output["agreement"] > 0.99


def test_what_was_written_is_said(folder: Path) -> None:
    report, out = folder / "said.svg", folder / "said.grurt"
    alone = ("quantize", folder / "model.grurt", "--report", report, *STEPS)
    text = commandline.succeed(*alone)
    wrote = f"{report}, {report.stat().st_size:,} bytes"
    assert text.startswith(f"wrote {wrote}, and no model, as -o names no file: int8, weights of ")
    report.unlink()
    text = commandline.succeed(*alone, "-o", out)
    assert text.startswith(f"wrote {out}, {out.stat().st_size:,} bytes and {report}, {report.stat().st_size:,} bytes: ")
    found = json.loads(commandline.succeed(*alone, "--json"))
    assert (found["output"], found["report"]) == (None, str(report))
