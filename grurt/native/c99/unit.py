"""A C file in the making: its arrays and functions, and the statements of a timestep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from grurt.native.c99 import text
from grurt.native.c99.memory import Arena, Slot, last_readers, sources
from grurt.native.c99.names import Names
from grurt.native.c99.snippets import PREFIX, functions
from grurt.native.c99.states import State, values_of

if TYPE_CHECKING:
    from grurt.array_types import Array, Floats
    from grurt.network.layers import Layer
    from grurt.network.network import Network

_OWN_NAMES = (
    *("state", "scratch", "step", "run", "reset", "selftest", "get_state", "set_state", "check", "advance", "are_near"),
    *("context", "make_context", "set_context", "wrong_size", "no_context"),
    *("ok", "not_finite", "no_such_token", "version", "fingerprint", "flash", "no_selftest", "state_size", "h"),
)
"""What a file defines besides: functions, types and macros."""

_LOCALS = ("state", "scratch", "context", "i", "k", "p", "t", "x", "y", "n_steps", "values", "features", "status")


class Unit:
    """What layers are written into.

    Parameters
    ----------
    network
        The model.
    ports, given
        What its inputs and outputs are called in C, in order, and what streams are given once.
    written_at_once
        Outputs by the value that they are, whose memory the caller's is.
    """

    def __init__(
        self, network: Network, ports: Sequence[str], given: Sequence[str], written_at_once: dict[str, str]
    ) -> None:
        self.network = network
        self.constants: list[str] = []
        self.constant_bytes = 0
        self.functions: list[str] = []
        self.statements: list[str] = []
        self.states: list[State] = []
        self.contexts: dict[str, tuple[str, int]] = {}
        """The members of a context by the layers that read them, and how many floats they have."""
        self.features_size = 0
        self.arena = Arena()
        self.pointers: dict[str, Slot] = {}
        self.sources = sources(network)
        self.last_readers = last_readers(network, self.sources)
        self._written_at_once = written_at_once
        self._places = dict(zip((port.name for port in network.inputs), ports, strict=False))
        self._slots: dict[str, Slot] = {}
        of_ports = [name for port in (*ports, *given) for name in (f"test_{port}", f"{port}_size")]
        self._file_names = Names([*_OWN_NAMES, *functions(), *of_ports])
        self._local_names = Names([*_LOCALS, *ports, *given])
        self._members = Names(_LOCALS)
        self._context_members = Names()

    def file_name(self, wanted: str) -> str:
        """Return a name of the file's own, with the prefix."""
        return PREFIX + self._file_names.new(wanted)

    def count(self, value: str) -> int:
        """Return how many numbers a value has at a timestep."""
        found = self.network.values[value]
        return found.positions * found.size

    def place(self, value: str) -> str:
        """Return the pointer to a value."""
        return self._places[self.sources[value]]

    @property
    def state_bytes(self) -> int:
        """The size of the struct of a state, with pointers of 8 bytes."""
        words = values_of(self.states) + sum(bool(state.row) for state in self.states)
        return 8 + 8 * bool(self.contexts) + -(-words // 2) * 8

    @property
    def scratch_bytes(self) -> int:
        """The size of the struct of the scratch memory."""
        floats, integers = self.arena.size, self.features_size
        return 4 * (floats + -(-integers // 4)) if floats else max(1, integers)

    @property
    def context_bytes(self) -> int:
        """The size of the struct of a context; 0 if there is none."""
        return 4 * sum(size for _, size in self.contexts.values())

    def weight(self, layer: Layer, name: str) -> Array:
        """Return a weight of a layer."""
        return self.network.weights[f"{layer.name}.{name}"]

    def optional_weight(self, layer: Layer, name: str, size: int) -> Floats:
        """Return a weight of a layer, zeros if it has none."""
        return self.network.weights.get(f"{layer.name}.{name}", np.zeros(size, np.float32))

    def constant(self, owner: str, what: str, array: Array) -> str:
        """Add a read-only array of a layer, or of what else has a name, and return its name."""
        name = self.file_name(f"{owner}_{what}")
        self.constant_bytes += array.nbytes
        self.constants.append(text.constant(name, np.ascontiguousarray(array), place=f"{PREFIX.upper()}FLASH"))
        return name

    def function(self, owner: str, equations: Sequence[str], parameters: str, body: str) -> str:
        """Add a function that does what a layer does, or what else has a name, and return its name."""
        name = self.file_name(owner)
        head = text.comment([f"{owner}: {equations[0]}", *equations[1:]])
        self.functions.append(f"{head}static void {name}({parameters})\n{{\n{text.indented([body])}\n}}\n")
        return name

    def state(
        self,
        layer: Layer,
        size: int,
        initial: Floats | None = None,
        row: int = 0,
        name: str | None = None,
        digits: tuple[tuple[int, int], ...] = (),
    ) -> State:
        """Add a state of a layer, of its name if there is no other, and return it: see `State`."""
        source = name or layer.name
        first = None if initial is None else self.constant(layer.name, "initial_state", initial)
        state = State(self._members.new(source), source, size, first, row, digits)
        if row:
            self._members.new(state.counter)
        self.states.append(state)
        return state

    def context_member(self, layer: Layer) -> str:
        """Return the member of a context that a layer reads."""
        if layer.name not in self.contexts:
            self.contexts[layer.name] = (self._context_members.new(layer.name), layer.context_size())
        return self.contexts[layer.name][0]

    def keep_in_state(self, value: str, state: State) -> str:
        """Say that a value is what its layer's state holds, and return the pointer."""
        self._places[value] = f"state->{state.name}"
        return self._places[value]

    def new_value(self, layer: Layer, *, in_place: bool = False) -> str:
        """Return the pointer to memory that a layer writes its value to: its input's, if that may be, and is done."""
        if layer.name in self._written_at_once:
            self._places[layer.name] = self._written_at_once[layer.name]
            return self._places[layer.name]
        slot = self._dying_input(layer) if in_place else None
        name = self._local_names.new(layer.name)
        self._slots[layer.name] = slot or self.arena.take(self.count(layer.name))
        self.pointers[name] = self._slots[layer.name]
        self._places[layer.name] = name
        return name

    def new_input(self, value: str, size: int) -> str:
        """Return the pointer to memory for an input that is not read as it comes."""
        name = self._local_names.new(value)
        self._slots[value] = self.pointers[name] = self.arena.take(size)
        self._places[value] = name
        return name

    def _dying_input(self, layer: Layer) -> Slot | None:
        number = self.network.layers.index(layer)
        for name in layer.inputs:
            source = self.sources[name]
            slot = self._slots.get(source)
            if slot and self.last_readers[source] == number and slot.size == self.count(layer.name):
                del self._slots[source]
                return slot
        return None

    @contextmanager
    def work(self, size: int) -> Iterator[str]:
        """Hand out memory for some floats while a layer is written."""
        slot = self.arena.take(size)
        yield pointer(slot)
        self.arena.give_back([slot])

    def features(self, size: int) -> str:
        """Return the pointer to memory for the features of a product with integers, until the next layer's."""
        self.features_size = max(self.features_size, size)
        return "scratch->features"

    def forget(self, number: int) -> None:
        """Take back the memory of values that no layer behind this one reads."""
        done = [name for name in self._slots if self.last_readers[name] <= number]
        self.arena.give_back(self._slots.pop(name) for name in done)

    def uses(self, layer: Layer) -> tuple[int, int]:
        """Return the positions and the features of what a layer reads first."""
        value = self.network.values[layer.inputs[0]]
        return value.positions, value.size

    def add(self, *lines: str) -> None:
        """Add statements to a timestep."""
        self.statements += lines

    def each_position(self, layer: Layer, statement: str) -> None:
        """Add a statement for each position p of a layer's value."""
        positions = self.network.values[layer.name].positions
        if positions == 1:
            self.add(statement)
        else:
            self.add(f"for (int p = 0; p < {positions}; p++)", f"    {statement}")

    def row(self, value: str, layer: Layer) -> str:
        """Return the pointer to the row of a value at position p of a layer's value."""
        found = self.network.values[value]
        if self.network.values[layer.name].positions == 1 or found.positions == 1:
            return self.place(value)
        return f"{self.place(value)} + {found.size} * p"


def pointer(slot: Slot) -> str:
    """Return the pointer to a piece of the scratch memory."""
    return f"scratch->values + {slot.start}" if slot.start else "scratch->values"
