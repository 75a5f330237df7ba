"""Layers with several states, of any rank and in any order in memory: users see their names, and their own shapes.

The layer here is a GRU that shows the two halves of its state as matrices, whose columns lie one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import models
import msgspec
import numpy as np
import pytest
from step_sources import shown_as_step

import grurt
from grurt.errors import InputShapeError, InputValueError, ModelError
from grurt.lowering.builder import PlanBuilder
from grurt.lowering.plan import PlanState
from grurt.runtime.feeds import run_feed

ROWS, COLUMNS = 3, 4
HALF = ROWS * COLUMNS
PLAIN = models.gru_model(5, 2 * HALF, np.random.default_rng(8))
XS = np.random.default_rng(9).normal(size=(7, 5)).astype(np.float32)
YS = PLAIN.stream().run(XS)
NAMES = ("gru0.left", "gru0.right")


def halves(h: np.ndarray) -> dict[str, np.ndarray]:
    """Return what the layer shows of a state ``(..., 2 * HALF)``."""
    apart = h.reshape(*h.shape[:-1], 2, COLUMNS, ROWS).swapaxes(-1, -2)
    return {name: apart[..., place, :, :] for place, name in enumerate(NAMES)}


def state_shapes(layer: grurt.GRU, positions: int = 1) -> Mapping[str, tuple[int, ...]]:
    return dict.fromkeys((f"{layer.name}.left", f"{layer.name}.right"), (1, ROWS, COLUMNS))


def add_state(plan: PlanBuilder, name: str, rows: int, size: int, initial: Any, *, is_ring: bool) -> int:
    block = plan.reserve_states(np.pad(initial, (0, 8)))
    for start, half in ((HALF, "right"), (0, "left")):
        plan.add_state_view(f"{name}.{half}", block, (5, 1, ROWS), start)
    return block


@pytest.fixture
def model() -> Iterator[grurt.Model]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grurt.GRU, "state_shapes", state_shapes)
        patch.setattr(PlanBuilder, "add_state", add_state)
        yield shown_as_step(PLAIN, {"x": (5,)}, {"y": (2 * HALF,)})


def expect_states(found: Mapping[str, np.ndarray], h: np.ndarray) -> None:
    assert tuple(found) == NAMES
    for name, expected in halves(h).items():
        np.testing.assert_array_equal(found[name], expected[np.newaxis], strict=True)
        assert found[name].flags.c_contiguous
        assert found[name].flags.owndata


def test_states_have_their_own_names_and_shapes(model: grurt.Model) -> None:
    assert dict(model.state_shapes) == dict.fromkeys(NAMES, (1, ROWS, COLUMNS))
    assert model.states_of(model.layers[0]) == model.state_shapes
    stream = model.stream()
    np.testing.assert_array_equal(stream.run(XS), YS)
    expect_states(stream.state, YS[-1])


def test_states_are_set_one_by_one_or_together(model: grurt.Model) -> None:
    stream, expected = model.stream(), PLAIN.stream()
    expected.run(XS[:4])
    left, right = ({name: state[np.newaxis]} for name, state in halves(YS[3]).items())
    for given in (left, right), (left | right,), ({name: state.tolist() for name, state in (left | right).items()},):
        stream.reset()
        for states in given:
            stream.state = states
        np.testing.assert_array_equal(stream.run(XS[4:]), YS[4:])
    kept = stream.snapshot()
    with pytest.raises(InputShapeError, match=r"'gru0.right': expected shape \(1, 3, 4\), got \(3, 4\)"):
        stream.state = {**left, "gru0.right": np.ones((ROWS, COLUMNS))}
    with pytest.raises(InputValueError, match=r"'gru0.left': expected finite numbers"):
        stream.state = {"gru0.left": np.full((1, ROWS, COLUMNS), np.inf)}
    assert stream.snapshot() == kept


def test_snapshots_have_the_states_in_their_order(model: grurt.Model) -> None:
    stream = model.stream()
    stream.run(XS[:4])
    saved = stream.snapshot()
    in_order = np.concatenate([half.ravel() for half in halves(YS[3]).values()]).astype("<f4")
    assert in_order.tobytes() in saved
    twin, other, copied = stream.fork(), model.stream(), model.stream()
    other.restore(saved)
    copied.copy_from(stream)
    for each in (stream, twin, other, copied):
        np.testing.assert_array_equal(each.run(XS[4:]), YS[4:])


def test_pools_have_them_for_each_stream(model: grurt.Model) -> None:
    pool = model.pool(3)
    pool.run([2, 0], np.array([XS[:2], XS[:2]]))
    pool.run([2], XS[np.newaxis, 2:4])
    expect_states(pool.state(2), YS[3])
    saved = pool.snapshot_many([0, 2])
    pool.reset(0)
    pool.copy([2], [1])
    np.testing.assert_array_equal(pool.run([1], XS[np.newaxis, 4:])[0], YS[4:])
    other = model.pool(3)
    other.restore_many([1, 0], saved)
    expect_states(other.state(1), YS[1])
    np.testing.assert_array_equal(other.run([0], XS[np.newaxis, 4:])[0], YS[4:])
    other.set_state(2, other.state(1))
    expect_states(other.state(2), YS[1])
    empty = model.pool()
    empty.restore_many([], empty.snapshot_many([]))
    assert empty.snapshot_many([]).states.shape == (0, 4 * 2 * HALF)


def test_the_source_takes_and_gives_them(model: grurt.Model) -> None:
    session = grurt.InferenceSession(model)
    states = {f"{name}_in": state for name, state in model.stream().state.items()}
    for x, y in zip(XS, YS, strict=True):
        feed = {"x": x, **states}
        answers = session.run(None, feed)
        np.testing.assert_array_equal(answers[0], y)
        expect_states(dict(zip(NAMES, answers[1:], strict=True)), y)
        natively = run_feed(model, feed)
        assert natively is not None
        generally = model.run({name: array.astype(np.float64) for name, array in feed.items()})
        for name, answer in zip(natively, answers, strict=True):
            np.testing.assert_array_equal(natively[name], answer)
            np.testing.assert_array_equal(generally[name], answer)
        states = dict(zip(states, answers[1:], strict=True))


def test_all_of_a_layers_states_are_bounded_or_none(model: grurt.Model) -> None:
    assert model.unbounded_states == frozenset()
    open_model = model.replaced(layers=[msgspec.structs.replace(model.layers[0], candidate_activation=grurt.Relu())])
    assert open_model.unbounded_states == {*NAMES}


@pytest.mark.parametrize("strides", [(8, 1, 9), (-1, 1, 3), (40, 1, 4)])
def test_a_state_stays_within_its_memory(strides: tuple[int, ...]) -> None:
    plan = PlanBuilder(PLAIN.replaced())
    plan.network.__dict__["state_shapes"] = {"s": (2, ROWS, COLUMNS)}
    block = plan.reserve_states(np.zeros(32, np.float32))
    with pytest.raises(ModelError, match="'s': it reaches beyond the memory"):
        plan.add_state_view("s", block, strides)


@pytest.mark.parametrize(
    ("shape", "strides", "axes"),
    [
        ((2, 1, 3, 4), (12, 99, 4, 1), ((24, 1),)),
        ((2, 1, 3, 4), (16, 99, 4, 1), ((2, 16), (12, 1))),
        ((2, 3, 4), (12, 1, 3), ((2, 12), (3, 1), (4, 3))),
        ((4, 3), (1, 4), ((4, 1), (3, 4))),
        ((1, 1), (7, 7), ((1, 1),)),
        ((), (), ((1, 1),)),
        ((5,), (2,), ((5, 2),)),
    ],
)
def test_axes_that_lie_as_one_are_one(
    shape: tuple[int, ...], strides: tuple[int, ...], axes: tuple[tuple[int, int], ...]
) -> None:
    place = PlanState(shape, strides, 0, is_ring=False)
    assert place.axes == axes
    assert place.is_contiguous == (len(axes) == 1 and axes[0][1] == 1)


def test_names_of_states_are_unique_in_a_model() -> None:
    layers = [
        grurt.Program(
            name=name,
            inputs=("x",),
            input_shapes=((2,),),
            states=(grurt.ProgramState(state, (2,), f"{name}_sum"),),
            operators=(grurt.operators.Combine(inputs=(state, "x"), outputs=(f"{name}_sum",), operation="add"),),
            results=(f"{name}_sum",),
        )
        for name, state in (("one", "level"), ("other", "level"))
    ]
    with pytest.raises(ModelError, match="layer 'other': the name of its state 'level' is used twice"):
        grurt.Model(layers=layers, weights={}, inputs=[grurt.Input("x", 2)])
    gru = grurt.GRU(name="level", inputs=("one",), input_size=2, hidden_size=2, bias=False)
    weights = {"level.weight_ih": np.ones((6, 2)), "level.weight_hh": np.ones((6, 2))}
    with pytest.raises(ModelError, match="layer 'level': the name of its state 'level' is used twice"):
        grurt.Model(layers=[layers[0], gru], weights=weights, inputs=[grurt.Input("x", 2)])


def test_states_of_every_rank() -> None:
    shapes: dict[str, tuple[int, ...]] = {"one": (), "four": (1, 2, 1, 2)}
    add = grurt.operators.Combine
    program = grurt.Program(
        name="sums",
        inputs=("x",),
        input_shapes=((2, 1, 2),),
        states=tuple(grurt.ProgramState(name, shape, f"next {name}") for name, shape in shapes.items()),
        constants={"unit": ()},
        operators=(
            add(inputs=("one", "unit"), outputs=("next one",), operation="add"),
            add(inputs=("four", "x"), outputs=("next four",), operation="add"),
            add(inputs=("next four", "next one"), outputs=("y",), operation="mul"),
        ),
        results=("y",),
    )
    plain = grurt.Model(layers=[program], weights={"sums.unit": np.ones(())}, inputs=[grurt.Input("x", 4)])
    model = shown_as_step(plain, {"x": (2, 2)}, {"y": (4, 1)})
    assert dict(model.state_shapes) == shapes
    stream = model.stream()
    xs = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    ys = xs.cumsum(axis=0).reshape(3, 4) * np.arange(1, 4, dtype=np.float32)[:, np.newaxis]
    np.testing.assert_array_equal(stream.run(xs[:2]), ys[:2])
    assert stream.state["one"].shape == ()
    assert stream.state["one"] == 2
    other = model.stream()
    other.state = stream.state
    np.testing.assert_array_equal(other.step(xs[2]), ys[2])
    pool = model.pool(2)
    pool.restore(1, stream.snapshot())
    pool.restore_many([0], pool.snapshot_many([1]))
    np.testing.assert_array_equal(pool.step([0, 1], xs[[2, 2]]), ys[[2, 2]])
    feed = {"x": xs[2], **{f"{name}_in": state for name, state in stream.state.items()}}
    for found in (run_feed(model, feed), model.run({name: array.astype(np.float64) for name, array in feed.items()})):
        assert found is not None
        np.testing.assert_array_equal(found["y"], ys[2][:, np.newaxis], strict=True)
        np.testing.assert_array_equal(found["one_out"], np.float32(3), strict=True)
        assert found["four_out"].shape == (1, 2, 1, 2)
    assert grurt.InferenceSession(model).run(["one_out"], feed) == [3]
