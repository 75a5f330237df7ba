"""What a network costs is known before it is paid: the engine never allocates more, and what may be is limited."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import every_layer
import models
import numpy as np
import pytest
from encoders import encoder_decoder
from memory import memory_peak

import grurt
from grurt.network.costs import MAX_OPERATIONS, Limits, block_rows, costs
from grurt.network.reference_run import run_size
from grurt.network.signature import default_signature
from grurt.network.values import connect, infer_values, state_shapes


def costly_models() -> Iterator[tuple[str, grurt.Model]]:
    """Yield models of every layer, and of those that take much more memory than their weights."""
    yield from every_layer.all_models().items()
    rng = np.random.default_rng(51)
    layers = {
        "one output": grurt.Linear(name="l", input_size=5000, output_size=1),
        "one unit": grurt.GRU(name="l", input_size=700, hidden_size=1),
        "one unit, reset before": grurt.GRU(name="l", input_size=700, hidden_size=1, linear_before_reset=False),
        "many groups": grurt.Conv1d(name="l", input_size=2000, output_size=4000, kernel_size=3, groups=2000),
        "few groups": grurt.Conv1d(name="l", input_size=6, output_size=150, kernel_size=7, groups=3, dilation=9),
        "depthwise": grurt.Conv1d(name="l", input_size=33, output_size=33, kernel_size=50, groups=33),
        "long history": grurt.Conv1d(name="l", input_size=1, output_size=1, kernel_size=2, dilation=90_000),
        "embedding of one": grurt.Embedding(name="l", vocabulary_size=3000, size=1),
        "no weights": grurt.LayerNorm(name="l", size=3000, weight=False, bias=False),
    }
    for name, layer in layers.items():
        model = models.layer_model(layer, rng=rng)
        yield name, model
        if models.can_be_quantized(layer):
            for weights in ("float16", "int8"):
                yield f"{name} {weights}", model.quantize(weights)
    yield (
        "adds",
        models.layer_model(
            *(grurt.Add(name=f"l{i}", inputs=("x",) * 64) for i in range(20)), rng=rng, inputs=[grurt.Input("x", 1)]
        ),
    )
    yield (
        "one value in many outputs",
        models.layer_model(
            grurt.Activation(name="l", function=grurt.Relu()),
            rng=rng,
            inputs=[grurt.Input("x", 100)],
            outputs=[grurt.Output(f"y{i}", "l") for i in range(300)],
        ),
    )
    yield "encoder and decoder", encoder_decoder(rng)
    for scan in ("time", "positions"):
        grid = models.layer_model(
            grurt.Unflatten(name="grid", positions=500),
            grurt.GRU(name="l", input_size=2, hidden_size=3, scan=scan),
            grurt.Linear(name="fc", input_size=3, output_size=2),
            grurt.Flatten(name="flat"),
            rng=rng,
            inputs=[grurt.Input("x", 1000)],
        )
        yield f"grid {scan}", grid
        yield f"grid {scan} int8", grid.quantize("int8")


MODELS = dict(costly_models())
STREAMING = [name for name, model in MODELS.items() if model.unstreamable_reason is None]


@pytest.fixture(scope="module", autouse=True)
def _engine_is_loaded() -> None:
    MODELS["gru 1 True"].stream().step(np.zeros(7))  # which imports what converts it


@pytest.mark.parametrize("name", MODELS)
def test_no_part_of_a_model_takes_more_than_its_costs_say(name: str) -> None:
    model = MODELS[name]
    for stage in model.stages:
        costs, plan = stage.costs, stage.plan
        row = 4 * plan.scratch_size
        assert costs.weights == sum(array.nbytes for array in stage.weights.values())
        loosely = 24 if any(isinstance(layer, grurt.Program) for layer in stage.layers) else 2
        assert plan.weights.nbytes <= costs.packed_weights
        assert costs.packed_weights <= loosely * plan.weights.nbytes + 1024 * len(stage.layers)
        assert plan.operations.nbytes <= costs.tables
        assert plan.initial_state.nbytes == costs.states
        assert row <= costs.values <= loosely * row
        assert block_rows(row) * row <= costs.block_bytes
        assert costs.multiply_adds <= costs.operations
    for part in ("packed_weights", "tables", "states", "values", "arrays", "operations"):
        assert sum(getattr(stage.costs, part) for stage in model.stages) <= getattr(model.costs, part)


@pytest.mark.parametrize("name", STREAMING)
def test_a_stream_and_its_step_take_no_more_than_the_costs_say(name: str) -> None:
    model = unlowered(MODELS[name])
    inputs = models.random_inputs(model.inputs, 1, np.random.default_rng(52))
    step = {port: xs[0].astype(np.float64) if xs.ndim > 1 else int(xs[0]) for port, xs in inputs.items()}
    with memory_peak() as peak:
        stream = model.stream()
        answer = stream.step(step)
    assert answer is not None
    assert peak.bytes <= model.costs.bytes - model.costs.weights + objects(model)


@pytest.mark.parametrize("name", MODELS)
def test_whole_sequences_and_replaying_take_no_more_than_the_costs_say(name: str) -> None:
    model = unlowered(with_a_run(MODELS[name]))
    run = model.reference_run
    assert run is not None
    sequences, timesteps = run_size(run, model.signature, model.values)
    assert (sequences, timesteps) == (2, 60)
    with memory_peak() as peak:
        model.verify()
    allowed = model.costs.run_bytes(sequences, timesteps) - model.costs.weights
    assert peak.bytes <= allowed + objects(model) + (timesteps << 12)


def test_padded_sequences_take_no_more_than_the_costs_say() -> None:
    model = models.gru_model(5, 60, np.random.default_rng(59), output_size=200)
    ports = (*model.signature.inputs, grurt.LengthsPort(name="lengths", dtype="int64", axes=("batch",)))
    model = model.replaced(signature=grurt.Signature(ports, model.signature.outputs))
    lengths = np.arange(1, 41)
    with memory_peak() as peak:
        model.run({"x": np.zeros((40, 40, 5), np.float32), "lengths": lengths})
    assert peak.bytes <= model.costs.run_bytes(40, 1600) - model.costs.weights + objects(model)


def unlowered(model: grurt.Model) -> grurt.Model:
    """Return an equal model for which the engine keeps nothing yet."""
    return model.replaced(source=grurt.Source(format="test"))


def with_a_run(model: grurt.Model) -> grurt.Model:
    """Return a model whose reference run has two sequences of thirty timesteps, and answers of its own."""
    rng = np.random.default_rng(53)
    inputs = {
        port.name: np.stack([models.random_inputs([port], 30, rng)[port.name] for _ in range(2)])
        for port in model.inputs
    }
    plain = model.replaced(signature=None, reference_run=None)
    answers = plain.run(inputs)
    return plain.replaced(reference_run=grurt.ReferenceRun(inputs, dict(answers), "grurt"))


def objects(model: grurt.Model) -> int:
    """Return the bytes of Python's own objects."""
    return (1 << 16) + 4096 * len(model.layers)


