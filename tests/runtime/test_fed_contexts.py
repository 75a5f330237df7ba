"""Contexts in a feed, as an `InferenceSession` gets them at every call: computed once, with the general way's bits."""

from __future__ import annotations

import concurrent.futures
import gc
import weakref
from typing import Any

import context_programs
import models
import msgspec
import numpy as np
import pytest
from bits import assert_same_bits
from context_programs import attention

import grurt
from grurt.errors import GrurtError, InputShapeError, InputTypeError, InputValueError
from grurt.network.signature import Signature
from grurt.runtime.feeds import feeds_for, run_feed
from grurt.runtime.sequences import run_mapping

RNG = np.random.default_rng(300)
MODEL = attention()
XS = RNG.normal(size=(5, 8)).astype(np.float32)
MEMORY, OTHER = RNG.normal(size=(2, 6, 5)).astype(np.float32)


def feed_of(memory: Any, xs: Any = XS) -> dict[str, Any]:
    return {"x": xs[np.newaxis], "memory": memory[np.newaxis]}


def expected_of(memory: Any, xs: Any = XS) -> Any:
    return MODEL.stream(context={"memory": memory}).run(xs)[np.newaxis]


def general(model: grurt.Model, feed: dict[str, Any]) -> dict[str, Any]:
    return run_mapping(model, feed, lengths=None, nonfinite="refuse")


@pytest.mark.parametrize("seed", range(40))
def test_the_bits_are_those_of_the_general_way(seed: int) -> None:
    _, model = context_programs.random_pair(seed)
    values = context_programs.values_of(model, seed)
    xs = models.random_inputs(model.inputs, 4, np.random.default_rng(seed))
    feed = {name: array[np.newaxis] for name, array in (xs | values).items()}
    assert run_feed(model, feed) is None  # the first time, somebody has to compute it
    expected = general(model, feed)
    found = run_feed(model, feed)
    assert found is not None
    assert_same_bits(found, expected)


def test_it_is_known_by_its_numbers_and_not_by_its_array() -> None:
    model, memory = attention(), MEMORY.copy()
    session = grurt.InferenceSession(model)
    for _ in range(3):
        np.testing.assert_array_equal(session.run(None, feed_of(memory))[0], expected_of(MEMORY))
    memory[...] = OTHER
    for _ in range(3):
        np.testing.assert_array_equal(session.run(None, feed_of(memory))[0], expected_of(OTHER))
    strided = np.repeat(MEMORY, 2, axis=1)[:, ::2]
    np.testing.assert_array_equal(session.run(None, feed_of(strided))[0], expected_of(MEMORY))
    assert run_feed(model, feed_of(MEMORY)) is not None


def test_more_of_them_than_are_kept_take_turns() -> None:
    model = attention()
    memories = RNG.normal(size=(9, 6, 5)).astype(np.float32)
    for _ in range(3):
        for memory in memories:
            np.testing.assert_array_equal(model.run(feed_of(memory))["y"], expected_of(memory))


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"memory": MEMORY}, InputShapeError, r"input 'memory': expected .* got \(6, 5\)"),
        ({"memory": MEMORY.reshape(1, 5, 6)}, InputShapeError, r"input 'memory': expected .* got \(1, 5, 6\)"),
        ({"memory": np.float64(MEMORY[np.newaxis])}, InputTypeError, r"input 'memory': expected an array of float32"),
        ({"memory": np.nan * MEMORY[np.newaxis]}, InputValueError, r"'memory': expected finite numbers, got a NaN"),
        ({"more": MEMORY}, InputShapeError, r"expected the inputs \['memory', 'x'\] and none of another name"),
    ],
)
def test_what_does_not_fit_is_refused_once_it_is_known_too(
    changed: dict[str, Any], error: type[GrurtError], message: str
) -> None:
    session = grurt.InferenceSession(attention())
    for _ in range(2):
        session.run(None, feed_of(MEMORY))
    with pytest.raises(error, match=message):
        session.run(None, feed_of(MEMORY) | changed)
    with pytest.raises(InputShapeError, match=r"expected the inputs \['memory', 'x'\], got no 'memory'"):
        session.run(None, {"x": XS[np.newaxis]})


def test_what_was_computed_with_is_refused_where_it_has_to_be_finite() -> None:
    model, infinite = attention(), feed_of(np.full_like(MEMORY, np.inf))
    loose = grurt.InferenceSession(model, nonfinite="propagate")
    for _ in range(2):
        assert np.isnan(loose.run(None, infinite)[0]).all()
    for _ in range(2):
        with pytest.raises(InputValueError, match="'memory': expected finite numbers"):
            model.run(infinite)
    assert np.isnan(loose.run(None, infinite)[0]).all()


def test_a_source_that_has_it_in_another_order_gets_the_same_answer() -> None:
    memory, x = MODEL.signature.inputs
    turned = msgspec.structs.replace(memory, axes=("batch", "feature", "position"), positions=6, shape=())
    model = attention().replaced(signature=Signature((turned, x), MODEL.signature.outputs))
    feed = feed_of(MEMORY.T)
    for _ in range(3):
        np.testing.assert_array_equal(model.run(feed)["y"], expected_of(MEMORY))
    assert run_feed(model, feed) is None


def test_threads_that_are_fed_different_ones_do_not_meet() -> None:
    model = attention()
    session = grurt.InferenceSession(model)
    memories = RNG.normal(size=(6, 6, 5)).astype(np.float32)
    expected = [expected_of(memory) for memory in memories]

    def run(number: int) -> bool:
        feed = feed_of(memories[number])
        return all(np.array_equal(session.run(None, feed)[0], expected[number]) for _ in range(200))

    with concurrent.futures.ThreadPoolExecutor(6) as workers:
        assert all(workers.map(run, range(6)))


def test_what_is_kept_does_not_keep_the_model() -> None:
    model = attention()
    for _ in range(2):
        model.run(feed_of(MEMORY))
    left = weakref.ref(model)
    del model
    gc.collect()
    assert left() is None


def test_several_sequences_go_the_general_way() -> None:
    xs, memories = np.stack([XS, XS]), np.stack([MEMORY, OTHER])
    assert feeds_for(MODEL) is not None
    for _ in range(2):
        found = MODEL.run({"x": xs, "memory": memories})["y"]
        np.testing.assert_array_equal(found, np.concatenate([expected_of(MEMORY), expected_of(OTHER)]))
    assert run_feed(MODEL, {"x": xs, "memory": memories}) is None
