"""`grurt convert`, `grurt inspect` and `grurt verify`."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import models
import numpy as np
import pytest
from commandline import Terminal, fail, invoke, succeed, write
from paths import DATA, ROOT
from step_graphs import step_proto

import grurt
from grurt.container.reading import digest_of
from grurt.demo import MODEL_PATH
from grurt.installing import install_command

ONNX = ROOT / "examples" / "activity.onnx"
STATE_DICT = DATA / "torch" / "c_eachstep_bf.pt"


@pytest.fixture
def model() -> grurt.Model:
    """A model without a reference run, of a GRU in each direction."""
    return models.layer_model(
        grurt.GRU(name="there", inputs=("x",), input_size=2, hidden_size=3, clip=4.0),
        grurt.GRU(name="back", inputs=("x",), input_size=2, hidden_size=3, direction="reverse"),
        grurt.Concat(name="both", inputs=("there", "back")),
        rng=np.random.default_rng(1),
        inputs=[grurt.Input("x", 2)],
    )


def tampered(path: Path) -> Path:
    """Return a copy of the demo's model with another weight."""
    model = grurt.load(MODEL_PATH)
    weights = {name: array.copy() for name, array in model.weights.items()}
    weights["gru.bias_hh"][-1] += 0.5
    grurt.Model(
        layers=model.layers,
        weights=weights,
        inputs=model.inputs,
        outputs=model.outputs,
        signature=model.signature,
        reference_run=model.reference_run,
    ).save(path)
    return path


# convert


def test_convert_onnx(tmp_path: Path) -> None:
    path = tmp_path / "model.grurt"
    text = succeed("convert", ONNX, "-o", path)
    assert re.fullmatch(
        rf"wrote {path}, [\d,]+ bytes: batch_norm, gru, linear, activation; 3,996 parameters\n"
        r"largest error against onnxruntime \d\S+: \d\.\de-0[78]\nstreams: can run one timestep at a time\n",
        text,
    )
    assert grurt.load(path).fingerprint == grurt.load(MODEL_PATH).fingerprint


def test_convert_leaves_the_sources_framework_alone_where_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    text = succeed("convert", ONNX, "--no-reference", "-o", tmp_path / "model.grurt")
    assert text.splitlines()[1:] == ["not compared with its source", "streams: can run one timestep at a time"]
    assert grurt.load(tmp_path / "model.grurt").reference_run is None


