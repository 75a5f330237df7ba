"""Programs of many operators that make it hard to say where values lie: lowering them takes time in proportion."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from work import lines_run

import grurt
from grurt import operators as op
from grurt.lowering.lower import lower
from grurt.lowering.programs import plan
from grurt.network.operators import Operator

FEW, MANY = 60, 240
GROWTH = 1.5 * MANY / FEW

Operators = Sequence[Operator]


def model(operators: Operators, results: Sequence[str], **fields: Any) -> grurt.Model:
    """Return a model of a program of a value of shape (2, 1, 1), and a state of four numbers that changes in place."""
    arrays = {"w": np.ones((1, 3, 1)), "b": np.ones((1, 6)), "h": np.ones((1, 1, 1)), "one": np.ones(1)}
    read = {name for operator in operators for name in operator.inputs}
    constants = {name: array for name, array in arrays.items() if name in read}
    program = grurt.Program(
        name="p",
        inputs=("x",),
        input_shapes=((2, 1, 1),),
        constants={name: array.shape for name, array in constants.items()},
        operators=tuple(operators),
        results=tuple(results),
        **fields,
    )
    weights = {f"p.{name}": array for name, array in constants.items()}
    return grurt.Model(layers=[program], weights=weights, inputs=[grurt.Input("x", 2)])


def relu(source: str, output: str) -> Operator:
    return op.Apply(inputs=(source,), outputs=(output,), function=grurt.Relu())


def gru(source: str, output: str) -> list[Operator]:
    scan = op.GRU(inputs=(source, "w", "w", "b", "h"), outputs=(f"{output} of all", ""), hidden_size=1)
    return [scan, op.Reshape(inputs=(scan.outputs[0],), outputs=(output,), shape=(2, 1, 1))]


def chain(n: int) -> grurt.Model:
    return model([relu(f"v{i}" if i else "x", f"v{i + 1}") for i in range(n)], [f"v{n}"])


def values_that_live_long(n: int) -> grurt.Model:
    first = [relu("x", f"v{i}") for i in range(n)]
    late = [op.Combine(inputs=(f"v{i}", "x"), outputs=(f"w{i}",), operation="add") for i in range(n)]
    return model([*first, *late], [f"w{n - 1}"])


def nested_values(n: int) -> grurt.Model:
    nested = [op.Concat(inputs=(f"v{i}" if i else "x", "x"), outputs=(f"v{i + 1}",), axis=0) for i in range(n)]
    return model(nested, [f"v{n}"])


def one_value_behind_many_shapes(n: int) -> grurt.Model:
    shapes = ((2,), (2, 1, 1))
    reshapes = [op.Reshape(inputs=(f"v{i}",), outputs=(f"v{i + 1}",), shape=shapes[i % 2]) for i in range(n)]
    joined = op.Concat(inputs=(f"v{n}",) * n, outputs=("y",), axis=0)
    return model([relu("x", "v0"), *reshapes, joined], ["y"])


def updates_in_place(n: int) -> grurt.Model:
    names = ["s", *(f"v{i}" for i in range(n))]
    updates = [
        op.Update(inputs=(base, "one"), outputs=(updated,), starts=(i % 4,))
        for i, (base, updated) in enumerate(itertools.pairwise(names))
    ]
    return model(updates, ["x"], states=(grurt.ProgramState("s", (4,), names[-1]),))


def parts_that_are_read_behind_updates(n: int) -> grurt.Model:
    size = {"sizes": (1,), "steps": (1,)}
    parts = [op.Slice(inputs=("s",), outputs=(f"part{i}",), starts=(i % 2,), **size) for i in range(n)]
    names = ["s", *(f"v{i}" for i in range(n))]
    updates = [
        op.Update(inputs=(base, "one"), outputs=(updated,), starts=(2 + i % 2,))
        for i, (base, updated) in enumerate(itertools.pairwise(names))
    ]
    late = [relu(f"part{i}", f"y{i}") for i in range(n)]
    return model([*parts, *updates, *late], ["y0"], states=(grurt.ProgramState("s", (4,), names[-1]),))


def grus_side_by_side(n: int) -> grurt.Model:
    return model([each for i in range(n) for each in gru("x", f"y{i}")], [f"y{i}" for i in range(n)])


def grus_in_a_chain(n: int) -> grurt.Model:
    return model([each for i in range(n) for each in gru(f"y{i - 1}" if i else "x", f"y{i}")], [f"y{n - 1}"])


def places_in_disorder(n: int) -> grurt.Model:
    places = tuple(np.random.default_rng(1).integers(0, 2, n).tolist())
    return model([op.Gather(inputs=("x",), outputs=("y",), axis=0, places=places)], ["y"])


def states_that_change_places(n: int) -> grurt.Model:
    states = tuple(grurt.ProgramState(f"s{i}", (1,), f"s{(i + 1) % n}") for i in range(n))
    return model([relu("x", "y")], ["y"], states=states)


def borders(n: int) -> grurt.Model:
    pads = [
        op.Pad(inputs=(f"v{i}" if i else "x",), outputs=(f"v{i + 1}",), before=(1, 0, 0), after=(0, 0, 0))
        for i in range(n)
    ]
    return model(pads, [f"v{n}"])


MAKERS = (
    chain,
    values_that_live_long,
    nested_values,
    one_value_behind_many_shapes,
    updates_in_place,
    parts_that_are_read_behind_updates,
    grus_side_by_side,
    grus_in_a_chain,
    places_in_disorder,
    states_that_change_places,
    borders,
)


@pytest.mark.slow
@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_lowering_takes_time_in_proportion(make: Callable[[int], grurt.Model]) -> None:
    few, many = make(FEW), make(MANY)
    lower(few)
    assert lines_run(lambda: lower(many)) < GROWTH * lines_run(lambda: lower(few))


def test_tables_of_int32_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MAX_PLACES", 100)
    with pytest.raises(grurt.ModelError, match=r"layer 'p': expected at most 100 numbers of working memory, got \d+"):
        lower(chain(3))


@pytest.mark.slow
def test_values_that_are_nested_more_deeply_than_python_calls_can_be() -> None:
    found = nested_values(1200)
    assert found.stream().step([1.0, 2.0])[:4].tolist() == [1.0, 2.0, 1.0, 2.0]
