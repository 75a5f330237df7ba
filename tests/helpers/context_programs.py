"""Random step programs some of whose inputs are contexts."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import step_programs

import grurt

Arrays = dict[str, Any]


def attention() -> grurt.Model:
    """Return a decoder: its state attends to a memory of 6 places, and is moved by what it finds there."""
    layer = grurt.Program(
        name="decoder",
        inputs=("x",),
        input_shapes=((1, 8),),
        contexts=(grurt.ProgramContext("memory", (6, 5)),),
        constants={"key": (5, 8), "value": (5, 8)},
        states=(grurt.ProgramState("h", (1, 8), "next_h"),),
        operators=(
            grurt.operators.MatMul(inputs=("memory", "key"), outputs=("keys",)),
            grurt.operators.Transpose(inputs=("keys",), outputs=("columns",), perm=(1, 0)),
            grurt.operators.MatMul(inputs=("h", "columns"), outputs=("scores",)),
            grurt.operators.Softmax(inputs=("scores",), outputs=("weights",), axis=1),
            grurt.operators.MatMul(inputs=("weights", "memory"), outputs=("found",)),
            grurt.operators.MatMul(inputs=("found", "value"), outputs=("values",)),
            grurt.operators.Combine(inputs=("values", "x"), outputs=("moved",), operation="add"),
            grurt.operators.Apply(inputs=("moved",), outputs=("next_h",), function=grurt.functions.Tanh()),
        ),
        results=("next_h",),
    )
    rng = np.random.default_rng(0)
    weights = {f"decoder.{name}": rng.normal(size=shape) for name, shape in layer.constants.items()}
    return grurt.Model(layers=[layer], weights=weights, inputs=[grurt.Input("x", 8)])


def with_contexts(model: grurt.Model, names: list[str]) -> grurt.Model:
    """Return a model of a program to which some inputs are given once."""
    program, *others = model.layers
    assert isinstance(program, grurt.Program)
    shapes = dict(zip(program.inputs, program.input_shapes, strict=True))
    left = {name: shape for name, shape in shapes.items() if name not in names}
    changed = msgspec.structs.replace(
        program,
        inputs=tuple(left),
        input_shapes=tuple(left.values()),
        contexts=tuple(grurt.ProgramContext(name, shapes[name]) for name in names),
    )
    inputs = [port for port in model.inputs if port.name not in names]
    return model.replaced(layers=[changed, *others], inputs=inputs, signature=None)


def random_pair(seed: int) -> tuple[grurt.Model, grurt.Model]:
    """Return a random program of several inputs, half of the time quantized, and the same with contexts."""
    rng = np.random.default_rng(seed)
    while True:
        model = step_programs.random_step_program(int(rng.integers(1 << 32)))
        names = [port.name for port in model.inputs]
        if len(names) > 1:
            break
    if rng.integers(2):
        model = step_programs.in_any_format(model, rng)
    count = int(rng.integers(1, len(names)))
    return model, with_contexts(model, [str(name) for name in rng.choice(names, count, replace=False)])


def values_of(model: grurt.Model, seed: int) -> Arrays:
    """Return random numbers to give once."""
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in model.context_shapes.items()}


def repeated(values: Arrays, n_steps: int) -> Arrays:
    """Return what is given once as an input of so many timesteps."""
    return {name: np.repeat(array.reshape(1, -1), n_steps, axis=0) for name, array in values.items()}
