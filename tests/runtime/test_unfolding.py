"""Windows of timesteps: sequences that layers make shorter or longer, look ahead in, or stride over."""

from __future__ import annotations

import itertools
from typing import Any

import models
import numpy as np
import pytest
from oracle import assert_agrees, assert_close

import grurt
from grurt import reference
from grurt.network.layers import AnyLayer

KERNELS = [(1, 1, 1), (3, 1, 1), (2, 2, 1), (3, 2, 2), (4, 3, 1), (1, 2, 1)]
PADDINGS: list[Any] = [(0, 0), (1, 1), (2, 0), (0, 3), (-1, 0), (0, -2), (-1, 2), "same", "same_lower"]


def windows_of(*layers: AnyLayer, size: int = 3, **options: Any) -> grurt.Model:
    return models.layer_model(*layers, rng=np.random.default_rng(1), inputs=[grurt.Input("x", size)], **options)


def shown(*names: str) -> tuple[grurt.Output, ...]:
    return tuple(grurt.Output(name, name) for name in names)


@pytest.mark.parametrize("padding", PADDINGS, ids=str)
@pytest.mark.parametrize(("kernel_size", "stride", "dilation"), KERNELS)
def test_windows_of_sequences_of_any_length(kernel_size: int, stride: int, dilation: int, padding: Any) -> None:
    """Those that are too short are refused; what reads the windows runs over them as over any sequence."""
    layer = grurt.Unfold(name="u", kernel_size=kernel_size, stride=stride, dilation=dilation, padding=padding, fill=0.5)
    gru = grurt.GRU(name="gru", input_size=3 * kernel_size, hidden_size=4)
    model = windows_of(layer, gru, grurt.LastStep(name="last"), outputs=shown("u", "gru", "last"))
    rng = np.random.default_rng(2)
    for n_steps in range(1, 12):
        xs = rng.normal(size=(2, n_steps, 3)).astype(np.float32)
        if n_steps < layer.least_steps:
            message = (
                f"Model.run: layer 'u': expected at least {layer.least_steps} timesteps, got {n_steps}: run longer"
            )
            with pytest.raises(grurt.InputShapeError, match=message):
                model.run(xs)
            continue
        found = model.run(xs)
        assert found["u"].shape == (2, layer.window_count(n_steps), 3 * kernel_size)
        for row in range(2):
            for name, expected in reference.run(model, {"x": xs[row]})[0].items():
                assert_close(found[name][row], expected)


@pytest.mark.parametrize("padding", PADDINGS, ids=str)
@pytest.mark.parametrize(("kernel_size", "stride", "dilation"), KERNELS)
def test_lengths_are_those_of_the_sequences_alone(kernel_size: int, stride: int, dilation: int, padding: Any) -> None:
    layer = grurt.Unfold(name="u", kernel_size=kernel_size, stride=stride, dilation=dilation, padding=padding)
    model = windows_of(layer, grurt.GRU(name="gru", input_size=3 * kernel_size, hidden_size=4))
    xs = np.random.default_rng(3).normal(size=(5, 11, 3)).astype(np.float32)
    lengths = [max(length, layer.least_steps) for length in (7, 11, 8, 10, 11)]
    found = model.run(xs, lengths=lengths)
    for row, length in enumerate(lengths):
        alone = model.run(xs[row, :length])
        np.testing.assert_array_equal(found[row, : len(alone)], alone)
        assert not found[row, len(alone) :].any()


def test_lengths_that_do_not_fit() -> None:
    model = windows_of(grurt.Unfold(name="u", kernel_size=3), grurt.Linear(name="fc", input_size=9, output_size=2))
    xs = np.zeros((2, 5, 3), np.float32)
    with pytest.raises(grurt.InputValueError, match=r"lengths\[1\]: expected a length in \[1, 5\], got 6"):
        model.run(xs, lengths=[5, 6])
    with pytest.raises(grurt.InputShapeError, match="layer 'u': expected at least 3 timesteps, got 2"):
        model.run(xs, lengths=[5, 2])
    assert model.run(xs[:0]).shape == (0, 3, 2)
    with pytest.raises(grurt.InputShapeError, match="layer 'u': expected at least 3 timesteps, got 2"):
        model.run(xs[:0, :2])