def test_convert_says_that_a_description_is_compared_with_itself(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    text = succeed("convert", STATE_DICT, "--layers", "gru, fc", "-o", tmp_path / "model.grurt")
    assert "from the description of the layers, whose own faults do not show: " in text.splitlines()[1]


def test_convert_a_state_dict_by_the_layers_of_a_line_or_of_a_file(tmp_path: Path) -> None:
    line, file = tmp_path / "line.grurt", tmp_path / "file.grurt"
    toml = write(tmp_path / "layers.toml", ['[[layers]]\nmodule = "gru"', '[[layers]]\nmodule = "fc"'])
    assert "gru, linear; 363 parameters" in succeed("convert", STATE_DICT, "--layers", "gru, fc", "-o", line)
    succeed("convert", STATE_DICT, "--layers", toml, "-o", file)
    assert grurt.load(line).fingerprint == grurt.load(file).fingerprint


def test_one_of_several_networks_is_converted_inspected_and_verified(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    networks = {name: torch.nn.GRU(3, size).state_dict() for name, size in (("actor", 4), ("critic", 5))}
    torch.save({"nets": networks, "obs_mean": torch.ones(3), "epoch": 7}, tmp_path / "agent.pt")
    path = tmp_path / "actor.grurt"
    error = invoke("convert", tmp_path / "agent.pt", "--layers", ".", "-o", path).stderr
    assert "expected one state dict, got 2; say which to convert: --entry NAME on the command line" in error
    assert "  nets.actor: 4 tensors: weight_ih_l0 (12, 3), weight_hh_l0 (12, 4), bias_ih_l0 (12,) and 1 more" in error
    text = succeed("convert", tmp_path / "agent.pt", "--layers", ".", "--entry", "nets.actor", "-o", path)
    notes = [
        "note: left out, the other state dicts of the checkpoint: nets.critic",
        "note: beside the weights, and not used: obs_mean (3,), epoch",
    ]
    assert text.splitlines()[-2:] == notes
    assert succeed("inspect", path).splitlines()[1:3] == notes
    assert "gru" in succeed("inspect", tmp_path / "agent.pt", "--layers", ".", "--entry", "nets.critic")
    source = ("--against", tmp_path / "agent.pt", "--layers", ".", "--entry")
    assert succeed("verify", path, *source, "nets.actor").endswith("ok\n")
    assert "expected answers of shape" in fail("verify", path, *source, "nets.critic")


def test_convert_tells_what_the_result_is_as_json(tmp_path: Path) -> None:
    path = tmp_path / "model.grurt"
    result = json.loads(succeed("convert", ONNX, "-o", path, "--json"))
    assert 0 < result.pop("max_error") < 2e-6
    assert result.pop("compared_with").startswith("onnxruntime ")
    assert result == {
        "output": str(path),
        "bytes": path.stat().st_size,
        "layers": [{"name": layer.name, "kind": layer.kind} for layer in grurt.load(path).layers],
        "parameters": 3996,
        "ok": True,
        "streams": True,
        "unstreamable_reason": None,
        "unstreamable_by_design": None,
        "states": {},
        "texts": {},
        "notes": [],
    }


def test_convert_says_what_it_could_not_compare_and_what_does_not_stream(
    model: grurt.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grurt.converters.convert", lambda path, **options: model)
    text = succeed("convert", ONNX, "-o", tmp_path / "model.grurt")
    compared, verdict = text.splitlines()[1:]
    assert compared == "not compared with its source"
    assert verdict.startswith("whole sequences only: layer 'back' is a GRU in reverse direction: ")
    result = json.loads(succeed("convert", ONNX, "-o", tmp_path / "model.grurt", "--json"))
    assert (result["compared_with"], result["max_error"], result["ok"]) == (None, None, None)
    assert result["streams"] is False


def test_convert_fails_where_the_answers_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = grurt.load(tampered(tmp_path / "wrong.grurt"))
    monkeypatch.setattr("grurt.converters.convert", lambda path, **options: wrong)
    result = invoke("convert", ONNX, "-o", tmp_path / "model.grurt")
    assert result.exit_code == 1
    assert "which is above the tolerance of 1e-04" in result.stdout


def test_the_examples_of_the_help_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, source in {
        "model.onnx": ONNX,
        "model.keras": DATA / "keras" / "k3_two_layers.keras",
        "weights.pt": DATA / "torch" / "b_lasthidden.pt",
        "model.weights.h5": DATA / "keras" / "k3_residual.weights.h5",
        "model.json": DATA / "keras" / "k3_residual.json",
        "step.onnx": DATA / "steps" / "detector.onnx",
    }.items():
        shutil.copy(source, tmp_path / name)
    decoder = step_proto("y = MatMul(x, memory)", {"x": (1, 3), "memory": (3, 4)})
    (tmp_path / "decoder.onnx").write_bytes(decoder.SerializeToString())
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^ +grurt (convert .*)$", succeed("convert", "--help"), re.MULTILINE)
    assert len(lines) == 6
    for line in lines:
        assert "wrote model.grurt" in succeed(*shlex.split(line))
    (line,) = re.findall(r"^ +grurt (inspect .*)$", succeed("inspect", "--help"), re.MULTILINE)
    assert succeed(*shlex.split(line)).startswith("from keras model.weights.h5")


def test_a_message_of_several_lines_is_shown_as_such(tmp_path: Path) -> None:
    result = invoke("convert", STATE_DICT, "-o", tmp_path / "model.grurt")
    assert result.exit_code == 2
    first, tensors, *names, advice, last, order = result.stderr.splitlines()
    assert first.startswith(f"error: {STATE_DICT.name}: layers: expected a description, got none")
    assert tensors == f"Its {len(names)} tensors:"
    assert all(name.startswith("  ") for name in names)
    assert advice == 'A description that would fit: --layers "gru, fc"'
    assert last == (
        "No tensor shows whether every timestep of gru goes on, or the last one alone: if so, write "
        '"last" between gru and fc'
    )
    assert order.startswith("Put the layers in the order in which they run")


def test_convert_passes_its_options_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def convert(path: Path, **options: object) -> grurt.Model:
        assert path == ONNX
        assert options == {
            "layers": None,
            "entry": None,
            "repair": True,
            "reference": True,
            "imported": "literal",
            "bind": {"sr": 16000, "mask": [True, 0.5]},
            "state": {"h": "h=new", "g": None},
            "initial": None,
            "context": ("memory",),
            "size": {"places": 50},
        }
        return grurt.load(MODEL_PATH)

    monkeypatch.setattr("grurt.converters.convert", convert)
    literally = ("--import", "literal", "--bind", "sr=16000", "--bind", "mask=[true, 0.5]")
    states = ("--state", "h=h=new", "--state", "g=", "--context", "memory", "--size", "places=50")
    succeed("convert", ONNX, "-o", tmp_path / "model.grurt", "--repair", *literally, *states)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--bind", "sr"), "expected NAME=VALUE, got 'sr'"),
        (("--state", "=y"), "expected NAME=VALUE, got '=y'"),
        (("--bind", "sr=fast"), "expected a number, true, false or a list of these after sr=, got 'fast'"),
        (("--import", "anyhow"), "'anyhow' is not one of 'meaning', 'literal'"),
    ],
)
def test_what_is_said_of_a_graph_has_a_form(tmp_path: Path, arguments: tuple[str, str], message: str) -> None:
    assert message in fail("convert", ONNX, "-o", tmp_path / "model.grurt", *arguments)


def test_convert_replaces_an_older_file_or_leaves_it_as_it_is(tmp_path: Path) -> None:
    path = tampered(tmp_path / "model.grurt")
    older = path.read_bytes()
    fail("convert", STATE_DICT, "-o", path)
    assert path.read_bytes() == older
    assert list(tmp_path.iterdir()) == [path]
    succeed("convert", ONNX, "-o", path)
    assert grurt.load(path).parameter_count == 3996


def test_convert_never_overwrites_its_source(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(ONNX.read_bytes())
    assert fail("convert", path, "-o", path) == (
        f"error: {path} would be overwritten, which is read: choose another name for the output"
    )
    assert path.read_bytes() == ONNX.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([ONNX], r"error: Missing option '-o' / '--output'\."),
        ([ONNX, "-o", "/not/there/model.grurt"], r"error: /not/there/model\.grurt: there is no folder /not/there$"),
        ([ONNX, "-o", "model.grurt", "--layers", "gru"], r"error: activity\.onnx: layers: .*leave the description out"),
        (
            [STATE_DICT, "-o", "model.grurt", "--layers", "gru fc"],
            r"error: c_eachstep_bf\.pt: layers 'gru fc': expected",
        ),
        ([STATE_DICT, "-o", "model.grurt", "--layers", "no.toml"], r"error: .*no\.toml: expected a file with a descr"),
        (
            [STATE_DICT, "-o", "model.onnx"],
            r"error: model\.onnx: what is written is a \.grurt file, not \.onnx: choose",
        ),
        ([ONNX, "-o", "/proc/model.grurt"], r"error: /proc/model\.grurt: the folder /proc cannot be written to: "),
        (
            [MODEL_PATH, "-o", "model.grurt"],
            r"error: .*activity\.grurt: .*got a grurt model already; use it as it is, ",
        ),
        (
            [DATA / "torch" / "list_params.pt", "-o", "model.grurt"],
            r"error: list_params\.pt: .*, without names; .* instead \(by design: NOT_SAID in docs/supported\.md\)",
        ),
        (
            [__file__, "-o", "model.grurt"],
            r"error: test_convert\.py: expected a model that grurt reads \(\.onnx, \.pt, \.pt2",
        ),
    ],
)
def test_what_cannot_be_converted_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[object], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert re.match(message, fail("convert", *arguments))
    assert list(tmp_path.iterdir()) == []


