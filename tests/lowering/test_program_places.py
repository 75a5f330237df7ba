"""Values of a program lie where they are wanted, and where that is impossible in memory of their own."""

from __future__ import annotations

import numpy as np

import grurt
from grurt import operators


def test_what_is_padded_and_joined_in_another_shape_is_whole() -> None:
    """Padded to 4 numbers, then a matrix beside a column: the 3 numbers do not lie evenly in that."""
    program = grurt.Program(
        name="program",
        inputs=("x", "column"),
        input_shapes=((3,), (2, 1)),
        operators=(
            operators.Apply(inputs=("x",), outputs=("positive",), function=grurt.Relu()),
            operators.Pad(inputs=("positive",), outputs=("padded",), before=(0,), after=(1,), value=9.0),
            operators.Reshape(inputs=("padded",), outputs=("matrix",), shape=(2, 2)),
            operators.Concat(inputs=("matrix", "column"), outputs=("joined",), axis=1),
        ),
        results=("joined",),
    )
    inputs = [grurt.Input("x", 3), grurt.Input("column", 2)]
    model = grurt.Model(layers=[program], weights={}, inputs=inputs)
    found = model.stream().step(np.float32([1, 2, -3]), np.float32([5, 6]))
    assert np.asarray(found).tolist() == [1, 2, 5, 0, 9, 6]
