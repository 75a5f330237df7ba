"""`grurt bench`: what it prints. No figure is compared with another."""

from __future__ import annotations

import contextlib
import json
import math
import re
import sys
from pathlib import Path

import models
import numpy as np
import pytest
from commandline import Terminal, fail, invoke, succeed
from onnx_graphs import DATA

import grurt
from grurt.cli.calls import source_sizes
from grurt.cli.peer import largest_error, open_session
from grurt.demo import MODEL_PATH
from grurt.installing import install_command

pytest.importorskip("onnxruntime", reason="the figures beside grurt's are those of onnxruntime, which is not installed")

QUICK = ("--seconds", "0.02")


def convert(source: Path, folder: Path) -> Path:
    target = folder / "model.grurt"
    assert invoke("convert", source, "-o", target).exit_code == 0
    return target


def titles(text: str) -> list[str]:
    return [re.split(" {2,}", line)[0] for line in text.partition("\n\n")[0].splitlines()[1:]]


def test_the_help_shows_an_example() -> None:
    assert re.search(r"Example.*\n +grurt bench", succeed("bench", "--help"))


def test_a_model_alone() -> None:
    text = succeed("bench", MODEL_PATH, *QUICK)
    assert titles(text) == [
        "grurt step",
        "grurt step, out=",
        "grurt run, blocks of 100",
        "onnxruntime run, state fed back",
        "grurt Model.run, 100 timesteps",
        "onnxruntime run, 100 timesteps",
    ]
    header, step, *_ = text.splitlines()
    assert re.split(" {2,}", header) == ["us a timestep", "median", "p50", "p99", "p99.9", "max"]
    assert len(re.findall(r"\d+(?:\.\d+)?", step)) == 5


def test_real_time_and_json() -> None:
    assert "x real time at 10 Hz" in succeed("bench", MODEL_PATH, "--sample-rate", 10, *QUICK)
    printed = json.loads(succeed("bench", MODEL_PATH, "--sample-rate", 10, "--json", *QUICK))
    assert printed["sample_rate"] == 10
    for row in printed["rows"]:
        assert math.isclose(row["times_real_time"], 1e5 / row["microseconds"])
    step = printed["rows"][0]
    assert step["title"] == "grurt step"
    assert 0 < step["tail"]["p50"] <= step["tail"]["p99"] <= step["tail"]["p999"] <= step["tail"]["max"]


def test_against_a_source_whose_states_are_inputs_and_outputs(tmp_path: Path) -> None:
    source = DATA / "a_h0_bf.ts.da.op23.onnx"
    text = succeed("bench", convert(source, tmp_path), "--against", source, *QUICK)
    assert titles(text)[3:] == [
        "onnxruntime run, state fed back",
        "grurt Model.run, 100 timesteps",
        "onnxruntime run, 100 timesteps",
    ]
    comparisons = text.partition("\n\n")[2].splitlines()
    assert re.fullmatch(r"grurt step: [\d.]+ times as fast as onnxruntime run, state fed back", comparisons[0])
    assert re.fullmatch(
        r"grurt Model\.run, 100 timesteps: [\d.]+ times as fast as onnxruntime run, 100 timesteps", comparisons[1]
    )


def test_against_a_source_that_takes_whole_sequences_only(tmp_path: Path) -> None:
    source = DATA / "c_eachstep_bf.dyn.op17.onnx"
    text = succeed("bench", convert(source, tmp_path), "--against", source, *QUICK)
    peer = ["onnxruntime run, state fed back", "onnxruntime run, 2 sequences of 5 timesteps"]
    assert [title for title in titles(text) if title.startswith("onnxruntime")] == peer


def test_tokens_and_several_inputs(tmp_path: Path) -> None:
    model = grurt.Model(
        layers=[
            grurt.Embedding(name="embedding", vocabulary_size=5, size=2, inputs=("tokens",)),
            grurt.Concat(name="both", inputs=("embedding", "x")),
            grurt.GRU(name="gru", input_size=5, hidden_size=4, bias=False),
        ],
        weights={
            "embedding.weight": np.ones((5, 2)),
            "gru.weight_ih": np.ones((12, 5)),
            "gru.weight_hh": np.ones((12, 4)),
        },
        inputs=[grurt.TokenInput("tokens", 5), grurt.Input("x", 3)],
    )
    model.save(tmp_path / "two.grurt")
    found = titles(succeed("bench", tmp_path / "two.grurt", *QUICK))
    assert found[0] == "grurt step"
    assert "onnxruntime run, state fed back" in found


def test_without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grurt.converters.installed.is_installed", lambda package: package != "onnxruntime")
    result = invoke("bench", MODEL_PATH, *QUICK)
    assert result.exit_code == 0
    assert result.stderr == f"note: without onnxruntime beside it: {install_command('onnx')}\n"
    assert not any(title.startswith("onnxruntime") for title in titles(result.stdout))