@pytest.mark.parametrize("groups", [1, 3, 6])
@pytest.mark.parametrize(("before", "after", "dilation"), [(2, 2, 1), (0, 0, 2), (1, 3, 2), (4, 0, 1)])
def test_a_convolution_that_looks_ahead_is_the_causal_one(before: int, after: int, dilation: int, groups: int) -> None:
    """The same bits, where both give an answer; and what PyTorch gives everywhere."""
    torch = pytest.importorskip("torch")
    history = 2 * dilation
    convolution = grurt.Conv1d(
        name="c", input_size=6, output_size=12 if groups < 6 else 6, kernel_size=3, dilation=dilation, groups=groups
    )
    ends = grurt.Unfold(name="padded", padding=(max(0, before - history), after))
    ahead = grurt.Unfold(name="ahead", padding=(min(0, before - history), 0))
    model = windows_of(ends, convolution, ahead, size=6)
    xs = np.random.default_rng(4).normal(size=(13, 6)).astype(np.float32)
    found = model.run(xs)
    causal = windows_of(convolution, size=6).replaced(weights=model.weights).run(xs)
    first = max(0, history - before)
    if before <= history:
        np.testing.assert_array_equal(found[: len(xs) - first], causal[first:])
    torch_input = torch.nn.functional.pad(torch.from_numpy(xs.T[None].astype(np.float64)), (before, after))
    weight, bias = (torch.from_numpy(model.weights[f"c.{name}"].astype(np.float64)) for name in ("weight", "bias"))
    expected = torch.nn.functional.conv1d(torch_input, weight, bias, dilation=dilation, groups=groups)[0].T
    assert_close(found, expected.numpy())


def test_a_front_end_agrees_with_the_reference_in_every_batch() -> None:
    model = models.windows_model(np.random.default_rng(5))
    assert_agrees(model, np.random.default_rng(6))
    xs = np.random.default_rng(7).normal(size=(9, 10, 5)).astype(np.float32)
    batched = model.run(xs)
    for row in range(9):
        for name, expected in model.run(xs[row]).items():
            np.testing.assert_array_equal(batched[name][row], expected)


def test_stages_are_networks_of_their_own() -> None:
    """What a stage reads of others it is given: sequences and windows as inputs, vectors at every timestep."""
    model = models.windows_model(np.random.default_rng(8))
    xs = np.random.default_rng(9).normal(size=(10, 5)).astype(np.float32)
    expected = model.run(xs)
    kinds = [[layer.kind for layer in stage.layers] for stage in model.stages]
    assert kinds[0] == ["conv1d"]
    assert [stage.stages for stage in model.stages] == [(stage,) for stage in model.stages]
    (residual,) = (
        stage
        for stage in model.stages
        if "residual" in stage.values and "add" in {layer.kind for layer in stage.layers}
    )
    assert [port.name for port in residual.inputs] == ["ahead", "x"]
    ahead = expected["residual"] - xs
    np.testing.assert_allclose(
        residual.run({"ahead": ahead[None], "x": xs[None]})["residual"][0], ahead + xs, atol=1e-6
    )


def test_a_repeated_vector_begins_a_sequence_of_its_own() -> None:
    model = models.repeated_model(np.random.default_rng(20))
    assert_agrees(model, np.random.default_rng(21))
    xs = np.random.default_rng(22).normal(size=(9, 10, 5)).astype(np.float32)
    lengths = [10, 3, 1, 7, 10, 2, 5, 9, 4]
    batched = model.run(xs, lengths=lengths)
    assert (batched["fc"].shape, batched["reverse"].shape) == ((9, 7, 3), (9, 3, 3))
    for row, length in enumerate(lengths):
        for name, expected in model.run(xs[row, :length]).items():
            found = batched[name][row]
            np.testing.assert_array_equal(found[:length] if name == "again" else found, expected)
        assert not batched["again"][row, length:].any()
    with pytest.raises(grurt.StreamingError, match="layer 'repeated' repeats a vector that is known at the end of an"):
        model.delayed()
    only = windows_of(grurt.LastStep(name="end"), grurt.RepeatVector(name="twice", n_steps=2))
    with pytest.raises(grurt.StreamingError, match=r"end of another sequence: Model\.stages stream one by one"):
        only.stream()


def test_the_stages_of_a_forecaster_stream() -> None:
    model = models.repeated_model(np.random.default_rng(23))
    xs = np.random.default_rng(24).normal(size=(10, 5)).astype(np.float32)
    encoder, _, decoder, _ = model.stages
    end = encoder.stream().run(xs)[-1]
    stream = decoder.stream()
    assert [port.name for port in decoder.inputs] == ["repeated", "end"]
    steps = [stream.step({"repeated": end, "end": end})["fc"] for _ in range(7)]
    np.testing.assert_array_equal(np.stack(steps), model.run(xs)["fc"])


