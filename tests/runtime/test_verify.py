"""Replaying a reference run: small errors pass, large ones show, and streams must give the same bits."""

from __future__ import annotations

import re
from typing import Any

import models
import msgspec
import numpy as np
import pytest

import grurt
from grurt import reference
from grurt.errors import ModelError
from grurt.network.axes import batch_first
from grurt.runtime import conditioning
from grurt.runtime.stream import Stream
from grurt.runtime.verify import MOVES, TOLERANCE, Verification, replay

SIZE = 5


def stacked_grus(rng: np.random.Generator, *, last_step: bool, batch: int, dtype: Any, **options: Any) -> grurt.Model:
    """Return two GRUs that came from a time-first source with states, with what the oracle answers in float64."""
    plain = models.gru_model(3, SIZE, rng, n_layers=2, last_step=last_step, **options)
    states = ("gru0", "gru1")
    axes = ("state", "batch", "feature")
    answer_axes = ("one", "batch", "feature") if last_step else ("time", "batch", "feature")
    signature = grurt.Signature(
        (
            grurt.StatePort(name="h0", states=states, dtype=dtype, axes=axes),
            grurt.ValuePort(name="input", value="x", dtype=dtype, axes=("time", "one", "batch", "feature")),
        ),
        (
            grurt.ValuePort(name="output", value="y", dtype=dtype, axes=answer_axes),
            grurt.StatePort(name="hn", states=states, dtype=dtype, axes=axes),
        ),
    )
    xs = rng.normal(size=(7, 1, batch, 3)).astype(dtype)
    h0 = rng.uniform(-0.9, 0.9, (2, batch, SIZE)).astype(dtype)
    runs = [
        reference.run(plain, {"x": xs[:, 0, row]}, {name: h0[i, row] for i, name in enumerate(states)})
        for row in range(batch)
    ]
    answers = np.stack([np.atleast_2d(outputs["y"]) for outputs, _ in runs], axis=1).astype(dtype)
    hn = np.stack([[final[name] for _, final in runs] for name in states]).astype(dtype)
    return grurt.Model(
        layers=plain.layers,
        weights=plain.weights,
        signature=signature,
        reference_run=grurt.ReferenceRun({"h0": h0, "input": xs}, {"output": answers, "hn": hn}, "the oracle"),
    )


def with_outputs(model: grurt.Model, **outputs: Any) -> grurt.Model:
    """Return the model with other expected outputs."""
    run = model.reference_run
    assert run is not None
    return grurt.Model(
        layers=model.layers,
        weights=model.weights,
        signature=model.signature,
        reference_run=grurt.ReferenceRun(run.inputs, outputs, run.produced_by),
    )


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("last_step", [False, True])
def test_a_sound_model_is_verified(last_step: bool, batch: int) -> None:
    model = stacked_grus(np.random.default_rng(1), last_step=last_step, batch=batch, dtype="float32")
    found = model.verify()
    assert found.ok
    assert found.streamed
    assert found.same_bits
    assert found.errors.keys() == {"output", "hn"}
    assert 0 <= found.max_error == max(found.errors.values()) < 2e-6
    assert found.produced_by == "the oracle"
    assert found.tolerance == TOLERANCE


HALF, BRAIN = 2.0**-11, 2.0**-8
"""Half the distance of neighbouring numbers, in proportion, of float16 and of bfloat16."""


@pytest.mark.parametrize(
    ("dtype", "precision", "tolerance"),
    [
        ("float32", None, TOLERANCE),
        ("float64", None, TOLERANCE),
        ("float16", None, MOVES * HALF),
        ("float32", "float16", MOVES * HALF),
        ("float32", "bfloat16", MOVES * BRAIN),
        ("float16", "bfloat16", MOVES * BRAIN),
        ("float16", "float32", TOLERANCE + HALF),
        ("float64", "float32", TOLERANCE),
    ],
)
def test_the_tolerance_is_that_of_the_source(dtype: str, precision: Any, tolerance: float) -> None:
    model = stacked_grus(np.random.default_rng(2), last_step=False, batch=2, dtype=dtype)
    assert model.reference_run is not None
    found = model.replaced(reference_run=msgspec.structs.replace(model.reference_run, precision=precision)).verify()
    assert found.ok
    assert found.tolerance == tolerance


