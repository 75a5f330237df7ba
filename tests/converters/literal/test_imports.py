"""The way in: by meaning or literally, what is recorded, and the source's answers beside the engine's."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from commandline import fail, succeed
from onnx_graphs import node, proto, random, written
from paths import DATA, ROOT
from step_graphs import step_proto

import grurt
from grurt.converters import convert
from grurt.errors import ConversionError, DesignReason, UnsupportedError

ONNX, STEPS = DATA / "onnx", DATA / "steps"
CLEANERS = [STEPS / "clean.ts.op17.onnx", STEPS / "clean.dyn.op18.onnx"]
DETECTOR = STEPS / "detector.onnx"
NOTES = (
    "imported literally, as a graph of one timestep",
    "states, and what they become: cache -> cache_out, h -> h_out",
    "states that begin as zeros: cache, h",
)


@pytest.mark.slow
@pytest.mark.parametrize("path", CLEANERS, ids=lambda path: path.stem)
def test_a_step_graph_is_compared_with_its_source_states_included(path: Path) -> None:
    model = convert(path)
    assert model.source.notes == NOTES
    assert model.reference_run is not None
    assert set(model.reference_run.inputs) == {"spectrum", "cache", "h"}
    assert np.abs(model.reference_run.inputs["h"]).max() > 0.01
    verification = model.verify()
    assert set(verification.errors) == {"clean", "cache_out", "h_out"}
    assert verification.max_error < 1e-6
    assert verification.streamed
    assert verification.same_bits


@pytest.mark.slow
def test_a_stream_feeds_the_states_back_as_the_source_is_fed() -> None:
    import onnxruntime

    model = convert(CLEANERS[0], reference=False)
    session = onnxruntime.InferenceSession(CLEANERS[0], providers=["CPUExecutionProvider"])
    states = {"cache": np.zeros((1, 2, 2, 9), np.float32), "h": np.zeros((1, 5, 8), np.float32)}
    stream, random_ = model.stream(), np.random.default_rng(0)
    for _ in range(50):
        spectrum = random_.normal(size=(1, 2, 1, 9)).astype(np.float32)
        clean, states["cache"], states["h"] = session.run(None, {"spectrum": spectrum, **states})
        np.testing.assert_allclose(stream.step(spectrum).reshape(-1), clean.reshape(-1), atol=2e-6)


@pytest.mark.slow
def test_a_denoiser_as_its_authors_exported_it() -> None:
    """GTCRN: the states are three, the normalizations are in the weights, and what only moves numbers is views."""
    model = convert(ROOT / "examples" / "denoise" / "gtcrn_simple.onnx")
    caches = ("conv_cache", "tra_cache", "inter_cache")
    assert model.signature.fed_back == {name: f"{name}_out" for name in caches}
    (layer,) = model.layers
    assert isinstance(layer, grurt.Program)
    found = Counter(operator.kind for operator in layer.operators)
    assert (found["gru"], found["conv"], found["conv_transpose"], found["update"]) == (14, 11, 11, 18)
    assert found["normalize"] == 0
    assert model.verify().max_error < 2e-6


def test_meaning_comes_first() -> None:
    model = convert(ONNX / "c_eachstep_bf.ts.da.op20.onnx", reference=False)
    assert [layer.kind for layer in model.layers] == ["gru", "linear"]
    assert model.source.notes == ()


def test_the_way_can_be_forced() -> None:
    with pytest.raises(UnsupportedError, match="it works over more axes than time") as caught:
        convert(CLEANERS[0], imported="meaning", reference=False)
    assert "literally" not in str(caught.value)
    path = ONNX / "a_h0_bf.ts.op17.onnx"
    assert convert(path, reference=False).layers[0].kind == "gru"
    assert convert(path, imported="literal", reference=False).layers[0].kind == "program"


def test_the_message_says_both_reasons() -> None:
    with pytest.raises(UnsupportedError) as caught:
        convert(DETECTOR, reference=False)
    first, second = caught.value.args
    assert first.startswith("detector.onnx: node '/cell/LSTM' (LSTM): grurt runs GRU networks; LSTM is not supported; ")
    assert second.startswith(
        "nor can it be imported literally, as one timestep: node '/If' (If): which of its branches"
    )
    assert caught.value.reason is DesignReason.OTHER_RECURRENCE


def test_a_reason_against_both_ways_is_said_once(tmp_path: Path) -> None:
    text = "h2 = Add(x, h); q, scale, zero = DynamicQuantizeLinear(h2)"
    onnx.save(proto(written(text), {"x": (1, 3), "h": (1, 3)}, ["h2", "scale"], {}), tmp_path / "m.onnx")
    with pytest.raises(UnsupportedError, match="the model was quantized") as caught:
        convert(tmp_path / "m.onnx", reference=False)
    assert "literally" not in str(caught.value)
    assert caught.value.reason is DesignReason.QUANTIZED


def test_a_graph_without_a_candidate_for_a_state_has_one_reason(tmp_path: Path) -> None:
    onnx.save(proto(written("y = MatMul(x, w)"), {"x": (4, 3)}, ["y"], {"w": random(3, 3)}), tmp_path / "m.onnx")
    with pytest.raises(UnsupportedError) as caught:
        convert(tmp_path / "m.onnx", reference=False)
    assert len(caught.value.args) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"imported": "anyhow"}, "imported: expected 'meaning' or 'literal', got 'anyhow'"),
        (
            {"imported": "meaning", "bind": {"x": 1}},
            "bind, state, initial, context and size say something of a graph",
        ),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(DETECTOR, **options)  # type: ignore[arg-type]


def test_options_of_graphs_are_for_graphs() -> None:
    with pytest.raises(
        ConversionError,
        match=r"imported, bind, state, initial, context and size are for graphs, in ONNX files and \.pt2; got",
    ):
        convert(DATA / "torch" / "c_eachstep_bf.pt", layers="gru, fc", state={"h": "hn"})
    with pytest.raises(ConversionError, match=r"in ONNX files and \.pt2; got arrays"):
        convert({"w": np.zeros((2, 2))}, layers="fc", imported="literal")


def test_initial_states_come_from_a_file(tmp_path: Path) -> None:
    begins = {"h": np.full((1, 5, 8), 0.25, np.float32), "cache": np.zeros((1, 2, 2, 9), np.float32)}
    np.savez(tmp_path / "states.npz", **begins)
    models = [convert(CLEANERS[0], reference=False, initial=each) for each in (begins, tmp_path / "states.npz")]
    assert models[0].fingerprint == models[1].fingerprint
    program = models[0].layers[0]
    assert isinstance(program, grurt.Program)
    assert [state.initial is None for state in program.states] == [True, False]
    assert not any("begin as zeros" in note for note in models[0].source.notes)
    with pytest.raises(ConversionError, match=r"none.npz: expected a file that can be read"):
        convert(CLEANERS[0], initial=tmp_path / "none.npz")
    with pytest.raises(ConversionError, match=r"detector\.onnx: expected states in an \.npz file, got another format"):
        convert(CLEANERS[0], initial=DETECTOR)


@pytest.mark.slow
def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    path = tmp_path / "step.grurt"
    text = succeed("convert", CLEANERS[0], "-o", path)
    assert [line.removeprefix("note: ") for line in text.splitlines()[-3:]] == list(NOTES)
    assert '"states": {"cache": "cache_out", "h": "h_out"}' in succeed("convert", CLEANERS[0], "-o", path, "--json")
    assert succeed("verify", path, "--against", CLEANERS[0]).endswith("ok\n")
    arguments = ("--bind", "sr=16000", "--state", "state=last")
    succeed("convert", DETECTOR, "-o", path, *arguments)
    assert succeed("verify", path, "--against", DETECTOR, "--bind", "sr=16000").endswith("ok\n")
    assert "every input of the graph is a state" in fail("convert", DETECTOR, "-o", path, *arguments, "--bind", "x=0")


def test_a_faulty_exporter_is_refused_literally_too(tmp_path: Path) -> None:
    weights = {"W": random(1, 15, 3), "R": random(1, 15, 5)}
    nodes = [node("GRU", ["x", "W", "R", "", "", "h"], ["y", "h_out"], hidden_size=5)]
    shapes = {"x": (1, 1, 3), "h": (1, 1, 5)}
    onnx.save(proto(nodes, shapes, ["y", "h_out"], weights, producer="pytorch"), tmp_path / "m.onnx")
    with pytest.raises(UnsupportedError, match="PyTorch wrote it with linear_before_reset=0"):
        convert(tmp_path / "m.onnx", imported="literal", reference=False)
    model = convert(tmp_path / "m.onnx", imported="literal", repair=True, reference=False)
    assert "repaired to 1" in model.source.notes[0]


def test_a_reference_that_cannot_be_had_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx.save(step_proto("y = Erf(x)", {"x": (1, 3)}), tmp_path / "m.onnx")
    monkeypatch.setattr("grurt.converters.onnx.reference.is_installed", lambda package: False)
    model = convert(tmp_path / "m.onnx")
    assert model.reference_run is None
    assert model.source.notes[-1] == "no reference run: onnxruntime is not installed"