def test_vectors_of_sequences_of_different_lengths_are_joined() -> None:
    layers = [
        grurt.GRU(name="long", input_size=3, hidden_size=4),
        grurt.LastStep(name="end"),
        grurt.Unfold(name="u", inputs=("x",), kernel_size=2, stride=2),
        grurt.GRU(name="short", input_size=6, hidden_size=4),
        grurt.LastStep(name="other"),
        grurt.Unfold(name="v", inputs=("x",), stride=3),
        grurt.FirstStep(name="third"),
        grurt.Concat(name="ends", inputs=("end", "third", "other", "end")),
        grurt.Linear(name="fc", input_size=15, output_size=2),
    ]
    model = windows_of(*layers)
    assert len({model.values[name].stage for name in ("x", "u", "v")}) == 3
    assert_agrees(model, np.random.default_rng(10))


def test_lengths_that_agree_for_some_sequences_only() -> None:
    model = windows_of(
        grurt.Unfold(name="u", kernel_size=2, stride=2),
        grurt.Unfold(name="v", inputs=("x",), kernel_size=2, stride=2, padding=(0, 1)),
        grurt.Add(name="sum", inputs=("u", "v")),
        grurt.GRU(name="gru", input_size=6, hidden_size=2),
    )
    rng = np.random.default_rng(11)
    assert_agrees(model, rng, n_steps=8)
    message = "layers read 'u' and 'v' side by side, of which the one has 4 timesteps here and the other 5: run sequ"
    with pytest.raises(grurt.InputShapeError, match=message):
        model.run(rng.normal(size=(9, 3)))
    with pytest.raises(
        grurt.InputShapeError, match=r"reference: layer 'sum': expected inputs of one number of timesteps, got \[4, 5\]"
    ):
        reference.run(model, {"x": rng.normal(size=(9, 3))})


def test_a_decoder_begins_where_windows_end() -> None:
    layers = [
        grurt.Unfold(name="u", inputs=("source",), kernel_size=3, stride=2, padding="same"),
        grurt.GRU(name="encoder", input_size=9, hidden_size=4),
        grurt.LastStep(name="end"),
        grurt.GRU(name="decoder", inputs=("target", "end"), input_size=2, hidden_size=4, initial_state="value"),
        grurt.Unfold(name="w", kernel_size=2, padding=(0, 1)),
        grurt.Linear(name="fc", input_size=8, output_size=2),
    ]
    inputs = [grurt.Input("source", 3), grurt.Input("target", 2)]
    model = models.layer_model(*layers, rng=np.random.default_rng(12), inputs=inputs)
    rng = np.random.default_rng(13)
    batch = {"source": rng.normal(size=(2, 9, 3)), "target": rng.normal(size=(2, 4, 2))}
    found = model.run(batch)["y"]
    for row in range(2):
        expected = reference.run(model, {name: xs[row] for name, xs in batch.items()})[0]["y"]
        assert_close(found[row], expected)


def test_final_states_behind_windows_are_given() -> None:
    layers = [grurt.Unfold(name="u", kernel_size=2, stride=2), grurt.GRU(name="gru", input_size=6, hidden_size=4)]
    axes: Any = ("state", "batch", "feature")
    plain = windows_of(*layers).signature
    state = grurt.StatePort(name="h", states=("gru",), dtype="float32", axes=axes)
    given = grurt.StatePort(name="h0", states=("gru",), dtype="float32", axes=axes)
    signature = grurt.Signature((*plain.inputs, given), (*plain.outputs, state))
    model = windows_of(*layers, signature=signature)
    rng = np.random.default_rng(14)
    xs, start = rng.normal(size=(2, 7, 3)), rng.uniform(-0.9, 0.9, (1, 2, 4))
    found = model.run({"x": xs, "h0": start})
    for row in range(2):
        expected, states = reference.run(model, {"x": xs[row]}, {"gru": start[0, row]})
        assert_close(found["y"][row], expected["y"])
        assert_close(found["h"][0, row], states["gru"])


def test_numbers_that_are_not_finite() -> None:
    """Inputs are looked at, also those that nothing but windows reads; what layers make of them is not."""
    layer = grurt.Unfold(name="u", kernel_size=2)
    model = windows_of(layer, grurt.Linear(name="fc", input_size=6, output_size=2))
    xs = np.zeros((2, 4, 3), np.float32)
    xs[1, 2, 1] = np.inf
    message = (
        r"Model\.run: sequence 1: input 'x' at \[2, 1\]: expected finite numbers, got inf; clean the input, or comp"
    )
    with pytest.raises(grurt.InputValueError, match=message):
        model.run(xs)
    with pytest.raises(grurt.InputValueError, match=message):
        windows_of(grurt.Linear(name="fc", input_size=3, output_size=2), layer).run(xs)
    assert np.isfinite(model.run(xs, lengths=[4, 2])).all()
    assert not np.isfinite(model.run(xs, nonfinite="propagate")[1]).all()
    with pytest.raises(grurt.InputValueError, match='nonfinite: expected "refuse" or "propagate"'):
        model.run(xs, nonfinite="ignore")  # type: ignore[arg-type]
    overflow = windows_of(grurt.Activation(name="log", function=grurt.Log()), layer)
    assert np.isneginf(overflow.run(np.zeros((3, 3)))).all()