def test_what_a_model_may_cost_is_limited() -> None:
    rng = np.random.default_rng(54)
    model = models.gru_model(5, 40, rng)
    costs = model.costs
    assert model.limits == Limits(None, MAX_OPERATIONS)
    for limits in (Limits(costs.bytes), Limits(max_operations=costs.operations)):
        assert model.replaced(limits=limits).limits is limits
    with pytest.raises(grurt.ModelError, match=rf"the model and a stream of it take {costs.bytes:,} bytes of memory"):
        model.replaced(limits=Limits(costs.bytes - 1))
    with pytest.raises(
        grurt.ModelError,
        match=rf"a timestep takes {costs.operations:,} operations, expected at most "
        rf"{costs.operations - 1:,}: allow more with max_operations={costs.operations}$",
    ):
        model.replaced(limits=Limits(max_operations=costs.operations - 1))


@pytest.mark.parametrize(
    "layer",
    [grurt.Reduce(name="l", inputs=("x",), operation="argmax"), grurt.FeatureMask(name="l", inputs=("x",))],
    ids=lambda layer: layer.kind,
)
def test_going_through_features_is_work_however_few_are_written(layer: Any) -> None:
    model = grurt.Model(layers=[layer], weights={}, inputs=[grurt.Input("x", 1 << 20)])
    assert model.costs.operations >= 16 << 20