def test_a_state_dict_without_layers_is_answered_with_its_tensors(tmp_path: Path) -> None:
    result = invoke("convert", STATE_DICT, "-o", tmp_path / "model.grurt")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "  gru.weight_ih_l0 " in result.stderr
    assert '--layers "gru, fc"' in result.stderr


def test_arrays_without_layers_are_not_called_a_state_dict(tmp_path: Path) -> None:
    np.savez(tmp_path / "weights.npz", **{"gru.weight_ih_l0": np.zeros((6, 2)), "gru.weight_hh_l0": np.zeros((6, 2))})
    result = invoke("convert", tmp_path / "weights.npz", "-o", tmp_path / "model.grurt")
    assert "got none: the source holds weights, not how layers are connected" in result.stderr
    assert "state dict" not in result.stderr


def test_weights_of_keras_without_layers_are_answered_with_the_option(tmp_path: Path) -> None:
    weights = DATA / "keras" / "k3_residual.weights.h5"
    assert "(on the command line --layers model.json)" in fail("convert", weights, "-o", tmp_path / "model.grurt")


def test_what_is_missing_is_stored_as_a_fact_and_printed_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnxruntime" else original(name))
    path = tmp_path / "model.grurt"
    fact = "no reference run: onnxruntime is not installed"
    assert succeed("convert", ONNX, "-o", path).endswith(f"\nnote: {fact}: {install_command('onnx')}\n")
    assert grurt.load(path).source.notes == (fact,)
    assert f"\nnote: {fact}: {install_command('onnx')}\n" in succeed("inspect", path)


