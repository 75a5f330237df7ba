"""Cells that are spelled out in single operators, and loops of them, which no GRU over a sequence computes."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_graphs import HIDDEN, INPUT, Shapes, cell, cell_weights, convert, kinds, proto, written

from grurt.errors import ConversionError

WEIGHTS = {
    **cell_weights(),
    "rows": np.array([-1, INPUT]),
    **{f"at{position}": np.array(position) for position in range(3)},
}


def loop(*positions: int) -> str:
    """Return cells over some positions of ``x (batch, time, features)``, each with the state of the one before."""
    steps = [
        f"x{n} = Gather <axis = 1>(x, at{position});" + cell(f"x{n}", f"h{n}" if n else "h", f"h{n + 1}")
        for n, position in enumerate(positions)
    ]
    return ";".join([*steps, f"y = Identity(h{len(positions)})"])


def model_of(text: str, inputs: Shapes) -> list[str]:
    """Convert, and return the kinds of the layers."""
    nodes = written(text)
    read = {name for one in nodes for name in one.input}
    return kinds(convert(proto(nodes, inputs, ["y"], {name: WEIGHTS[name] for name in WEIGHTS if name in read})))


def test_a_loop_over_all_timesteps_is_a_gru() -> None:
    assert model_of(loop(0, 1, 2), {"x": (2, 3, INPUT), "h": (2, HIDDEN)}) == ["gru"]


@pytest.mark.parametrize(
    ("nodes", "inputs", "message"),
    [
        (
            loop(0, 2, 1),
            {"x": (2, 3, INPUT), "h": (2, HIDDEN)},
            r"its state is not that of the timestep before .position 2 of axis 1 of input 'x'.; each timestep must rea",
        ),
        (
            loop(1, 2),
            {"x": (2, 3, INPUT), "h": (2, HIDDEN)},
            "it begins at position 1 of axis 1 of input 'x'; a loop must run over whole sequences",
        ),
        (
            f"a = Gather <axis = 1>(x, at0); b = Gather(x, at1); {cell('a', 'h', 'm')}; {cell('b', 'm', 'y')}",
            {"x": (3, 3, INPUT), "h": (3, HIDDEN)},
            "its input is no further timestep of what the steps before it read; a GRU reads a sequence",
        ),
        (
            cell("x", "h", "y"),
            {"x": (2, INPUT), "h": (HIDDEN,)},
            r"its initial state, of shape \(5,\), is made of merged axes or several states",
        ),
        (
            cell("x", "h", "y"),
            {"x": (4, 2, INPUT), "h": (2, HIDDEN)},
            r"its input, of shape \(4, 2, 3\), is not one timestep; expected \(batch, features\)",
        ),
        (
            f"a = Reshape(x, rows); {cell('a', 'h', 'y')}",
            {"x": (4, 2, INPUT), "h": (8, HIDDEN)},
            r"its batch is merged from several axes; expected \(batch, features\)",
        ),
    ],
)
def test_what_is_no_gru(nodes: str, inputs: Shapes, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        model_of(nodes, inputs)
