"""Model.run: whole sequences and batches of them, from plain arrays or in the source's own names and shapes."""

from __future__ import annotations

from typing import Any

import models
import numpy as np
import pytest

import grurt
from grurt import reference
from grurt.errors import GrurtError, InputShapeError, InputTypeError, InputValueError
from grurt.network.signature import Axis, Port

TOLERANCE = 2e-6
INPUT, HIDDEN, OUTPUT = 3, 5, 2
BATCH, STEPS = 4, 7


def layers(*extra: Any) -> tuple[Any, ...]:
    """Return two GRUs, ``extra``, and a Linear head."""
    return (
        grurt.GRU(name="gru0", input_size=INPUT, hidden_size=HIDDEN, initial_state="learned"),
        grurt.GRU(name="gru1", input_size=HIDDEN, hidden_size=HIDDEN, initial_state="learned"),
        *extra,
        grurt.Linear(name="head", input_size=HIDDEN, output_size=OUTPUT),
    )


def model_of(*extra: Any, **options: Any) -> grurt.Model:
    return models.layer_model(*layers(*extra), rng=np.random.default_rng(21), **options)


def value_port(name: str, *axes: Axis, value: str = "", dtype: Any = "float32") -> grurt.ValuePort:
    return grurt.ValuePort(name=name, value=value or name, dtype=dtype, axes=axes)


def state_port(name: str, *axes: Axis, states: tuple[str, ...] = ("gru0", "gru1"), dtype: Any = "float32") -> Port:
    return grurt.StatePort(name=name, states=states, dtype=dtype, axes=axes)


PLAIN = model_of()
LAST = model_of(grurt.LastStep(name="last"))
REVERSE = models.layer_model(
    grurt.GRU(name="ahead", inputs=("x",), input_size=INPUT, hidden_size=HIDDEN),
    grurt.GRU(name="back", inputs=("x",), input_size=INPUT, hidden_size=HIDDEN, direction="reverse"),
    grurt.FirstStep(name="last of back", inputs=("back",)),
    grurt.LastStep(name="last of ahead", inputs=("ahead",)),
    grurt.Concat(name="ends", inputs=("last of ahead", "last of back")),
    inputs=(grurt.Input("x", INPUT),),
    outputs=(grurt.Output("all", "back"), grurt.Output("ends", "ends")),
    rng=np.random.default_rng(22),
)
WITH_STATES = model_of(
    signature=grurt.Signature(
        (value_port("x", "time", "batch", "feature"), state_port("h", "state", "batch", "feature")),
        (value_port("y", "time", "batch", "feature"), state_port("h_n", "batch", "state", "feature", dtype="float64")),
    )
)

XS = np.random.default_rng(23).normal(size=(BATCH, STEPS, INPUT)).astype(np.float32)
STATES = np.random.default_rng(24).uniform(-0.9, 0.9, (2, BATCH, HIDDEN)).astype(np.float32)
LENGTHS = np.array([7, 1, 3, 6])


def truth(model: grurt.Model, xs: Any, states: Any = None) -> dict[str, Any]:
    """Return the reference's outputs for a batch, and its final states under ``"states"``: all batch-first."""
    rows = [
        reference.run(
            model, {"x": x}, {} if states is None else dict(zip(("gru0", "gru1"), states[:, row], strict=True))
        )
        for row, x in enumerate(xs)
    ]
    outputs = {name: np.stack([outputs[name] for outputs, _ in rows]) for name in rows[0][0]}
    return outputs | {"states": np.stack([np.stack(list(final.values())) for _, final in rows])}


def assert_close(found: Any, expected: Any) -> None:
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert found.flags.writeable
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
    assert found.shape == np.shape(expected)


@pytest.mark.parametrize("model", [PLAIN, LAST], ids=["every step", "last step"])
def test_one_sequence_and_a_batch(model: grurt.Model) -> None:
    expected = truth(model, XS)["y"]
    batch = model.run(XS)
    assert_close(batch, expected)
    for row in range(BATCH):
        alone = model.run(XS[row])
        assert_close(alone, expected[row])
        np.testing.assert_array_equal(alone, batch[row])
        np.testing.assert_array_equal(model.run({"x": XS})["y"], batch)


def test_several_outputs_come_by_name() -> None:
    expected = truth(REVERSE, XS)
    batch = REVERSE.run(XS)
    assert list(batch) == ["all", "ends"]
    alone = REVERSE.run(XS[2])
    for name, answer in batch.items():
        assert_close(answer, expected[name])
        np.testing.assert_array_equal(alone[name], answer[2])