def rounded(model: grurt.Model, **weights: Any) -> grurt.Model:
    """Return the model with what the oracle answers where every number is rounded to float16, as a source may do."""
    run = model.reference_run
    assert run is not None
    narrow = {name: array.astype(np.float16).astype(np.float32) for name, array in {**model.weights, **weights}.items()}
    inputs = {name: array.astype(np.float16).astype(np.float32) for name, array in run.inputs.items()}
    source = grurt.Model(layers=model.layers, weights=narrow, signature=model.signature)
    answers = {name: array.astype(np.float16).astype(np.float32) for name, array in source.run(inputs).items()}
    return model.replaced(reference_run=grurt.ReferenceRun(run.inputs, answers, "a source", "float16"))


@pytest.mark.parametrize("scale", [1, 3])
def test_a_source_of_coarse_numbers_and_fine_ports_is_met(scale: int) -> None:
    """Ill-conditioned too, where the error is beyond what is always allowed."""
    model = stacked_grus(np.random.default_rng(23), last_step=False, batch=2, dtype="float32")
    run = model.reference_run
    model = model.replaced(weights={name: scale * array for name, array in model.weights.items()}, reference_run=run)
    found = rounded(model).verify()
    assert found.max_error > TOLERANCE
    assert found.ok
    assert found.tolerance < 40 * HALF


def test_swapped_gates_show_in_coarse_numbers() -> None:
    model = stacked_grus(np.random.default_rng(24), last_step=False, batch=2, dtype="float32")
    swapped = {
        name: np.concatenate([np.split(array, 3)[i] for i in (1, 0, 2)])
        for name, array in model.weights.items()
        if ".weight" in name
    }
    found = rounded(model, **swapped).verify()
    assert not found.ok
    assert found.max_error > 5 * found.tolerance


def test_what_takes_long_to_move_is_not_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditioning, "_MAX_CALLS", 10)
    found = ill_conditioned().verify()
    assert found.tolerance == TOLERANCE
    assert not found.ok


@pytest.mark.parametrize("takes_lengths", [False, True])
def test_sequences_of_a_batch_are_moved_up_to_their_lengths(takes_lengths: bool) -> None:
    plain = ill_conditioned()
    run = plain.reference_run
    assert run is not None
    lengths = [grurt.LengthsPort(name="n", dtype="int64", axes=("batch",))] if takes_lengths else []
    signature = grurt.Signature((*plain.signature.inputs, *lengths), plain.signature.outputs)
    xs = np.concatenate([run.inputs["x"], 2 * run.inputs["x"]])
    given = {"x": xs} | ({"n": np.array([20, 7])} if takes_lengths else {})
    model = grurt.Model(layers=plain.layers, weights=plain.weights, signature=signature)
    answers = np.zeros((2, 24, 100), np.float32)
    for row, length in enumerate([20, 7] if takes_lengths else [24, 24]):
        answers[row, :length] = reference.run(plain, {"x": xs[row, :length]})[0]["y"]
    verification = replay(model, grurt.ReferenceRun(given, {"y": answers}, "the oracle"))
    assert verification.max_error > TOLERANCE
    assert verification.ok


def test_a_model_that_cannot_stream_is_run_whole() -> None:
    found = stacked_grus(
        np.random.default_rng(3), last_step=False, batch=2, dtype="float32", direction="reverse"
    ).verify()
    assert found.ok
    assert not found.streamed


def test_only_the_outputs_of_the_run_are_compared() -> None:
    model = stacked_grus(np.random.default_rng(4), last_step=False, batch=2, dtype="float32")
    assert model.reference_run is not None
    found = with_outputs(model, hn=model.reference_run.outputs["hn"]).verify()
    assert found.ok
    assert found.errors.keys() == {"hn"}


