"""What the source's own loop feeds back from one timestep to the next: a stream keeps the states of layers themselves.

A source that takes states as inputs is run by feeding its outputs back. That is what a stream does only if the outputs
are the states, each for the input that it came in by. Where they are something made of the states, or the states
in another order, the loop computes something else.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from grurt.escaping import listed
from grurt.network.inputs import Output
from grurt.network.layers import AnyLayer, LastStep
from grurt.network.signature import Signature, StatePort, ValuePort
from grurt.network.value import Value

_DECORATIONS = frozenset(("in", "input", "out", "output", "new", "next", "prev", "last", "initial", "final", "n"))
"""Parts of names that tell what goes in from what comes out, not one state from another."""


def feedback_fault(
    signature: Signature,
    layers: Sequence[AnyLayer],
    values: Mapping[str, Value],
    state_shapes: Mapping[str, tuple[int, ...]],
    outputs: Sequence[Output],
) -> str | None:
    """Return why the source's own loop feeds back something else than its layers' states; None if it feeds back these.

    It is one of two faults: an output that has the shape of a state's input and is computed from that state, where no
    output is the state itself; or states that are given out in another order than they are taken in. Tensors without
    meaning, those of sources of one timestep, are not looked at: which belong together has been said. Nor are contexts,
    which nothing gives out.
    """
    states = [port for port in signature.inputs if isinstance(port, StatePort) and port.states[0] in state_shapes]
    taken = [port for port in states if "index" not in port.axes]
    given = [port for port in signature.outputs if isinstance(port, StatePort) and "index" not in port.axes]
    shown = {name for port in given for name in port.states}
    kept = [port for port in taken if shown.isdisjoint(port.states)]
    return _transformation(signature, kept, layers, values, state_shapes, outputs) or _exchange(taken, given)


def _transformation(
    signature: Signature,
    kept: Sequence[StatePort],
    layers: Sequence[AnyLayer],
    values: Mapping[str, Value],
    state_shapes: Mapping[str, tuple[int, ...]],
    outputs: Sequence[Output],
) -> str | None:
    """Return which output is made of a state that is taken in and not given out."""
    of_size: dict[int, int] = defaultdict(int)
    for place, port in enumerate(kept):
        of_size[sum(math.prod(state_shapes[name]) for name in port.states)] |= 1 << place
    made_of = _dependencies(kept, layers)
    shown_as = {output.name: output.value for output in outputs}
    for output in signature.outputs if kept else ():
        if isinstance(output, ValuePort) and "time" not in output.axes:
            value = shown_as[output.value]
            for place in _bits(made_of[value] & of_size[values[value].size]):
                if _may_be_fed_back(output, kept[place], signature):
                    return (
                        f"the source computes its output {output.name!r} from the state that {kept[place].name!r} "
                        "takes, and would feed it back, where a stream keeps the state itself"
                    )
    return None


def _may_be_fed_back(output: ValuePort, state: StatePort, signature: Signature) -> bool:
    """Whether an output may be meant as the next state: an only one, of whole sequences, is the answer."""
    is_only = len(signature.outputs) == 1 and any("time" in port.axes for port in signature.inputs)
    return not is_only or _stem(output.name) == _stem(state.name)


def _dependencies(ports: Sequence[StatePort], layers: Iterable[AnyLayer]) -> dict[str, int]:
    """Return by value which ports' states it is computed from, a bit for each; a state is not computed from itself."""
    own = {name: 1 << place for place, port in enumerate(ports) for name in port.states}
    found: dict[str, int] = defaultdict(int)
    for layer in layers:
        for name in layer.inputs:
            found[layer.name] |= found[name] | own.get(name, 0)
    for layer in layers:
        if isinstance(layer, LastStep):
            found[layer.name] &= ~own.get(layer.inputs[0], 0)
    return found


def _bits(mask: int) -> Iterator[int]:
    while mask:
        place = (mask & -mask).bit_length() - 1
        yield place
        mask &= mask - 1


def _exchange(taken: Sequence[StatePort], given: Sequence[StatePort]) -> str | None:
    """Return which states are given out for others; by their names, or where these do not tell, by their order."""
    by_states = {frozenset(port.states): port for port in given}
    pairs = [(port, by_states[key]) for port in taken if (key := frozenset(port.states)) in by_states]
    stems = [(_stem(port.name), _stem(other.name)) for port, other in pairs]
    names_tell = {stem for stem, _ in stems} == {stem for _, stem in stems} and len({stem for stem, _ in stems}) > 1
    place_of = {id(port): place for place, port in enumerate(given)}
    places = [place_of[id(other)] for _, other in pairs]
    fit = (
        [one == other for one, other in stems]
        if names_tell
        else [a == b for a, b in zip(places, sorted(places), strict=True)]
    )
    for (port, other), is_own in zip(pairs, fit, strict=True):
        if not is_own or port.states != other.states:
            return (
                f"the source gives the states of {listed(other.states)} out in {other.name!r}, and takes those of "
                f"{listed(port.states)} from {port.name!r}: it exchanges them, where in a stream each keeps its own"
            )
    return None


def _stem(name: str) -> tuple[str, ...]:
    """Return the parts of a name that tell one state from another: of ``"h1_in"`` and ``"h1_out"`` the same."""
    parts = re.findall(r"[a-z]+|\d+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    return tuple(part.removesuffix("n") or part for part in parts if part not in _DECORATIONS)