@pytest.mark.parametrize("model", [PLAIN, LAST, REVERSE], ids=["every step", "last step", "both directions"])
def test_lengths(model: grurt.Model) -> None:
    """What lies beyond a length is not read, and zero in the answers; the rest is that of the short sequence."""
    xs = XS.copy()
    for x, length in zip(xs, LENGTHS, strict=True):
        x[length:] = np.nan
    found = model.run(xs, lengths=LENGTHS)
    found = found if isinstance(found, dict) else {"y": found}
    for row, length in enumerate(LENGTHS):
        alone = model.run(XS[row, :length])
        alone = alone if isinstance(alone, dict) else {"y": alone}
        for name, answer in found.items():
            kept = answer[row, :length] if answer.ndim == 3 else answer[row]
            np.testing.assert_array_equal(kept, alone[name], strict=True)
            assert not answer[row, length:].any() or answer.ndim == 2


def test_lengths_of_every_integer_dtype() -> None:
    expected = PLAIN.run(XS, lengths=LENGTHS)
    for lengths in (LENGTHS.tolist(), LENGTHS.astype(np.uint8), LENGTHS.astype(">i4")):
        np.testing.assert_array_equal(PLAIN.run(XS, lengths=lengths), expected)
    np.testing.assert_array_equal(PLAIN.run({"x": XS}, lengths=LENGTHS)["y"], expected)


def test_an_empty_batch() -> None:
    assert PLAIN.run(XS[:0]).shape == (0, STEPS, OUTPUT)
    assert LAST.run(XS[:0], lengths=np.zeros(0, int)).shape == (0, OUTPUT)
    found = WITH_STATES.run({"x": np.zeros((STEPS, 0, INPUT))})
    assert (found["y"].shape, found["h_n"].shape) == ((STEPS, 0, OUTPUT), (0, 2, HIDDEN))


def test_other_arrays_are_converted() -> None:
    xs = np.sign(XS)
    expected = PLAIN.run(xs)
    for same in (xs.astype(np.float64), xs.astype(np.int8), xs.astype(">f4"), xs.tolist(), np.asfortranarray(xs)):
        np.testing.assert_array_equal(PLAIN.run(same), expected)


def test_nothing_is_kept_from_one_call_to_the_next() -> None:
    expected = PLAIN.run(XS)
    WITH_STATES.run({"x": XS, "h": np.ones((2, STEPS, HIDDEN))})
    first = PLAIN.run(XS)
    first.fill(np.nan)
    np.testing.assert_array_equal(PLAIN.run(XS), expected)


def test_tokens() -> None:
    embedding = grurt.Embedding(name="embed", vocabulary_size=9, size=INPUT)
    model = models.layer_model(embedding, *layers(), rng=np.random.default_rng(25))
    tokens = np.random.default_rng(26).integers(0, 9, (BATCH, STEPS))
    expected = truth(model, tokens)["y"]
    assert_close(model.run(tokens), expected)
    assert_close(model.run(tokens[0].tolist()), expected[0])
    assert_close(model.run({"x": tokens.astype(np.uint8)})["y"], expected)
    time_major = grurt.Signature(
        (value_port("ids", "time", "batch", value="x", dtype="int32"),), model.signature.outputs
    )
    turned = models.layer_model(embedding, *layers(), rng=np.random.default_rng(25), signature=time_major)
    assert_close(turned.run({"ids": tokens.T})["y"], expected)


AXES: dict[str, tuple[tuple[Axis, ...], Any]] = {
    "batch-first": (("batch", "time", "feature"), lambda batch: batch),
    "time-major": (("time", "batch", "feature"), lambda batch: batch.transpose(1, 0, 2)),
    "features first": (("feature", "batch", "time"), lambda batch: batch.transpose(2, 0, 1)),
    "unbatched": (("time", "feature"), lambda batch: batch[0]),
    "one direction": (("time", "one", "batch", "feature"), lambda batch: batch.transpose(1, 0, 2)[:, np.newaxis]),
}


@pytest.mark.parametrize("inner", AXES)
@pytest.mark.parametrize("outer", AXES)
def test_the_sources_axis_orders(inner: str, outer: str) -> None:
    (in_axes, to_source), (out_axes, expected) = AXES[inner], AXES[outer]
    signature = grurt.Signature((value_port("in", *in_axes, value="x"),), (value_port("out", *out_axes, value="y"),))
    model = model_of(signature=signature)
    unbatched = "unbatched" in (inner, outer)
    xs = XS[:1] if unbatched else XS
    found = model.run({"in": to_source(xs)})
    assert list(found) == ["out"]
    assert_close(found["out"], expected(truth(model, xs)["y"]))


