"""A stream does what the source's own loop does, or says why it cannot."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import numpy as np
import pytest

import grurt
from grurt import StatePort, ValuePort

SEQUENCE = ("batch", "time", "feature")
STATE = ("state", "batch", "feature")


def network(
    inputs: tuple[StatePort, ...],
    outputs: tuple[StatePort | ValuePort, ...],
    *layers: grurt.AnyLayer,
    time: bool = True,
) -> grurt.Model:
    """Return two GRUs of four features, one after the other, and what layers of four features follow."""
    gru = (grurt.GRU(name=name, input_size=4, hidden_size=4, bias=False) for name in ("a", "b"))
    all_layers = [*gru, *layers]
    weights = {
        f"{layer.name}.{name}": np.ones(shape) for layer in all_layers for name, shape in layer.weight_shapes().items()
    }
    x = ValuePort(name="x", value="x", dtype="float32", axes=SEQUENCE if time else ("batch", "feature"))
    shown = [port.value for port in outputs if isinstance(port, ValuePort)]
    return grurt.Model(
        layers=all_layers,
        weights=weights,
        outputs=[grurt.Output(name, name) for name in shown] or [grurt.Output("b", "b")],
        signature=grurt.Signature((x, *inputs), outputs),
    )


def state(name: str, *layers: str) -> StatePort:
    return StatePort(name=name, states=layers, dtype="float32", axes=STATE)


def vector(name: str, value: str, axes: tuple[str, ...] = ("one", "batch", "feature")) -> ValuePort:
    return ValuePort(name=name, value=value, dtype="float32", axes=axes)


LAST = grurt.LastStep(name="last", inputs=("a",))
TANH = grurt.Activation(name="tanh", function=grurt.Tanh(), inputs=("last",))
Y = ValuePort(name="y", value="b", dtype="float32", axes=SEQUENCE)


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ((state("h", "a", "b"),), (Y, state("hn", "a", "b"))),
        ((state("h1", "a"), state("h2", "b")), (Y, state("h1n", "a"), state("h2n", "b"))),
        ((state("h1", "a"), state("h2", "b")), (Y, state("h2n", "b"), state("h1n", "a"))),
        ((state("stateIn", "a"),), (Y, state("state_out", "a"))),
        ((state("h", "a"), state("g", "b")), (Y, state("p", "a"), state("q", "b"))),
        ((state("h1", "a"), state("h2", "b")), (Y, state("hn", "b", "a"))),
        ((), (Y, state("hn", "b", "a"))),
    ],
)
def test_states_given_out_for_their_own_inputs_stream(
    inputs: tuple[StatePort, ...], outputs: tuple[StatePort | ValuePort, ...]
) -> None:
    model = network(inputs, outputs, LAST, TANH)
    assert model.unstreamable_reason is None


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ((state("h", "a", "b"),), (Y, state("hn", "b", "a"))),
        ((state("h1", "a"), state("h2", "b")), (Y, state("h2n", "a"), state("h1n", "b"))),
        ((state("h", "a"), state("g", "b")), (Y, state("p", "b"), state("q", "a"))),
    ],
)
def test_exchanged_states_do_not_stream(
    inputs: tuple[StatePort, ...], outputs: tuple[StatePort | ValuePort, ...]
) -> None:
    model = network(inputs, (*outputs,))
    assert model.unstreamable_reason is not None
    assert "it exchanges them, where in a stream each keeps its own" in model.unstreamable_reason
    with pytest.raises(grurt.StreamingError, match=r"the source gives the states of .* out in .*, and takes those of"):
        model.stream()


@pytest.mark.parametrize(
    "output",
    [
        vector("hn", "tanh"),
        vector("other", "tanh"),
        vector("h_out", "tanh", ("batch", "feature")),
    ],
)
def test_what_is_made_of_a_state_does_not_stream(output: ValuePort) -> None:
    model = network((state("h", "a"),), (Y, output), LAST, TANH)
    with pytest.raises(grurt.StreamingError, match="from the state that 'h' takes, and would feed it back, where"):
        model.pool(2)
    run = model.run({"x": np.ones((1, 3, 4), np.float32), "h": np.zeros((1, 1, 4), np.float32)})
    assert set(run) == {"y", output.name}


def test_the_only_answer_of_a_sequence_is_no_state() -> None:
    only = (vector("answer", "tanh", ("batch", "feature")),)
    assert network((state("h", "a"),), only, LAST, TANH).unstreamable_reason is None
    assert network((state("answer_in", "a"),), only, LAST, TANH).unstreamable_reason is not None
    assert network((state("h", "a"),), only, LAST, TANH, time=False).unstreamable_reason is not None


def test_a_state_that_is_shown_as_a_value_streams() -> None:
    model = network((state("h", "a"),), (Y, vector("hn", "last")), LAST, TANH)
    assert model.unstreamable_reason is None


def test_many_states_and_outputs_are_looked_at_once() -> None:
    """Each doubling of both is twice the work, which is counted in lines: a square of it would be four times."""
    lines = [lines_of(many_states(count)) for count in (100, 200, 400)]
    assert lines[2] < 2.5 * lines[1] < 6.25 * lines[0]


def many_states(count: int) -> grurt.Model:
    """Return a model of so many GRUs, each with a state that comes in, and as many outputs of another value."""
    gru = [grurt.GRU(name=f"g{i}", inputs=("x",), input_size=1, hidden_size=1, bias=False) for i in range(count)]
    weights = {f"g{i}.weight_{side}": np.zeros((3, 1)) for i in range(count) for side in ("ih", "hh")}
    x = ValuePort(name="x", value="x", dtype="float32", axes=SEQUENCE)
    states = [
        StatePort(name=f"s{i}", states=(f"g{i}",), dtype="float32", axes=("batch", "feature")) for i in range(count)
    ]
    shown = [ValuePort(name=f"o{i}", value=f"o{i}", dtype="float32", axes=("batch", "feature")) for i in range(count)]
    return grurt.Model(
        layers=[*gru, grurt.LastStep(name="last", inputs=("x",))],
        weights=weights,
        inputs=[grurt.Input("x", 1)],
        outputs=[grurt.Output(port.name, "last") for port in shown],
        signature=grurt.Signature((x, *states), tuple(shown)),
    )


def lines_of(model: grurt.Model) -> int:
    """Return how many lines are run to find out whether a model streams."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        assert model.unstreamable_reason is None
    finally:
        sys.settrace(before)
    return count
