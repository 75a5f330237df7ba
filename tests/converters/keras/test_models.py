"""Keras files of every kind give Keras's own answers."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_files import DATA, answers, edited, layer_of

from grurt import Model, StatePort, ValuePort
from grurt.converters import convert
from grurt.converters.keras import reference as keras_reference
from grurt.converters.keras.windows import slice_of_timesteps
from grurt.network.functions import HardSigmoid
from grurt.network.layers import GRU

TOLERANCE = 2e-6
HALF_TOLERANCE = 1e-2  # Keras rounded every result to 16 bits
HALF = ("k3_half", "k3_bfloat16")
REFUSED = ("k3_masked_backwards",)
SPECIAL = ("k3_stateful",)

FILES = [
    path
    for path in sorted([*DATA.glob("*.keras"), *DATA.glob("*.h5")])
    if path.name.partition(".")[0] not in REFUSED + SPECIAL
]


def load(path: Path) -> Model:
    architecture = None
    if ".weights" in path.name:
        architecture = str(DATA / f"{path.name.partition('.')[0]}.json")
    return convert(path, layers=architecture, reference=False)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_give_the_answers_of_keras(path: Path) -> None:
    inputs, expected = answers(path)
    model = load(path)
    found = list(model.run(inputs).values())
    assert [array.shape for array in found] == [array.shape for array in expected]
    tolerance = HALF_TOLERANCE if path.name.partition(".")[0] in HALF else TOLERANCE
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "name",
    [
        "k3_two_layers",
        "k3_embedding_masked",
        "k3_masking",
        "k3_masked_conv",
        "k3_cells",
        "k3_padded_conv",
        "k3_relu_options",
        "k3_mathematics",
        "k3_conditions",
        "k3_arrangement",
        "k3_extremes",
        "k3_encoded_tokens",
    ],
)
def test_streams_give_the_same_answers_step_by_step(name: str) -> None:
    inputs, _ = answers(DATA / f"{name}.keras")
    model = load(DATA / f"{name}.keras")
    values = {port.name: inputs[port.name] for port in model.inputs}
    whole = model.run({name: array for name, array in inputs.items() if name in values})
    output = model.outputs[0].name
    for row in range(2):
        stream = model.stream()
        steps = [stream.step({n: array[row, t] for n, array in values.items()}) for t in range(6)]
        last = steps[-1][output] if isinstance(steps[-1], dict) else steps[-1]
        expected = whole[output][row]
        assert np.array_equal(last, expected[-1] if expected.ndim == 2 else expected)


def test_a_stateful_model_is_a_stream() -> None:
    with np.load(DATA / "k3_stateful.npz") as stored:
        x, first, second = stored["in0"][0], stored["out0"][0], stored["out1"][0]
    stream = load(DATA / "k3_stateful.keras").stream()
    np.testing.assert_allclose(stream.run(x), first, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(stream.run(x), second, rtol=0, atol=TOLERANCE)


def test_outputs_that_go_backwards_do_so_where_the_source_is_imitated() -> None:
    model = load(DATA / "k3_backwards.keras")
    inputs, (expected,) = answers(DATA / "k3_backwards.keras")
    assert model.signature.outputs[0].backwards  # type: ignore[union-attr]
    assert model.source.notes == (
        "Model.run of a mapping gives the output 'dense' from the last timestep to the first, as Keras does",
    )
    assert model.unstreamable_reason is not None
    np.testing.assert_allclose(model.run(inputs["x"]), expected[:, ::-1], rtol=0, atol=TOLERANCE)


def test_names_shapes_and_states_are_those_of_keras() -> None:
    signature = load(DATA / "k3_state_in_and_out.keras").signature
    assert signature.inputs == (
        ValuePort(name="x", value="x", dtype="float32", axes=("batch", "time", "feature")),
        StatePort(name="h", states=("gru",), dtype="float32", axes=("batch", "feature")),
    )
    assert signature.outputs == (
        ValuePort(name="y", value="y", dtype="float32", axes=("batch", "time", "feature")),
        StatePort(name="gru", states=("gru",), dtype="float32", axes=("batch", "feature")),
    )


def test_several_outputs_of_one_layer_are_numbered() -> None:
    names = [port.name for port in load(DATA / "k3_bi_states.keras").signature.outputs]
    assert names == ["bidirectional", "bidirectional_1", "bidirectional_2"]


def test_tokens_have_the_dtype_of_the_input_layer() -> None:
    (port,) = load(DATA / "k3_embedding_masked.keras").signature.inputs
    assert port == ValuePort(name="tokens", value="tokens", dtype="int32", axes=("batch", "time"))


def test_the_source_says_which_keras_and_which_precision() -> None:
    source = load(DATA / "k3_half.keras").source
    assert (source.format, source.producer, source.file) == ("keras", "Keras 3.15.1", "k3_half.keras")
    assert source.notes == (
        "layers of the dtype policy mixed_bfloat16 were converted to float32",
        "layers of the dtype policy mixed_float16 were converted to float32",
    )


@pytest.mark.parametrize(("version", "slope"), [("3.15.1", 1 / 6), ("2.15.0", 0.2)])
def test_hard_sigmoid_is_that_of_the_version(version: str, slope: float, tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        layer_of(config, "dense")["config"]["activation"] = "hard_sigmoid"

    model = convert(edited(tmp_path, "k3_two_layers", change, version), reference=False)
    assert HardSigmoid(slope, 0.5) in [getattr(layer, "function", None) for layer in model.layers]


def test_reset_after_is_false_where_old_files_do_not_say_it() -> None:
    first = load(DATA / "k1_gru.h5").layers[0]
    assert isinstance(first, GRU)
    assert not first.linear_before_reset
    assert first.gate_activation == HardSigmoid(0.2, 0.5)


def test_weights_are_found_by_class_and_counter_and_not_by_name(tmp_path: Path) -> None:
    def rename(config: dict[str, Any]) -> None:
        for item in config["config"]["layers"]:
            item["config"]["name"] += "_of_another_name"

    inputs, expected = answers(DATA / "k3_two_layers.keras")
    model = convert(edited(tmp_path, "k3_two_layers", rename), reference=False)
    found = model.run(next(iter(inputs.values())))
    np.testing.assert_allclose(found, expected[0], rtol=0, atol=TOLERANCE)


def test_layers_that_only_training_needs_vanish() -> None:
    kinds = [layer.kind for layer in load(DATA / "k3_two_layers.keras").layers]
    assert kinds == ["linear", "activation", "gru", "gru", "last_step", "batch_norm", "linear", "activation"]


def test_without_keras_the_source_says_that_there_is_no_reference_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    model = convert(DATA / "k3_residual.keras")
    assert model.reference_run is None
    assert model.source.notes == ("no reference run: keras is not installed",)


def test_keras_without_a_backend_gives_no_reference_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setattr(keras_reference, "is_installed", lambda name: name == "keras")
    notes = convert(DATA / "k3_residual.keras").source.notes
    assert "no reference run: keras is installed without a backend: PyTorch, TensorFlow or JAX" in notes


def test_files_of_keras_2_have_no_reference_run() -> None:
    assert convert(DATA / "k2_conv.h5").source.notes == (
        "no reference run: Keras 3 does not compute as Keras 2, which wrote the file",
    )


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="Keras answers the test input")
@pytest.mark.parametrize("name", HALF)
def test_files_of_16_bits_are_compared_as_exactly_as_these_are(name: str) -> None:
    model = convert(DATA / f"{name}.keras")
    assert model.reference_run is not None, model.source.notes
    assert model.reference_run.precision == "bfloat16"
    assert model.verify().ok


def test_a_mask_beside_a_given_state_is_noted(tmp_path: Path) -> None:
    def stateful(config: dict[str, Any]) -> None:
        layer_of(config, "gru")["config"]["stateful"] = True

    model = convert(edited(tmp_path, "k3_embedding_masked_sequential", stateful), reference=False)
    assert "until the first timestep that is not masked" in model.source.notes[0]


def test_a_vector_beside_a_sequence_is_read_at_its_end() -> None:
    model = load(DATA / "k3_vectors.keras")
    inputs, (expected,) = answers(DATA / "k3_vectors.keras")
    assert model.signature.inputs[1] == ValuePort(name="v", value="v", dtype="float32", axes=("batch", "feature"))
    sequence, end = model.stages
    streams = sequence.stream(), end.stream()
    for x in inputs["x"][0]:
        state = streams[0].step(x)
    found = streams[1].step({"v": inputs["v"][0], sequence.outputs[0].name: state})
    np.testing.assert_allclose(found, expected[0], rtol=0, atol=TOLERANCE)


def test_short_vectors_of_keras_2_are_noted(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        normalization = {"class_name": "UnitNormalization", "config": {"name": "dropout", "axis": [-1]}}
        layer_of(config, "dropout").update(normalization)

    model = convert(edited(tmp_path, "k3_two_layers", change, version="2.15.0"), reference=False)
    assert model.source.notes == (
        "layer 'dropout' (UnitNormalization): vectors shorter than 1e-6 come out longer than in Keras 2",
    )


@pytest.mark.parametrize("size", [0.0, 1e-15, 1e-9, 1e-3, 1e15])
def test_unit_normalization_of_vectors_of_any_length(size: float) -> None:
    model = load(DATA / "k3_unit_and_group_norms.keras")
    x = np.full((1, 2, 3), size, np.float32)
    unit = model.run({"x": x})["unit_normalization"]
    expected = x * np.minimum(1e12, 1 / max(np.sqrt(3) * size, 1e-30))
    np.testing.assert_allclose(unit, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    "bounds", [{"stop": 5}, {"start": -5}, {"stop": 0}, {"step": -1}, {"step": 0}, {"start": True}, None], ids=str
)
def test_slices_that_are_others_for_other_lengths(bounds: object) -> None:
    assert slice_of_timesteps(bounds) is None
