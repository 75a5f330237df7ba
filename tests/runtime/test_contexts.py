"""What streams are given once: the bits of the same numbers given at every timestep, however streams come to it."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import context_programs
import models
import msgspec
import numpy as np
import pytest
from bits import assert_same_bits, named, run_in_blocks, stepped
from context_programs import attention

import grurt
from grurt import reference
from grurt.demo import load_model
from grurt.errors import GrurtError, InputShapeError, InputTypeError, InputValueError, ModelError, SnapshotError
from grurt.network.contexts import context_parts
from grurt.runtime.snapshot import checksum

N_STEPS = 5
op = grurt.operators


MODEL = attention()
RANDOM = np.random.default_rng(1)
XS = RANDOM.normal(size=(N_STEPS, 8)).astype(np.float32)
MEMORY, OTHER = RANDOM.normal(size=(2, 6, 5)).astype(np.float32)


def answers(memory: Any, xs: Any = XS) -> Any:
    return MODEL.stream(context={"memory": memory}).run(xs)


@pytest.mark.parametrize("seed", range(60))
def test_the_bits_are_those_of_the_same_numbers_given_at_every_timestep(seed: int) -> None:
    whole, model = context_programs.random_pair(seed)
    values = context_programs.values_of(model, seed)
    xs = models.random_inputs(model.inputs, N_STEPS, np.random.default_rng(seed))
    expected = stepped(whole.stream(), xs | context_programs.repeated(values, N_STEPS))
    context = model.context(values)
    assert_same_bits(stepped(model.stream(context=context), xs), expected)
    assert_same_bits(run_in_blocks(model.stream(context=context), xs, [2, 3]), expected)
    batched = {name: x[np.newaxis] for name, x in xs.items()}
    found = model.run(batched, context=context)
    assert_same_bits({name: array[0] for name, array in found.items()}, expected)


def test_it_agrees_with_the_reference() -> None:
    expected = reference.step_outputs(MODEL, {"x": XS}, {"memory": MEMORY})["y"]
    np.testing.assert_allclose(answers(MEMORY), expected, atol=2e-6)
    with pytest.raises(InputShapeError, match=r"reference: expected the contexts \['memory'\], got no 'memory'"):
        reference.run(MODEL, {"x": XS})


def test_what_depends_on_it_alone_is_computed_once() -> None:
    (part,) = context_parts(MODEL).values()
    assert part.preparation is not None
    kinds = [operator.kind for operator, *_ in part.preparation.layers[0].program()]
    assert kinds == ["mat_mul", "transpose"]
    assert part.preparation.costs.multiply_adds == 6 * 5 * 8
    assert MODEL.costs.multiply_adds == 8 * 6 + 6 * 5 + 5 * 8


def test_streams_share_a_context_and_let_it_go() -> None:
    context = MODEL.context(memory=MEMORY)
    stream = MODEL.stream(context=context)
    pool = MODEL.pool(3, context=context)
    fork = stream.fork()
    assert stream.context is fork.context is pool.context(2) is context
    left = weakref.ref(context)
    del context, stream, fork
    gc.collect()
    assert left() is not None
    del pool
    gc.collect()
    assert left() is None


def test_a_dropped_stream_lets_go_of_its_context() -> None:
    pool = MODEL.pool()
    stream_id = pool.add(context={"memory": MEMORY})
    left = weakref.ref(pool.context(stream_id))
    pool.drop(stream_id)
    gc.collect()
    assert left() is None


def test_another_context_leaves_the_state_as_it_is() -> None:
    stream = MODEL.stream(context={"memory": MEMORY})
    stream.run(XS[:3])
    state = stream.state["h"]
    stream.context = {"memory": OTHER}
    assert np.array_equal(stream.state["h"], state)
    other = MODEL.stream(context={"memory": OTHER})
    other.state = {"h": state}
    assert np.array_equal(stream.step(XS[3]), other.step(XS[3]))
    stream.reset()
    assert np.array_equal(stream.run(XS), answers(OTHER))


def test_a_fork_goes_its_own_way_with_its_own_context() -> None:
    stream = MODEL.stream(context={"memory": MEMORY})
    fork = stream.fork()
    fork.context = {"memory": OTHER}
    assert np.array_equal(stream.run(XS), answers(MEMORY))
    assert np.array_equal(fork.run(XS), answers(OTHER))
    fork.copy_from(stream)
    assert fork.context is stream.context
    assert np.array_equal(fork.step(XS[0]), stream.step(XS[0]))


def test_streams_of_equal_models_are_copied_with_their_contexts() -> None:
    stream, other = MODEL.stream(context={"memory": MEMORY}), attention().stream(context={"memory": OTHER})
    stream.run(XS)
    other.copy_from(stream)
    assert np.array_equal(other.step(XS[0]), stream.step(XS[0]))


@pytest.mark.parametrize("threads", [1, 2])
def test_each_stream_of_a_pool_has_its_own(threads: int) -> None:
    memories = RANDOM.normal(size=(40, 6, 5)).astype(np.float32)
    pool = MODEL.pool(threads=threads)
    for memory in memories:
        pool.add(context={"memory": memory})
    xs = RANDOM.normal(size=(40, N_STEPS, 8)).astype(np.float32)
    found = pool.run(np.arange(40), xs)
    for memory, own, row in zip(memories, xs, found, strict=True):
        assert np.array_equal(row, answers(memory, own))


def test_a_pool_copies_sets_and_adds_contexts() -> None:
    default = MODEL.context(memory=MEMORY)
    pool = MODEL.pool(["ann", "bob"], context=default)
    pool.set_context("bob", {"memory": OTHER})
    assert np.array_equal(pool.run(["ann", "bob"], np.stack([XS, XS])), [answers(MEMORY), answers(OTHER)])
    pool.copy(["bob", "ann"], ["ann", "bob"])
    assert pool.context("bob") is default
    assert np.array_equal(pool.step(["bob"], XS[:1])[0], answers(MEMORY, np.concatenate([XS, XS[:1]]))[-1])
    pool.reset("ann")
    assert np.array_equal(pool.run(["ann"], XS[np.newaxis])[0], answers(OTHER))
    assert pool.context(pool.add("eve")) is default
    pool.drop("eve")
    pool.add("eve", context={"memory": OTHER})
    assert np.array_equal(pool.run(["eve"], XS[np.newaxis])[0], answers(OTHER))


def test_a_snapshot_names_its_context_or_holds_it() -> None:
    stream = MODEL.stream(context={"memory": MEMORY})
    stream.run(XS[:2])
    named_only, whole = stream.snapshot(), stream.snapshot(with_context=True)
    assert len(whole) == len(named_only) + MEMORY.nbytes
    expected = stream.run(XS[2:])
    same, other = MODEL.stream(context={"memory": MEMORY}), MODEL.stream(context={"memory": OTHER})
    same.restore(named_only)
    assert np.array_equal(same.run(XS[2:]), expected)
    before = other.snapshot(with_context=True)
    with pytest.raises(SnapshotError, match=r"is of a stream with another context: expected digest .* give the stream"):
        other.restore(named_only)
    assert other.snapshot(with_context=True) == before
    other.restore(whole)
    assert other.context is not None
    assert np.array_equal(other.context.values["memory"], MEMORY)
    assert np.array_equal(other.run(XS[2:]), expected)
    pool = MODEL.pool(2, context={"memory": OTHER})
    pool.restore(1, whole)
    assert pool.snapshot(1, with_context=True) == whole
    assert np.array_equal(pool.run([1], XS[np.newaxis, 2:])[0], expected)


@pytest.mark.parametrize("with_context", [False, True])
def test_a_damaged_snapshot_leaves_no_trace(with_context: bool) -> None:
    stream = MODEL.stream(context={"memory": MEMORY})
    stream.run(XS[:2])
    saved = stream.snapshot(with_context=with_context)
    for bad in (*(saved[:end] for end in range(len(saved))), saved + bytes(4), saved[:-1] + b"?"):
        with pytest.raises(SnapshotError):
            stream.restore(bad)
    for place in range(len(saved)):
        bad = saved[:place] + bytes([saved[place] ^ 1]) + saved[place + 1 :]
        with pytest.raises(SnapshotError):
            stream.restore(bad)
    assert stream.snapshot(with_context=with_context) == saved


def test_many_are_saved_with_the_names_of_their_contexts() -> None:
    pool = MODEL.pool(3, context={"memory": MEMORY})
    pool.set_context(1, {"memory": OTHER})
    pool.run([0, 1, 2], np.stack([XS, XS, XS]))
    saved = pool.snapshot_many([0, 1])
    assert saved.states.shape == (2, 16 + 4 * 8)
    expected = pool.step([0, 1], XS[:2])
    pool.restore_many([2, 1], saved)
    assert np.array_equal(pool.step([2, 1], XS[:2]), expected)
    before = pool.snapshot(0), pool.snapshot(1)
    with pytest.raises(SnapshotError, match="is of a stream with another context"):
        pool.restore_many([1, 0], saved)
    assert (pool.snapshot(0), pool.snapshot(1)) == before


def test_a_mapping_of_the_sources_tensors_holds_it_for_each_sequence() -> None:
    memories = np.stack([MEMORY, OTHER, MEMORY, MEMORY, OTHER])
    xs = RANDOM.normal(size=(5, N_STEPS, 8)).astype(np.float32)
    found = MODEL.run({"x": xs, "memory": memories})["y"]
    for memory, own, row in zip(memories, xs, found, strict=True):
        assert np.array_equal(row, answers(memory, own))
    few = MODEL.run({"x": xs[:2], "memory": memories[:2]})["y"]
    assert np.array_equal(few, found[:2])
    assert np.array_equal(MODEL.run(XS, context={"memory": MEMORY}), answers(MEMORY))
    with pytest.raises(InputShapeError, match="expected a context once, got the argument and the input 'memory'"):
        MODEL.run({"x": xs, "memory": memories}, context={"memory": MEMORY})


def test_a_session_takes_it_as_an_input() -> None:
    session = grurt.InferenceSession(MODEL)
    assert {port.name for port in session.get_inputs()} == {"x", "memory"}
    (found,) = session.run(None, {"x": XS[np.newaxis], "memory": MEMORY[np.newaxis]})
    assert np.array_equal(found[0], answers(MEMORY))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (None, InputShapeError, r"expected a context, which the model reads at every timestep: give memory \(6, 5\)"),
        ({}, InputShapeError, r"expected the contexts \['memory'\], got \[\]"),
        (
            {"memory": MEMORY, "more": 1},
            InputShapeError,
            r"expected the contexts \['memory'\], got \['memory', 'more'\]",
        ),
        ({"memory": MEMORY[:5]}, InputShapeError, r"'memory': expected shape \(6, 5\), got \(5, 5\)"),
        ({"memory": "text"}, InputTypeError, "'memory'"),
        (
            {"memory": MEMORY * np.nan},
            InputValueError,
            "'memory': expected finite numbers, got a NaN or an infinity; cl",
        ),
        (MEMORY, InputTypeError, "expected a mapping by name, got ndarray"),
    ],
)
def test_what_does_not_fit_changes_nothing(given: Any, error: type[GrurtError], message: str) -> None:
    stream = MODEL.stream(context={"memory": MEMORY})
    stream.step(XS[0])
    pool, context = MODEL.pool(1, context={"memory": MEMORY}), stream.context
    own = pool.context(0)
    for call in (
        lambda: MODEL.stream(context=given),
        lambda: MODEL.pool(2, context=given),
        lambda: MODEL.run(XS, context=given),
        lambda: setattr(stream, "context", given),
        lambda: pool.set_context(0, given),
        lambda: MODEL.pool().add(context=given),
    ):
        with pytest.raises(error, match=message):
            call()
    assert stream.context is context
    assert pool.context(0) is own


def test_contexts_of_other_models_and_for_none_are_refused() -> None:
    plain = load_model()
    context = MODEL.context(memory=MEMORY)
    with pytest.raises(InputShapeError, match="the model has no contexts: expected none, got"):
        plain.stream(context=context)
    with pytest.raises(InputShapeError, match=r"expected the contexts \[\], got \['memory'\]"):
        plain.context(memory=MEMORY)
    assert plain.stream().context is None
    quantized = MODEL.quantize("float16")
    with pytest.raises(InputTypeError, match="expected a context of this model, got one of another"):
        quantized.stream(context=context)
    assert attention().stream(context=context).context is context


def test_infinities_are_given_to_streams_that_compute_with_them() -> None:
    values = {"memory": np.full_like(MEMORY, np.inf)}
    with pytest.raises(InputValueError, match="expected finite numbers"):
        MODEL.context(values)
    context = MODEL.context(values, nonfinite="propagate")
    with pytest.raises(InputValueError, match="expected a context of finite numbers, got others"):
        MODEL.stream(context=context)
    assert np.isnan(MODEL.stream(context=context, nonfinite="propagate").run(XS)).all()


def test_a_context_does_not_change_with_what_it_was_made_of() -> None:
    memory = MEMORY.copy()
    context = MODEL.context(memory=memory)
    digest = context.digest
    memory[:] = 0
    assert np.array_equal(MODEL.stream(context=context).run(XS), answers(MEMORY))
    with pytest.raises(ValueError, match="read-only"):
        context.values["memory"][0] = 1
    assert context.digest == digest == MODEL.context(memory=MEMORY).digest
    assert context.digest != MODEL.context(memory=OTHER).digest
    assert repr(context) == "<grurt.StreamContext of memory (6, 5)>"


def test_it_is_saved_loaded_and_counted(tmp_path: Any) -> None:
    MODEL.save(tmp_path / "model.grurt")
    loaded = grurt.load(tmp_path / "model.grurt")
    assert loaded.context_shapes == {"memory": (6, 5)}
    assert loaded.fingerprint == MODEL.fingerprint
    assert np.array_equal(loaded.stream(context={"memory": MEMORY}).run(XS), answers(MEMORY))
    context = MODEL.context(memory=MEMORY)
    assert 4 * (6 * 5 + 8 * 6) <= context.nbytes <= MODEL.costs.contexts + MEMORY.nbytes


def test_a_snapshot_of_a_made_up_digest_or_version_is_refused() -> None:
    stream, other = MODEL.stream(context={"memory": MEMORY}), MODEL.stream(context={"memory": OTHER})
    saved = stream.snapshot(with_context=True)
    for place, message in ((40, "the digest of its context does not fit"), (8, "the model's are not of version 1")):
        changed = bytearray(saved[:-16])
        changed[place] = 1
        with pytest.raises(SnapshotError, match=f"the snapshot is damaged: {message}"):
            other.restore(bytes(changed) + checksum(changed))


def test_layers_with_contexts_share_a_model() -> None:
    (first,) = MODEL.layers
    names = {"memory": "other", "h": "g", "x": "decoder"}
    operators = tuple(
        msgspec.structs.replace(each, inputs=tuple(names.get(name, name) for name in each.inputs))
        for each in first.operators
    )
    states = (grurt.ProgramState("g", (1, 8), "next_h"),)
    behind = {"name": "second", "inputs": ("decoder",), "states": states, "operators": operators}
    second = msgspec.structs.replace(first, contexts=(grurt.ProgramContext("other", (6, 5)),), **behind)
    weights = {**MODEL.weights, **{name.replace("decoder", "second"): array for name, array in MODEL.weights.items()}}
    model = grurt.Model(layers=[first, second], weights=weights, inputs=[grurt.Input("x", 8)])
    found = model.stream(context={"memory": MEMORY, "other": OTHER}).run(XS)
    assert np.array_equal(found, answers(OTHER, answers(MEMORY)))
    twice = msgspec.structs.replace(
        second, contexts=tuple(grurt.ProgramContext(name, (6, 5)) for name in ("memory", "other"))
    )
    with pytest.raises(ModelError, match="layer 'second': the name of its context 'memory' is used twice"):
        model.replaced(layers=[first, twice])


@pytest.mark.parametrize(
    ("contexts", "message"),
    [
        ((("memory", (6, 5)), ("memory", (6, 5))), "expected contexts of different names, got memory, memory"),
        ((("memory", (6, 5), None, "mask"),), "context 'memory': expected an open axis for its mask, got none"),
        ((("memory", (6, 5), 2),), r"context 'memory': expected an axis of \(6, 5\), got 2"),
        ((("memory", (6, 5), 0, "memory"),), "context 'memory': the name of its mask 'memory' is used twice"),
        ((("memory", (6, 5), 0, "m"), ("b", (7, 5), 0, "m")), "context 'b': the name of its mask 'm' is used twice"),
    ],
)
def test_contexts_that_contradict_each_other_are_refused(contexts: Any, message: str) -> None:
    (layer,) = MODEL.layers
    own = tuple(grurt.ProgramContext(*context) for context in contexts)
    with pytest.raises(ModelError, match=message):
        MODEL.replaced(layers=[msgspec.structs.replace(layer, contexts=own)], signature=None)


def test_a_name_is_used_once() -> None:
    with pytest.raises(ModelError, match="the name 'memory' is used twice"):
        MODEL.replaced(
            layers=[
                grurt.Program(
                    name="decoder",
                    inputs=("x",),
                    input_shapes=((1, 8),),
                    contexts=(grurt.ProgramContext("memory", (1, 8)),),
                    states=(grurt.ProgramState("memory", (1, 8), "sum"),),
                    operators=(op.Combine(inputs=("x", "memory"), outputs=("sum",), operation="add"),),
                    results=("sum",),
                )
            ],
            weights={},
        )
    with pytest.raises(ModelError, match="expected each context in an input, got none of memory"):
        MODEL.replaced(signature=grurt.Signature((MODEL.signature.inputs[1],), MODEL.signature.outputs))


def test_quantized_weights_prepare_it_too() -> None:
    expected = answers(MEMORY)
    for weight_format, least in (("float16", 50), ("int8", 20)):
        small = MODEL.quantize(weight_format)
        found = small.stream(context={"memory": MEMORY}).run(XS)
        error = np.square(found - expected).sum()
        assert 10 * np.log10(np.square(expected).sum() / error) > least
    recorded = MODEL.quantize("int8", calibration={"x": XS, "memory": MEMORY})
    assert named(recorded, recorded.stream(context={"memory": MEMORY}).run(XS))["y"].shape == (N_STEPS, 8)