def test_one_timestep_without_a_time_axis() -> None:
    """A cell: one timestep and the state in, the answer and the state out."""
    model = model_of(
        signature=grurt.Signature(
            (value_port("x", "batch", "feature"), state_port("h", "batch", "feature", states=("gru0",))),
            (value_port("y", "batch", "feature"), state_port("h_n", "batch", "feature", states=("gru1",))),
        )
    )
    found = model.run({"x": XS[:, 0], "h": STATES[0]})
    initial = np.broadcast_to(model.weights["gru1.initial_state"], (BATCH, HIDDEN))
    expected = truth(model, XS[:, :1], np.stack([STATES[0], initial]))
    assert_close(found["y"], expected["y"][:, 0])
    assert_close(found["h_n"], expected["states"][:, 1])


def test_states_in_and_out() -> None:
    expected = truth(WITH_STATES, XS, STATES)
    found = WITH_STATES.run({"h": STATES, "x": XS.transpose(1, 0, 2)})
    assert list(found) == ["y", "h_n"]
    assert_close(found["y"], expected["y"].transpose(1, 0, 2))
    assert found["h_n"].dtype == np.float64
    np.testing.assert_allclose(found["h_n"], expected["states"], rtol=0, atol=TOLERANCE)


def test_a_state_that_is_left_out_is_the_models_initial_state() -> None:
    found = WITH_STATES.run({"x": XS.transpose(1, 0, 2)})
    assert_close(found["y"], truth(WITH_STATES, XS)["y"].transpose(1, 0, 2))


def test_states_continue_a_sequence() -> None:
    """As with an ONNX session in a loop: the states that come out go in again."""
    xs = XS.transpose(1, 0, 2)
    whole = WITH_STATES.run({"x": xs, "h": STATES})
    first = WITH_STATES.run({"x": xs[:3], "h": STATES})
    second = WITH_STATES.run({"x": xs[3:], "h": first["h_n"].transpose(1, 0, 2)})
    np.testing.assert_array_equal(np.concatenate([first["y"], second["y"]]), whole["y"])
    np.testing.assert_array_equal(second["h_n"], whole["h_n"])