def test_a_quantized_model_is_compared_with_its_numbers(tmp_path: Path) -> None:
    grurt.load(MODEL_PATH).quantize("int8").save(tmp_path / "small.grurt")
    result = invoke("bench", tmp_path / "small.grurt", *QUICK)
    assert result.exit_code == 0
    assert result.stderr.startswith(
        "note: onnxruntime computes in float32, with the numbers that the quantized weights"
    )


def test_other_answers_of_onnxruntime_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grurt.cli.peer.largest_error", lambda *_: 0.01)
    message = fail("bench", MODEL_PATH, *QUICK)
    assert (
        "the model's answers are 1.0e-02 from those of onnxruntime to the ONNX file that grurt writes of it" in message
    )


def test_an_answer_that_is_no_number_is_no_agreement() -> None:
    """In whichever output: Python's `max` of 0.5 and NaN is 0.5."""
    model = grurt.load(MODEL_PATH)
    again = grurt.Output("again", model.outputs[0].value)
    two = model.replaced(outputs=(*model.outputs, again), signature=None, reference_run=None)

    class Faulty:
        def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            first, second = two.run(feed).values()
            return [first, np.full_like(second, np.nan)]

    assert math.isnan(largest_error(two, Faulty(), source_sizes(two, {})))  # type: ignore[arg-type]


def test_a_model_that_cannot_stream(tmp_path: Path) -> None:
    model = models.gru_model(3, 4, np.random.default_rng(1), direction="reverse")
    model.save(tmp_path / "reverse.grurt")
    assert titles(succeed("bench", tmp_path / "reverse.grurt", *QUICK)) == [
        "grurt Model.run, 100 timesteps",
        "onnxruntime run, 100 timesteps",
    ]


def test_another_source_is_refused() -> None:
    message = fail("bench", MODEL_PATH, "--against", DATA / "a_h0_bf.ts.da.op23.onnx", *QUICK)
    assert "is this the file that the model was converted from?" in message


def test_a_source_with_other_answers_is_refused(tmp_path: Path) -> None:
    source = DATA / "a_h0_bf.ts.da.op23.onnx"
    model = grurt.load(convert(source, tmp_path))
    weights = {name: 2 * np.asarray(array) for name, array in model.weights.items()}
    other = grurt.Model(layers=model.layers, weights=weights, outputs=model.outputs, signature=model.signature)
    other.save(tmp_path / "other.grurt")
    message = fail("bench", tmp_path / "other.grurt", "--against", source, *QUICK, code=1)
    assert message == f"error: the answers differ from those of {source}: see `grurt verify`"


@pytest.mark.parametrize("option", ["--sample-rate", "--seconds"])
def test_rates_and_times_are_positive(option: str) -> None:
    assert f"Invalid value for '{option}'" in fail("bench", MODEL_PATH, option, 0)


def test_only_an_onnx_file_runs_beside(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"\x80\x02.")
    message = fail("bench", MODEL_PATH, "--against", tmp_path / "weights.pt")
    assert message.startswith("error: --against: expected an ONNX file, which onnxruntime can run, got another: ")
    assert message.endswith("`grurt verify --against` compares the answers with those of other formats")


def test_an_onnxruntime_that_cannot_open_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grurt.converters.to_onnx", lambda *_, **__: b"\x08")
    message = fail("bench", MODEL_PATH, *QUICK)
    assert message == "error: the model as an ONNX file: expected an ONNX file, got one that onnxruntime cannot open"


def test_an_onnxruntime_that_is_missing_is_brought_by_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    command = re.escape(install_command("onnx"))
    with pytest.raises(grurt.ConversionError, match=rf"^onnxruntime is not installed: {command}$"):
        open_session(b"")


def test_an_interrupt_leaves_the_figures_until_then(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = iter(range(100))

    def interrupted(what: str) -> None:
        if "in turn" in what and next(turns) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr("grurt.cli.bench.progress", lambda: contextlib.nullcontext(interrupted))
    result = invoke("bench", MODEL_PATH, *QUICK)
    assert result.exit_code == 130
    assert result.stderr == "note: interrupted; these are the figures until then\n"
    assert "grurt step, out=" in titles(result.stdout)
    turns = iter(range(4, 100))
    result = invoke("bench", MODEL_PATH, "--json", *QUICK)
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "")


@pytest.mark.slow
def test_a_terminal_shows_what_is_measured() -> None:
    text = Terminal("bench", MODEL_PATH, "--seconds", "0.5").read_to_end()
    assert re.search(r"measuring all calls in turn, \d+ of 15", text)
    assert "measuring single calls of grurt step" in text