def test_a_wrong_answer_shows() -> None:
    model = stacked_grus(np.random.default_rng(5), last_step=False, batch=2, dtype="float32")
    assert model.reference_run is not None
    wrong = model.reference_run.outputs["output"].copy()
    wrong[3, 1, 2] += np.float32(1e-3)
    found = with_outputs(model, output=wrong).verify()
    assert not found.ok
    assert found.same_bits
    assert found.max_error == pytest.approx(1e-3, rel=0.01)


def test_swapped_gates_show() -> None:
    """The tolerance is far from what a converter that confuses z and r makes of a model."""
    model = stacked_grus(np.random.default_rng(6), last_step=False, batch=2, dtype="float32")
    swapped = {
        name: np.concatenate([np.split(array, 3)[i] for i in (1, 0, 2)]) if ".weight" in name else array
        for name, array in model.weights.items()
    }
    wrong = grurt.Model(
        layers=model.layers, weights=swapped, signature=model.signature, reference_run=model.reference_run
    )
    found = wrong.verify()
    assert not found.ok
    assert found.max_error > 1000 * TOLERANCE


def test_errors_are_relative_to_large_answers() -> None:
    layer = grurt.Linear(name="fc", input_size=1, output_size=1, bias=False)
    expected = np.full((1, 2, 1), 1000.01, np.float32)
    run = grurt.ReferenceRun({"x": np.ones((1, 2, 1), np.float32)}, {"y": expected}, "by hand")
    found = grurt.Model(layers=[layer], weights={"fc.weight": [[1000.0]]}, reference_run=run).verify()
    assert found.max_error == pytest.approx(1e-5, rel=0.01)


def test_a_state_left_out_is_the_initial_one() -> None:
    rng = np.random.default_rng(7)
    model = stacked_grus(rng, last_step=False, batch=1, dtype="float32")
    xs = rng.normal(size=(4, 1, 1, 3)).astype(np.float32)
    answers = reference.run(model, {"x": xs[:, 0, 0]})[0]["y"]
    run = grurt.ReferenceRun({"input": xs}, {"output": answers[:, None].astype(np.float32)}, "the oracle")
    assert replay(model, run).ok


def test_tokens_and_several_ports_are_replayed() -> None:
    rng = np.random.default_rng(8)
    model = models.random_model(rng, n_layers=10)
    inputs = models.random_inputs(model.inputs, 6, rng)
    outputs = reference.run(model, inputs)[0]
    given = {name: array[np.newaxis] for name, array in inputs.items()}
    expected = {name: array[np.newaxis].astype(np.float32) for name, array in outputs.items()}
    found = replay(model, grurt.ReferenceRun(given, expected, "the oracle"))
    assert found.ok
    assert found.streamed
    assert found.errors.keys() == outputs.keys()