def test_the_final_states_are_those_at_the_lengths() -> None:
    found = WITH_STATES.run({"x": XS.transpose(1, 0, 2), "h": STATES}, lengths=LENGTHS)
    for row, length in enumerate(LENGTHS):
        expected = truth(WITH_STATES, XS[row : row + 1, :length], STATES[:, row : row + 1])
        np.testing.assert_allclose(found["h_n"][row], expected["states"][0], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_sources_dtypes(dtype: Any) -> None:
    port_in = value_port("x", "batch", "time", "feature", dtype=dtype)
    port_out = value_port("y", "batch", "time", "feature", dtype=dtype)
    found = model_of(signature=grurt.Signature((port_in,), (port_out,))).run({"x": XS.astype(dtype)})["y"]
    expected = PLAIN.run(XS.astype(dtype)).astype(dtype)
    np.testing.assert_array_equal(found, expected, strict=True)


def test_the_answer_after_nan_where_it_is_let_through() -> None:
    xs = XS.copy()
    xs[1, 3, 2] = np.nan
    found = PLAIN.run(xs, nonfinite="propagate")
    assert np.isnan(found[1, 3:]).all()
    np.testing.assert_array_equal(found[[0, 2, 3]], PLAIN.run(XS)[[0, 2, 3]])
    np.testing.assert_array_equal(found[1, :3], PLAIN.run(XS)[1, :3])


def test_a_sequence_longer_than_any_block() -> None:
    """Both directions: what needs the whole sequence is not cut into blocks."""
    xs = np.random.default_rng(27).normal(size=(1, 700, INPUT)).astype(np.float32)
    for model in (LAST, REVERSE):
        found, expected = model.run({"x": xs}), truth(model, xs)
        for name, answer in found.items():
            assert_close(answer, expected[name])


def test_a_sequence_that_does_not_fit_into_memory_is_refused() -> None:
    wide = [grurt.Linear(name="wide", input_size=1, output_size=1 << 16, bias=False)]
    wide += [grurt.Concat(name=f"wider{i}", inputs=("wide",) * 16) for i in range(8)]
    model = models.layer_model(*wide, grurt.FirstStep(name="first"), rng=np.random.default_rng(28))
    expected = "^Model.run: this model needs the whole sequence at once, and 200 timesteps take 7 GiB: run shorter"
    with pytest.raises(InputShapeError, match=expected):
        model.run(np.zeros((200, 1)))


TWO_INPUTS = models.layer_model(
    grurt.Add(name="sum", inputs=("a", "b")),
    inputs=(grurt.Input("a", 1), grurt.Input("b", 1)),
    rng=np.random.default_rng(29),
)


def changed(*index: int) -> Any:
    xs = XS.copy()
    xs[index] = np.inf
    return xs


BAD_ARRAYS: dict[str, tuple[grurt.Model, Any, dict[str, Any], type[GrurtError], str]] = {
    "no timestep": (PLAIN, XS[:, :0], {}, InputShapeError, "Model.run: expected at least 1 timestep, got 0$"),
    "no timestep in one": (LAST, XS[0, :0], {}, InputShapeError, "Model.run: expected at least 1 timestep, got 0$"),
    "features": (PLAIN, XS[0, 0], {}, InputShapeError, r"Model.run: expected shape \(n_steps, 3\), got \(3,\)$"),
    "size": (PLAIN, XS[:, :, 1:], {}, InputShapeError, r"expected shape \(batch, n_steps, 3\), got \(4, 7, 2\)$"),
    "axes": (PLAIN, XS[None], {}, InputShapeError, r"expected shape \(n_steps, 3\), got \(1, 4, 7, 3\)$"),
    "ragged": (PLAIN, [[[1, 2, 3]], [[1]]], {}, InputShapeError, "Model.run: expected a rectangular array of numbers"),
    "complex": (
        PLAIN,
        XS * 1j,
        {},
        InputTypeError,
        "expected real numbers, convertible to float32, got dtype complex64$",
    ),
    "strings": (PLAIN, "abc", {}, InputTypeError, "Model.run: expected real numbers, .* got dtype <U3$"),
    "infinite": (PLAIN, changed(2, 5, 1), {}, InputValueError, r"sequence 2: input 'x' at \[5, 1\]: .* got inf"),
    "nonfinite": (PLAIN, XS, {"nonfinite": "drop"}, InputValueError, "nonfinite: expected \"refuse\".* got 'drop'$"),
    "two inputs": (TWO_INPUTS, XS, {}, InputTypeError, r"run: expected a mapping with the inputs \['a', 'b'\], got nd"),
    "lengths of one": (
        PLAIN,
        XS[0],
        {"lengths": [7]},
        InputShapeError,
        "lengths are for a batch of sequences, got one",
    ),
    "lengths dtype": (
        PLAIN,
        XS,
        {"lengths": [1.0] * 4},
        InputTypeError,
        "expected integer lengths, got dtype float64$",
    ),
    "lengths shape": (PLAIN, XS, {"lengths": [1]}, InputShapeError, r"lengths: expected shape \(4,\), got \(1,\)$"),
    "length 0": (
        PLAIN,
        XS,
        {"lengths": [1, 0, 7, 9]},
        InputValueError,
        r"lengths\[1\]: expected a length in \[1, 7\], got 0",
    ),
    "length 8": (
        PLAIN,
        XS,
        {"lengths": [1, 7, 7, 8]},
        InputValueError,
        r"lengths\[3\]: expected a length in \[1, 7\], got 8",
    ),
}


@pytest.mark.parametrize(("model", "xs", "options", "error", "message"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_bad_arrays(model: grurt.Model, xs: Any, options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        model.run(xs, **options)


NO_BATCH_AXES = grurt.Signature(
    (value_port("x", "batch", "time", "feature"), state_port("h", "state", "feature")),
    (value_port("y", "batch", "time", "feature"),),
)
NO_OUTPUT_TIME = grurt.Signature((value_port("x", "batch", "time", "feature"),), (value_port("y", "batch", "feature"),))
NO_OUTPUT_BATCH = grurt.Signature((value_port("x", "batch", "time", "feature"),), (value_port("y", "time", "feature"),))
MIXED_TIME = grurt.Signature((value_port("a", "batch", "time"), value_port("b", "batch")), TWO_INPUTS.signature.outputs)

STEPPED = XS.transpose(1, 0, 2)

BAD_TENSORS: dict[str, tuple[grurt.Model, dict[str, Any], type[GrurtError], str]] = {
    "unknown": (PLAIN, {"x": XS, "z": 1}, InputShapeError, r"expected inputs among \['x'\], got 'z'$"),
    "missing": (WITH_STATES, {"h": STATES}, InputShapeError, r"expected the inputs \['x', 'h'\], got no 'x'$"),
    "none": (TWO_INPUTS, {}, InputShapeError, r"expected the inputs \['a', 'b'\], got no 'a', 'b'$"),
    "shape": (
        WITH_STATES,
        {"x": XS[0]},
        InputShapeError,
        r"input 'x': expected shape \(time, batch, 3\), got \(7, 3\)$",
    ),
    "size": (
        WITH_STATES,
        {"x": XS[..., 1:]},
        InputShapeError,
        r"'x': expected shape \(time, batch, 3\), got \(4, 7, 2\)$",
    ),
    "state": (
        WITH_STATES,
        {"x": STEPPED, "h": STATES[:1]},
        InputShapeError,
        r"input 'h': expected shape \(2, batch, 5\), got \(1, 4, 5\)$",
    ),
    "one": (
        model_of(signature=grurt.Signature((value_port("x", "one", "time", "feature"),), PLAIN.signature.outputs)),
        {"x": XS},
        InputShapeError,
        r"input 'x': expected shape \(1, time, 3\), got \(4, 7, 3\)$",
    ),
    "dtype": (PLAIN, {"x": XS * 1j}, InputTypeError, "input 'x': expected real numbers, .* complex64$"),
    "no timestep": (PLAIN, {"x": XS[:, :0]}, InputShapeError, "expected at least 1 timestep, got 0$"),
    "batch sizes": (
        WITH_STATES,
        {"x": STEPPED, "h": STATES[:, 1:]},
        InputShapeError,
        "input 'h': expected a batch size of 4, as 'x' has, got 3$",
    ),
    "time sizes": (
        TWO_INPUTS,
        {"a": np.zeros((1, 5, 1)), "b": np.zeros((1, 6, 1))},
        InputShapeError,
        "input 'b': expected a time size of 5, as 'a' has, got 6$",
    ),
    "an input without batch": (
        model_of(signature=NO_BATCH_AXES),
        {"h": STATES[:, 0], "x": XS},
        InputShapeError,
        "input 'h' has no batch axis in the source, but 'x' has a batch size of 4$",
    ),
    "an input without time": (
        models.layer_model(
            *TWO_INPUTS.layers, inputs=TWO_INPUTS.inputs, rng=np.random.default_rng(29), signature=MIXED_TIME
        ),
        {"a": np.zeros((2, 5)), "b": np.zeros(2)},
        InputShapeError,
        "input 'b' has no time axis in the source, but 'a' has a time size of 5$",
    ),
    "an output without time": (
        model_of(signature=NO_OUTPUT_TIME),
        {"x": XS},
        InputShapeError,
        "output 'y' has no time axis in the source, but the inputs have a time size of 7$",
    ),
    "an output without batch": (
        model_of(signature=NO_OUTPUT_BATCH),
        {"x": XS},
        InputShapeError,
        "output 'y' has no batch axis in the source, but the inputs have a batch size of 4$",
    ),
    "infinite": (PLAIN, {"x": changed(1, 0, 2)}, InputValueError, r"sequence 1: input 'x' at \[0, 2\]: .* got inf"),
    "infinite state": (
        WITH_STATES,
        {"x": STEPPED, "h": STATES * np.inf},
        InputValueError,
        "state 'h': expected finite numbers, got a NaN or an infinity$",
    ),
}


@pytest.mark.parametrize(("model", "tensors", "error", "message"), BAD_TENSORS.values(), ids=BAD_TENSORS)
def test_bad_tensors(model: grurt.Model, tensors: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=f"^Model.run: .*{message}"):
        model.run(tensors)


def test_infinite_states_are_taken_where_they_are_let_through() -> None:
    found = WITH_STATES.run({"x": STEPPED, "h": np.full((2, BATCH, HIDDEN), np.nan)}, nonfinite="propagate")
    assert np.isnan(found["y"]).all()


def test_an_error_in_a_batch_names_the_sequence() -> None:
    model = models.gru_model(2, 3, np.random.default_rng(95))
    with pytest.raises(grurt.InputValueError, match=r"^Model.run: sequence 1: input 'x' at \[2, 0\]: expected finite"):
        model.run([[[0, 0]] * 3, [[0, 0], [0, 0], [np.nan, 0]]])


@pytest.mark.parametrize("dtype", ["int32", "float16"])
def test_what_is_no_number_of_the_sources_type_is_given_without_a_warning(dtype: Any) -> None:
    layers = [grurt.Activation(name="log", function=grurt.Log())]
    model = grurt.Model(layers=layers, weights={}, inputs=[grurt.Input("x", 3)])
    port = grurt.ValuePort(name="y", value="y", dtype=dtype, axes=("batch", "time", "feature"))
    model = model.replaced(signature=grurt.Signature(model.signature.inputs, (port,)))
    assert model.run({"x": np.float32([[[0, -1, 1]]])})["y"].dtype == dtype