# inspect


def test_inspect_names_its_own_options() -> None:
    assert fail("inspect", MODEL_PATH, "--cpu", "generic") == "error: --cpu needs --target, which it is a CPU of"
    assert fail("inspect", MODEL_PATH, "--target", "pdp11").startswith("error: target: expected one of x86_64-linux")


def test_inspect() -> None:
    lines = succeed("inspect", MODEL_PATH).splitlines()
    assert re.fullmatch(r"from onnx activity\.onnx, written by pytorch 2\.13\.0\S*", lines[0])
    assert lines[2] == "○  samples        6 numbers"
    assert lines[4].startswith("●  gru            gru 6 → 32, 3,840 weights, keeps 32 numbers")
    table = lines[lines.index("") + 1 :][lines[2:].index("") + 1 :]
    assert re.fullmatch(r"layer +kind +reads +size +state +parameters +bytes +multiply-adds +options", table[0])
    assert re.fullmatch(r"gru +gru +norm +32 +32 +3,840 +15,360 +3,648", table[2])
    assert re.fullmatch(r"total +3,996 +15,984 +3,776", table[5])
    assert table[7:10] == [
        "input samples: 6 numbers",
        "output probabilities: 4 numbers, after every timestep",
        "source's input samples: float32 (batch, time, feature)",
    ]
    assert lines[-3] == "state of a stream: 128 bytes"
    assert lines[-2].startswith("reference run: onnxruntime ")
    assert lines[-1] == "streams: can run one timestep at a time"