@pytest.mark.parametrize("weight_format", ["float16", "int8", "int4"])
def test_quantized(weight_format: Any) -> None:
    model = models.windows_model(np.random.default_rng(15))
    xs = np.random.default_rng(16).normal(size=(3, 12, 5)).astype(np.float32)
    small = model.quantize(weight_format, calibration=list(xs))
    for name, expected in model.run(xs).items():
        np.testing.assert_allclose(small.run(xs)[name], expected, rtol=0, atol=0.2)


REASONS: list[tuple[dict[str, Any], str]] = [
    ({"kernel_size": 3, "padding": (1, 1)}, "layer 'u' looks 1 timestep ahead"),
    ({"kernel_size": 5, "padding": "same"}, "layer 'u' looks 2 timesteps ahead"),
    ({"kernel_size": 4, "padding": "same"}, "layer 'u' looks 2 timesteps ahead"),
    ({"kernel_size": 4, "padding": "same_lower"}, "layer 'u' looks 1 timestep ahead"),
    ({"padding": (-3, 0)}, "layer 'u' looks 3 timesteps ahead"),
    ({"stride": 2}, "layer 'u' gives one timestep for every 2"),
    ({"padding": (0, 2)}, "layer 'u' adds 2 timesteps to the sequence, into which later layers look"),
    ({"padding": (0, -1)}, "layer 'u' leaves the last 1 timestep out"),
    ({"kernel_size": 3, "padding": (2, 0)}, "layer 'u' gives windows of whole sequences"),
]


@pytest.mark.parametrize(("options", "reason"), REASONS, ids=str)
def test_why_it_does_not_stream(options: dict[str, Any], reason: str) -> None:
    model = windows_of(grurt.Unfold(name="u", **options), grurt.LastStep(name="last"))
    assert model.unstreamable_reason == reason
    for make in (model.stream, model.pool, lambda: model.plan):
        with pytest.raises(grurt.StreamingError, match=reason):
            make()


def test_costs_count_the_timesteps_that_are_added() -> None:
    plain, padded, twice = (
        windows_of(*(grurt.Unfold(name=f"u{i}", padding=(0, 500)) for i in range(count)), grurt.LastStep(name="last"))
        for count in (0, 1, 2)
    )
    assert [model.costs.added_timesteps for model in (plain, padded, twice)] == [0, 500, 1000]
    assert padded.costs.run_bytes(1, 1) > 500 * padded.costs.arrays
    assert padded.costs.bytes > plain.costs.bytes + 500 * padded.costs.arrays
    with pytest.raises(
        grurt.ModelError, match=r"the model and a stream of it take [\d,]+ bytes of memory, expected at"
    ):
        windows_of(grurt.Unfold(name="u", padding=(0, 1 << 20)), size=64)
    with pytest.raises(grurt.ModelError, match=r"a timestep takes [\d,]+ operations, expected at most [\d,]+: allow"):
        windows_of(*padded.layers, limits=grurt.Limits(max_operations=100 * padded.costs.operations))
    with pytest.raises(grurt.ModelError, match=r"replaying the reference run takes .* operations, expected at most"):
        grurt.Limits(max_operations=padded.costs.operations).check_run(padded.costs, 1, 1)


def test_the_length_of_any_chain_is_that_of_one_rule() -> None:
    """Rounding down twice is rounding down once: what a network knows of lengths is what running it shows."""
    for first, second in itertools.product(KERNELS, KERNELS):
        layers = [
            grurt.Unfold(name="u", kernel_size=first[0], stride=first[1], dilation=first[2], padding=(1, 2)),
            grurt.Unfold(name="v", kernel_size=second[0], stride=second[1], dilation=second[2], padding="same"),
        ]
        model = windows_of(*layers, size=1)
        found = [len(model.run(np.zeros((n_steps, 1)))) for n_steps in range(5, 14)]
        one, two = layers
        assert found == [two.window_count(one.window_count(n_steps)) for n_steps in range(5, 14)]
