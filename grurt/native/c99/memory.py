"""Where the values of a timestep lie: memory is used again as soon as nobody reads what is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from grurt.network.network import Network


class Slot(NamedTuple):
    """A piece of the scratch memory, in floats."""

    start: int
    size: int

    @property
    def end(self) -> int:
        """The first float behind it."""
        return self.start + self.size


class Arena:
    """Scratch memory that is handed out and taken back, first fit."""

    def __init__(self) -> None:
        self._used: list[Slot] = []
        self.size = 0

    def take(self, size: int) -> Slot:
        """Return a piece that nobody has."""
        start = 0
        for slot in sorted(self._used):
            if start + size <= slot.start:
                break
            start = max(start, slot.end)
        taken = Slot(start, size)
        self._used.append(taken)
        self.size = max(self.size, taken.end)
        return taken

    def give_back(self, slots: Iterable[Slot]) -> None:
        """Take back pieces, which others may have from now on."""
        for slot in slots:
            self._used.remove(slot)


def sources(network: Network) -> dict[str, str]:
    """Return for each value whose numbers it is, in their order: of a layer that passes on what it reads, that."""
    found = {port.name: port.name for port in network.inputs}
    for layer in network.layers:
        moves = layer.passes_on or layer.rearranges
        found[layer.name] = found[layer.inputs[0]] if moves else layer.name
    return found


def last_readers(network: Network, sources: Mapping[str, str]) -> dict[str, int]:
    """Return the number of the last layer that reads a value; behind the last layer stand the model's outputs."""
    found: dict[str, int] = {}
    for number, layer in enumerate(network.layers):
        for name in layer.inputs:
            found[sources[name]] = number
        found.setdefault(sources[layer.name], number)
    for output in network.outputs:
        found[sources[output.value]] = len(network.layers)
    return found
