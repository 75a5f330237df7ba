"""Step programs as they are lowered, against the reference."""

from __future__ import annotations

from typing import Any

import models
import numpy as np
import pytest
import step_programs

import grurt
from grurt import operators as op
from grurt import reference

N_STEPS = 6


def check(model: grurt.Model, seed: int) -> None:
    """Compare outputs and states with the reference, and a sequence with its timesteps one by one, bit by bit."""
    xs = models.random_inputs(model.inputs, N_STEPS, np.random.default_rng(seed))
    outputs, states = reference.run(model, xs)
    stream, stepped = model.stream(), model.stream()
    found = of_names(model, stream.run(xs))
    for name, expected in outputs.items():
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-5, err_msg=name)
    for name, expected in states.items():
        np.testing.assert_allclose(stream.state[name], expected, rtol=0, atol=1e-5, err_msg=name)
    for t in range(N_STEPS):
        one = of_names(model, stepped.step({name: x[t] for name, x in xs.items()}))
        for name in outputs:
            np.testing.assert_array_equal(one[name], found[name][t], err_msg=name)


def of_names(model: grurt.Model, answer: Any) -> dict[str, Any]:
    return answer if isinstance(answer, dict) else {model.outputs[0].name: answer}


@pytest.mark.parametrize("seed", range(40))
def test_random_programs_compute_what_the_reference_does(seed: int) -> None:
    check(step_programs.random_step_program(seed), seed)


@pytest.mark.long
@pytest.mark.parametrize("first", range(0, 4000, 100))
def test_thousands_of_random_programs_compute_what_the_reference_does(first: int) -> None:
    for seed in range(first, first + 100):
        check(step_programs.random_step_program(seed), seed)


def program(
    operators: list[op.AnyOperator], shape: tuple[int, ...], states: tuple[grurt.ProgramState, ...] = (), **shapes: Any
) -> grurt.Model:
    """Return a model of one program that reads x and writes y; constants are random."""
    layer = grurt.Program(
        name="p",
        inputs=("x",),
        input_shapes=(shape,),
        constants=shapes,
        states=states,
        operators=tuple(operators),
        results=("y",),
    )
    rng = np.random.default_rng(1)
    weights = {f"p.{name}": rng.normal(size=shape) for name, shape in shapes.items()}
    return grurt.Model(layers=[layer], weights=weights, inputs=[grurt.Input("x", int(np.prod(shape)))])


def test_a_value_that_is_updated_with_a_part_of_itself() -> None:
    operators = [
        op.Apply(inputs=("x",), outputs=("a",), function=grurt.Tanh()),
        op.Slice(inputs=("a",), outputs=("part",), starts=(0,), sizes=(21,), steps=(1,)),
        op.Update(inputs=("a", "part"), outputs=("y",), starts=(2,)),
    ]
    check(program(operators, (30,)), 1)


def test_a_state_that_is_updated_with_a_part_of_itself() -> None:
    operators = [
        op.Slice(inputs=("s",), outputs=("part",), starts=(1, 0), sizes=(5, 4), steps=(1, 1)),
        op.Update(inputs=("s", "part"), outputs=("shifted",), starts=(0, 0)),
        op.Update(inputs=("shifted", "x"), outputs=("y",), starts=(5, 0)),
    ]
    check(program(operators, (1, 4), (grurt.ProgramState("s", (6, 4), "y"),)), 2)


def test_a_value_of_parts_that_is_reshaped_on_its_way_into_a_larger_one() -> None:
    """Its parts would not lie in digits there."""
    operators = [
        op.Concat(inputs=("x", "x", "x"), outputs=("together",), axis=2),
        op.Reshape(inputs=("together",), outputs=("reshaped",), shape=(10, 2, 2, 1, 3)),
        op.Pad(inputs=("reshaped",), outputs=("y",), before=(0, 0, 0, 1, 0), after=(2, 0, 0, 0, 1), value=-1.25),
    ]
    check(program(operators, (4, 5, 2)), 3)


def test_a_border_that_is_reshaped_on_its_way_into_a_larger_one() -> None:
    operators = [
        op.Pad(inputs=("x",), outputs=("padded",), before=(1, 0, 0), after=(2, 2, 2), value=0.5),
        op.Reshape(inputs=("padded",), outputs=("reshaped",), shape=(1, 3, 6, 7, 2)),
        op.Conv(
            inputs=("reshaped", "weight"),
            outputs=("y",),
            strides=(1, 3, 2),
            dilations=(2, 1, 2),
            before=(1, 0, 1),
            after=(2, 0, 0),
        ),
    ]
    check(program(operators, (3, 5, 4), weight=(5, 3, 1, 3, 2)), 4)
