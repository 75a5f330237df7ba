"""Seeded random step programs: operators of every kind over shapes of every rank, several inputs, states and results.

What amplifies rounding errors is kept from doing so again and again: in float32 a program answers the same as in
float64, to 1e-5, of inputs near one and states below one.
"""

from __future__ import annotations

from typing import Any

import models
import numpy as np
import step_operators
from step_values import LIMIT, Values

import grurt

__all__ = ["LIMIT", "OF_MATRICES", "in_any_format", "program_or_graph", "random_step_program"]

OF_MATRICES = ("conv", "conv_transpose", "mat_mul", "gru", "lstm", "rnn")
"""Kinds of operator whose weights may be quantized."""


def program_or_graph(rng: np.random.Generator, **options: Any) -> grurt.Model:
    """Return a random program, one time of four, half of them quantized; else a random graph of `models`."""
    if rng.integers(4) == 0:
        program = random_step_program(int(rng.integers(1 << 32)))
        return in_any_format(program, rng) if rng.integers(2) else program
    return models.random_model(rng, **options)


def random_step_program(seed: int, *, n_operators: int | None = None, kinds: tuple[str, ...] = ()) -> grurt.Model:
    """Return a model of one program; its outputs are the program's results by name.

    Parameters
    ----------
    seed
        Of everything that is random: programs of one seed are equal.
    n_operators
        How many operators there are at least; 5 to 40 if it is not given. What states become is added.
    kinds
        Kinds of operator that are drawn, by their names in files; all of them if it is not given. Others may be there
        to bring values into the shapes that these read.
    """
    rng = np.random.default_rng(seed)
    values = Values(rng)
    count = int(rng.integers(5, 41)) if n_operators is None else n_operators
    for i in range(int(rng.integers(1, 4))):
        values.add_input(f"in{i}", values.random_shape())
    for i in range(int(rng.integers(0, 4))):
        values.add_state(f"state{i}", values.random_shape())
    makers = [step_operators.MAKERS[kind] for kind in kinds] or list(step_operators.MAKERS.values())
    while len(values.operators) < count:
        makers[int(rng.integers(len(makers)))](values)
    values.end_states()
    return _model(values, _results(values))


def in_any_format(model: grurt.Model, rng: np.random.Generator) -> grurt.Model:
    """Return a model of a program whose matrices, or some of them, are quantized, if it has any."""
    names = [part.name for layer in model.layers for part in layer.parts()]
    if not names:
        return model
    kept = [name for name in names[1:] if rng.integers(4) == 0]
    return model.quantize(("float16", "int8")[rng.integers(2)], keep=kept)


def _results(values: Values) -> tuple[str, ...]:
    """Return mostly all that nobody reads; else what is written last, and any others: also inputs and states."""
    last = next(filter(None, values.operators[-1].outputs))
    if values.rng.random() < 0.3:
        return tuple(dict.fromkeys((values.pick(), values.pick(), last)))
    read = {name for operator in values.operators for name in operator.inputs} | {s.result for s in values.states}
    written = [name for operator in values.operators for name in operator.outputs]
    return tuple(name for name in written if name == last or (name in values.shapes and name not in read))


def _model(values: Values, results: tuple[str, ...]) -> grurt.Model:
    used = {name for operator in values.operators for name in operator.inputs}
    used |= {state.initial for state in values.states if state.initial is not None}
    constants = {name: array for name, array in values.constants.items() if name in used}
    program = grurt.Program(
        name="program",
        inputs=tuple(values.inputs),
        input_shapes=tuple(values.inputs.values()),
        constants={name: array.shape for name, array in constants.items()},
        states=tuple(values.states),
        operators=tuple(values.operators),
        results=results,
    )
    ends = np.cumsum([0, *(int(np.prod(values.shapes[name])) for name in results)]).tolist()
    pieces = [
        grurt.Slice(name=f"{name} of program", inputs=("program",), start=start, stop=stop)
        for name, start, stop in zip(results, ends, ends[1:], strict=False)
    ]
    return grurt.Model(
        layers=[program, *pieces],
        weights={f"program.{name}": array for name, array in constants.items()},
        inputs=[grurt.Input(name, int(np.prod(shape))) for name, shape in values.inputs.items()],
        outputs=[grurt.Output(name, piece.name) for name, piece in zip(results, pieces, strict=True)],
    )
