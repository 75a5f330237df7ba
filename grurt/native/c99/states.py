"""The functions that set and copy states."""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate

from grurt.native.c99.text import indented, index


@dataclass(frozen=True)
class State:
    """A member of the state: the floats of one of the model's states, in the order of its shape.

    Parameters
    ----------
    name, source
        What it is called in C, and in the model.
    size
        How many floats it has.
    initial
        The name of the array that holds what they are at first; None: zeros.
    row
        Of a ring, how many of them a timestep has: a second member counts which timestep is the oldest. 0 otherwise.
    digits
        How many places there are along each axis, and how far apart they lie, where that is not row by row.
    """

    name: str
    source: str
    size: int
    initial: str | None
    row: int
    digits: tuple[tuple[int, int], ...] = ()

    @property
    def counter(self) -> str:
        """The member that says which timestep of a ring is the oldest."""
        return f"{self.name}_oldest"


def values_of(states: Sequence[State]) -> int:
    """Return how many floats states are."""
    return sum(state.size for state in states)


def reset(states: Sequence[State], *, has_context: bool) -> str:
    """Return the function that goes to the initial state, which leaves a context where it is."""
    zeros = ["state->n_steps = 0;", *map(_zeros, states)] if has_context else ["memset(state, 0, sizeof *state);"]
    copies = [
        f"memcpy(state->{state.name}, {state.initial}, sizeof state->{state.name});"
        for state in states
        if state.initial
    ]
    return _function("void grurt_reset(grurt_state *state)", [*zeros, *copies])


def _zeros(state: State) -> str:
    zeros = f"memset(state->{state.name}, 0, sizeof state->{state.name});"
    return f"{zeros}\nstate->{state.counter} = 0;" if state.row else zeros


def get_state(states: Sequence[State]) -> str:
    """Return the function that copies a state out."""
    lines = [line for state, values in _placed(states) for line in _copied_out(state, values)]
    unused = [] if states else ["(void)values;"]
    return _function(
        "int64_t grurt_get_state(const grurt_state *state, float *values)", [*unused, *lines, "return state->n_steps;"]
    )


def set_state(states: Sequence[State], unbounded: Collection[str]) -> str:
    """Return the function that copies a state in; states that are ``unbounded`` may be infinite."""
    checks = [
        f"if (!grurt_are_finite({values}, {state.size}))\n    return GRURT_NOT_FINITE;"
        for state, values in _placed(states)
        if state.source not in unbounded
    ]
    copies = [line for state, values in _placed(states) for line in _copied_in(state, values)]
    unused = [] if states else ["(void)values;"]
    lines = [*unused, *checks, "state->n_steps = n_steps;", *copies, "return GRURT_OK;"]
    return _function("int grurt_set_state(grurt_state *state, int64_t n_steps, const float *values)", lines)


def _placed(states: Sequence[State]) -> list[tuple[State, str]]:
    """Return the states, each with where its floats are among all."""
    found, start = [], 0
    for state in states:
        found.append((state, f"values + {start}" if start else "values"))
        start += state.size
    return found


def _copied_out(state: State, values: str) -> list[str]:
    if state.digits:
        return [_in_order(state, f"({values})[{{dense}}] = state->{state.name}[{{place}}];")]
    if not state.row:
        return [f"memcpy({values}, state->{state.name}, sizeof state->{state.name});"]
    return [
        f"for (int i = 0; i < {state.size}; i++)",
        f"    ({values})[i] = state->{state.name}[({state.row} * state->{state.counter} + i) % {state.size}];",
    ]


def _in_order(state: State, statement: str) -> str:
    """Return loops over the axes of a state, around a statement that copies a number between two orders."""
    names = [f"i{axis}" for axis in range(len(state.digits))]
    dense = accumulate([size for size, _ in state.digits[:0:-1]], operator.mul, initial=1)
    text = statement.format(
        dense=index(0, [*dense][::-1], names), place=index(0, [stride for _, stride in state.digits], names)
    )
    for name, (size, _) in zip(reversed(names), reversed(state.digits), strict=True):
        text = f"for (int {name} = 0; {name} < {size}; {name}++)\n{indented([text])}"
    return text


def _copied_in(state: State, values: str) -> list[str]:
    if state.digits:
        return [_in_order(state, f"state->{state.name}[{{place}}] = ({values})[{{dense}}];")]
    copy = f"memcpy(state->{state.name}, {values}, sizeof state->{state.name});"
    return [copy, f"state->{state.counter} = 0;"] if state.row else [copy]


def _function(signature: str, lines: Sequence[str]) -> str:
    return f"{signature}\n{{\n{indented(lines)}\n}}\n"
