"""Step programs as a whole, and the random ones that the engine is compared with."""

from __future__ import annotations

from typing import Any, get_args

import models
import numpy as np
import pytest
import step_programs

import grurt
from grurt import operators, reference
from grurt.reference import programs
from grurt.reference.operators import OPERATORS

Array = np.ndarray[Any, Any]


def program_model(size: int, *layers_operators: operators.AnyOperator, **fields: Any) -> grurt.Model:
    weights = fields.pop("weights", {})
    program = grurt.Program(
        name="program", inputs=("x",), input_shapes=((size,),), operators=layers_operators, **fields
    )
    return grurt.Model(layers=[program], weights=weights, inputs=[grurt.Input("x", size)])


def test_all_states_change_at_once_at_the_end_of_the_timestep() -> None:
    add = operators.Combine(inputs=("a", "x"), outputs=("sum",), operation="add")
    states = (
        grurt.ProgramState("a", (1,), "b", "start"),
        grurt.ProgramState("b", (1,), "a"),
        grurt.ProgramState("latest", (1,), "x"),
    )
    model = program_model(
        1,
        add,
        states=states,
        constants={"start": (1,)},
        results=("sum", "a", "b", "latest"),
        weights={"program.start": np.array([8.0])},
    )
    xs = np.array([[1.0], [2.0], [3.0]])
    outputs, final = reference.run(model, {"x": xs})
    assert outputs["y"].tolist() == [[9, 8, 0, 0], [2, 0, 8, 1], [11, 8, 0, 2]]
    assert {name: state.tolist() for name, state in final.items()} == {"a": [0], "b": [8], "latest": [3]}


@pytest.mark.parametrize("seed", range(5))
def test_given_states_continue_a_sequence(seed: int) -> None:
    model = step_programs.random_step_program(seed)
    inputs = models.random_inputs(model.inputs, 10, np.random.default_rng(seed))
    whole, final = reference.run(model, inputs)
    first, states = reference.run(model, {name: xs[:4] for name, xs in inputs.items()})
    second, states = reference.run(model, {name: xs[4:] for name, xs in inputs.items()}, states)
    assert {name: state.shape for name, state in states.items()} == dict(model.state_shapes)
    for name, expected in whole.items():
        np.testing.assert_array_equal(np.concatenate([first[name], second[name]]), expected)
    for name, expected in final.items():
        np.testing.assert_array_equal(states[name], expected)


def test_states_are_the_callers_own() -> None:
    identity = operators.Apply(inputs=("x",), outputs=("y",), function=grurt.Relu())
    states = (grurt.ProgramState("a", (2,), "x"), grurt.ProgramState("b", (2,), "x"))
    xs = np.ones((1, 2))
    _, final = reference.run(program_model(2, identity, states=states, results=("y",)), {"x": xs})
    final["a"][:] = 7
    assert final["b"].tolist() == [1, 1]
    assert xs.tolist() == [[1, 1]]


@pytest.mark.parametrize("seed", range(30))
def test_rounding_to_float32_changes_a_random_program_little(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = step_programs.random_step_program(seed)
    xs = models.random_inputs(model.inputs, 20, np.random.default_rng(seed))
    outputs, states = reference.run(model, xs)
    monkeypatch.setattr(programs, "OPERATORS", {kind: _rounded(function) for kind, function in OPERATORS.items()})
    rounded_outputs, rounded_states = reference.run(model, xs)
    for name, expected in {**outputs, **states}.items():
        found = {**rounded_outputs, **rounded_states}[name]
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6, err_msg=name)
        assert np.abs(expected).max() <= step_programs.LIMIT


def _rounded(function: Any) -> Any:
    def of_float32(*arguments: Any) -> tuple[Array, ...]:
        result = function(*arguments)
        arrays = result if isinstance(result, tuple) else (result,)
        return tuple(np.asarray(array).astype(np.float32).astype(np.float64) for array in arrays)

    return of_float32


def test_random_programs_have_every_operator_and_rank() -> None:
    found = [step_programs.random_step_program(seed).layers[0] for seed in range(20)]
    kinds = {type(operator) for program in found for operator in program.operators}
    assert kinds == set(OPERATORS) == set(get_args(operators.AnyOperator))
    ranks = {len(shape) for program in found for shape in program.shapes().values()}
    assert ranks == set(range(6))
    assert {len(program.inputs) for program in found} == {1, 2, 3}
    assert any(state.initial for program in found for state in program.states)


def test_a_seed_makes_the_same_program_again() -> None:
    first, second = (step_programs.random_step_program(3) for _ in range(2))
    assert first.fingerprint == second.fingerprint
    assert first.fingerprint != step_programs.random_step_program(4).fingerprint


def test_a_random_program_may_be_of_a_few_kinds() -> None:
    (program, *_) = step_programs.random_step_program(5, n_operators=30, kinds=("conv", "gru")).layers
    assert isinstance(program, grurt.Program)
    kinds = {operator.kind for operator in program.operators}
    assert {"conv", "gru"} <= kinds <= {"conv", "gru", "reshape", "apply", "gather"}