def test_replaying_is_limited() -> None:
    model = with_a_run(models.gru_model(5, 40, np.random.default_rng(55)))
    needed = model.costs.run_bytes(2, 60)
    with pytest.raises(grurt.ModelError, match=rf"replaying the reference run takes {needed:,} bytes of memory"):
        model.replaced(limits=Limits(needed - 1)).verify()
    assert model.replaced(limits=Limits(needed)).verify().ok
    long = np.zeros((1, 300, 5), np.float32)
    run = grurt.ReferenceRun({"x": long}, {"y": np.zeros((1, 300, 40), np.float32)}, "grurt")
    operations = model.costs.operations
    limited = model.replaced(reference_run=run, limits=Limits(max_operations=operations))
    with pytest.raises(
        grurt.ModelError,
        match=rf"replaying the reference run takes {300 * operations:,} operations, expected at most "
        rf"{256 * operations:,}: allow more with max_operations=",
    ):
        limited.verify()


def test_what_is_made_of_a_model_has_its_limits() -> None:
    limits = Limits(1 << 30, 1 << 40)
    model = models.gru_model(5, 40, np.random.default_rng(56)).replaced(limits=limits)
    assert model.quantize("int8").limits is limits
    assert grurt.Model.from_network(model).limits is limits


def test_the_parts_of_a_model_that_costs_all_that_it_may_can_be_used() -> None:
    model = encoder_decoder(np.random.default_rng(57))
    model = model.replaced(limits=Limits(model.costs.bytes, model.costs.operations))
    inputs = models.random_inputs(model.inputs, 5, np.random.default_rng(58))
    assert len(model.stages) == 2
    assert model.run({name: xs[np.newaxis] for name, xs in inputs.items()})


@pytest.mark.parametrize(
    "layers",
    [
        [grurt.GRU(name=f"gru{i}", input_size=512, hidden_size=512) for i in range(8)],
        [grurt.GRU(name=f"gru{i}", input_size=1440, hidden_size=1440) for i in range(2)],
        [grurt.Embedding(name="e", vocabulary_size=1 << 18, size=512)],
        [grurt.Conv1d(name=f"c{i}", input_size=256, output_size=256, kernel_size=3, dilation=1 << i) for i in range(9)],
        [
            grurt.Unflatten(name="grid", positions=257),
            grurt.GRU(name="gru", input_size=64, hidden_size=64),
            grurt.GRU(name="across", input_size=64, hidden_size=64, scan="positions"),
        ],
    ],
    ids=["8 GRUs of 512", "100 MB", "512 MB of embeddings", "dilated convolutions", "a GRU at 257 frequencies"],
)
def test_models_as_people_have_them_are_far_from_the_limits(layers: list[Any]) -> None:
    inputs = [grurt.Input("x", 257 * 64)] if layers[0].kind == "unflatten" else [layers[0].first_input("x")]
    outputs = [grurt.Output("y", layers[-1].name)] if layers[0].kind != "unflatten" else [grurt.Output("y", "flat")]
    layers = layers if layers[0].kind != "unflatten" else [*layers, grurt.Flatten(name="flat")]
    layers = list(connect(inputs, layers))
    values = infer_values(inputs, layers, outputs)
    cost = costs(layers, values, state_shapes(layers, values), outputs, default_signature(inputs, outputs, values, {}))
    Limits(max_operations=MAX_OPERATIONS // 8).check(cost)
    assert cost.bytes - cost.weights < (1 << 27) + 2 * cost.weights