@pytest.mark.parametrize("last_step", [False, True])
def test_a_stream_of_other_bits_shows(last_step: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = stacked_grus(np.random.default_rng(9), last_step=last_step, batch=2, dtype="float32")
    step = Stream.step
    monkeypatch.setattr(Stream, "step", lambda self, x: np.nextafter(step(self, x), np.float32(9)))
    found = model.verify()
    assert not found.ok
    assert not found.same_bits
    assert found.max_error < TOLERANCE


def test_a_stream_that_ends_in_another_state_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    model = stacked_grus(np.random.default_rng(10), last_step=True, batch=2, dtype="float32")
    read = Stream.state.fget
    write = Stream.state.fset
    other = property(lambda self: {name: -state for name, state in read(self).items()}, write)  # type: ignore[misc]
    monkeypatch.setattr(Stream, "state", other)
    assert not model.verify().same_bits


def test_an_answer_that_is_no_number_fails() -> None:
    found = Verification("tests", {"a": 0.0, "b": float("nan")}, TOLERANCE, streamed=True, same_bits=True)
    assert np.isnan(found.max_error)
    assert not found.ok


def test_a_model_without_a_reference_run_cannot_be_verified() -> None:
    model = models.gru_model(3, SIZE, np.random.default_rng(11))
    with pytest.raises(ModelError, match="expected a model with a reference run, got one without: convert it again"):
        model.verify()


def test_answers_of_another_batch_size_are_refused() -> None:
    layer = grurt.Linear(name="fc", input_size=1, output_size=1, bias=False)
    signature = grurt.Signature(
        (grurt.ValuePort(name="x", value="x", dtype="float32", axes=("time", "feature")),),
        (grurt.ValuePort(name="y", value="y", dtype="float32", axes=("batch", "time", "feature")),),
    )
    run = grurt.ReferenceRun({"x": np.ones((2, 1), np.float32)}, {"y": np.ones((3, 2, 1), np.float32)}, "by hand")
    model = grurt.Model(layers=[layer], weights={"fc.weight": [[1.0]]}, signature=signature, reference_run=run)
    message = "reference run: expected answers of shape (3, 2, 1), got (1, 2, 1)"
    with pytest.raises(ModelError, match=re.escape(message)):
        model.verify()


def test_a_batch_is_arranged_once_and_not_for_each_of_its_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    model = models.gru_model(2, 3, np.random.default_rng(21))
    xs = np.zeros((30, 4, 2), np.float32)
    run = grurt.ReferenceRun({"x": xs}, {"y": model.run(xs)}, "grurt")
    arranged: list[str] = []

    def counted(port: Any, tensor: Any, **options: bool) -> Any:
        arranged.append(port.name)
        return batch_first(port, tensor, **options)

    monkeypatch.setattr("grurt.runtime.replayed.batch_first", counted)
    monkeypatch.setattr("grurt.runtime.verify.batch_first", counted)
    assert model.replaced(reference_run=run).verify().ok
    assert sorted(arranged) == ["x", "y"]


def ill_conditioned(gates: tuple[int, ...] = (0, 1, 2)) -> grurt.Model:
    """Return a GRU whose large weights amplify rounding, with the answers of one whose gates are in this order."""
    rng = np.random.default_rng(0)
    layers = [grurt.GRU(name="gru", input_size=200, hidden_size=100, linear_before_reset=False)]
    shapes = layers[0].weight_shapes()
    weights = {f"gru.{name}": rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    xs = rng.normal(size=(24, 200)).astype(np.float32)
    plain = grurt.Model(layers=layers, weights=weights)
    answers, _ = reference.run(plain, {"x": xs}, {})
    own = {
        name: np.concatenate([np.split(array, 3)[gate] for gate in gates]) if ".weight" in name else array
        for name, array in weights.items()
    }
    run = grurt.ReferenceRun({"x": xs[None]}, {"y": answers["y"][None].astype(np.float32)}, "the oracle")
    return grurt.Model(layers=layers, weights=own, reference_run=run)


def test_a_network_that_amplifies_rounding_may_be_as_far_off_as_rounding_moves_it() -> None:
    found = ill_conditioned().verify()
    assert found.max_error > TOLERANCE
    assert found.ok
    assert TOLERANCE < found.tolerance < 0.1


def test_swapped_gates_show_in_it_too() -> None:
    found = ill_conditioned(gates=(1, 0, 2)).verify()
    assert not found.ok
    assert found.max_error > 10 * found.tolerance


def test_what_is_moved_stays_finite() -> None:
    largest = np.finfo(np.float32).max
    layer = grurt.Linear(name="fc", input_size=1, output_size=1, bias=False)
    run = grurt.ReferenceRun({"x": np.full((1, 1, 1), largest)}, {"y": np.ones((1, 1, 1), np.float32)}, "the oracle")
    model = grurt.Model(layers=[layer], weights={"fc.weight": np.full((1, 1), 0.5)}, reference_run=run)
    assert not model.verify().ok