def test_inspect_shows_options_and_why_a_model_does_not_stream(model: grurt.Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model.grurt")
    text = succeed("inspect", tmp_path / "model.grurt")
    assert re.search(r"^there .* clip=4\.0$", text, re.MULTILINE)
    assert re.search(r"^both +concat +there, back +6 +0 +0 +0$", text, re.MULTILINE)
    assert text.splitlines()[-1].startswith("whole sequences only: layer 'back' is a GRU in reverse direction")
    assert "reference run: none" in text


def test_inspect_tokens_and_single_answers(tmp_path: Path) -> None:
    models.layer_model(
        grurt.Embedding(name="embedding", vocabulary_size=7, size=3),
        grurt.GRU(name="gru", input_size=3, hidden_size=4),
        grurt.LastStep(name="last"),
        grurt.Linear(name="fc", input_size=4, output_size=1),
        rng=np.random.default_rng(2),
    ).save(tmp_path / "model.grurt")
    text = succeed("inspect", tmp_path / "model.grurt")
    assert "input x: a token of 7\noutput y: 1 number, once a sequence\n" in text


def test_inspect_as_json_is_the_summary() -> None:
    summary = json.loads(succeed("inspect", MODEL_PATH, "--json"))
    assert summary["parameters"] == 3996
    assert [layer["kind"] for layer in summary["layers"]] == ["batch_norm", "gru", "linear", "activation"]
    assert summary["streams"] is True


def test_inspect_converts_in_memory() -> None:
    assert succeed("inspect", ONNX).splitlines()[2:10] == succeed("inspect", MODEL_PATH).splitlines()[2:10]
    assert "363" in succeed("inspect", STATE_DICT, "--layers", "gru, fc")
    assert "A description that would fit" in invoke("inspect", STATE_DICT).stderr


@pytest.mark.slow
@pytest.mark.parametrize("path", [MODEL_PATH, ONNX])
def test_inspect_needs_no_numba(path: Path) -> None:
    script = (
        "import sys\nfrom grurt.cli.app import grurt\n"
        f"try:\n    grurt(['inspect', {str(path)!r}])\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(sorted({'numba', 'torch', 'onnxruntime', 'rich'} & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stderr == "[]\n"


# verify


def test_verify_by_the_reference_run_of_the_file() -> None:
    assert re.fullmatch(
        r"the file is undamaged: SHA-256 [0-9a-f]{64}\n"
        r"largest error against onnxruntime \d\S+, at most 1e-04 is allowed:\n"
        r"  probabilities: \d\.\de-0[78]\n"
        r"streamed one timestep at a time: the same bits as in one piece\nok\n",
        succeed("verify", MODEL_PATH),
    )


def test_verify_against_the_source() -> None:
    assert succeed("verify", MODEL_PATH, "--against", ONNX).endswith("in one piece\nok\n")


def test_verify_against_a_state_dict(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    path = tmp_path / "model.grurt"
    succeed("convert", STATE_DICT, "--layers", "gru, fc", "-o", path)
    text = succeed("verify", path, "--against", STATE_DICT, "--layers", "gru, fc")
    assert text.splitlines()[1].startswith("largest error against torch ")
    assert "A description that would fit" in invoke("verify", path, "--against", STATE_DICT).stderr


def test_verify_fails_where_the_answers_differ(tmp_path: Path) -> None:
    path = tampered(tmp_path / "model.grurt")
    for arguments in ([path], [path, "--against", ONNX]):
        result = invoke("verify", *arguments)
        assert (result.exit_code, result.stderr) == (1, "")
        assert result.stdout.endswith("the answers DIFFER\n")
        result = invoke("verify", *arguments, "--json")
        assert result.exit_code == 1
        assert json.loads(result.stdout)["ok"] is False


def test_verify_says_that_an_older_file_has_no_digest() -> None:
    older = DATA / "grurt" / "random0.grurt"
    assert succeed("verify", older).startswith("the file is of an older release: no SHA-256\n")
    assert json.loads(succeed("verify", older, "--json"))["sha256"] is None


def test_verify_as_json() -> None:
    result = json.loads(succeed("verify", MODEL_PATH, "--json"))
    error = result["errors"]["probabilities"]
    assert 0 < error < 2e-6
    assert result == {
        "sha256": digest_of(MODEL_PATH),
        "compared_with": result["compared_with"],
        "errors": {"probabilities": error},
        "max_error": error,
        "tolerance": 1e-4,
        "streamed": True,
        "same_bits": True,
        "ok": True,
    }


def test_verify_needs_something_to_compare_with(model: grurt.Model, tmp_path: Path) -> None:
    path = tmp_path / "model.grurt"
    model.save(path)
    assert fail("verify", path).startswith("error: expected a model with a reference run, got one without: ")
    assert fail("verify", path).endswith("or compare it with its source by `grurt verify --against SRC`")
    assert fail("verify", path, "--against", ONNX) == (
        f"error: {ONNX}: expected the inputs and outputs x, y, got samples, probabilities: "
        "is this the file that the model was converted from?"
    )


def test_verify_says_why_the_source_gave_no_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    original = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnxruntime" else original(name))
    message = fail("verify", MODEL_PATH, "--against", ONNX)
    assert re.match(r"error: .*activity\.onnx: its framework gave no answers; .*is not installed: pip ", message)
    assert message.endswith(install_command("onnx"))


@pytest.mark.slow
def test_results_are_plain_text_on_a_terminal_too() -> None:
    text = Terminal("verify", MODEL_PATH).read_to_end()
    assert "\x1b" not in text
    assert text.replace("\r\n", "\n") == succeed("verify", MODEL_PATH)


def test_verify_says_why_a_file_holds_no_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnxruntime" else original(name))
    succeed("convert", ONNX, "-o", tmp_path / "model.grurt")
    result = invoke("verify", tmp_path / "model.grurt")
    first, note = result.stderr.splitlines()
    assert result.exit_code == 2
    assert first.startswith("error: expected a model with a reference run, got one without: convert it again")
    assert note == f"note: no reference run: onnxruntime is not installed: {install_command('onnx')}"
