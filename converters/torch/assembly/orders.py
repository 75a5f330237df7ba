"""Orders of modules in which each reads what the one before it writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from grurt.converters.kinds import Reading
from grurt.converters.torch.assembly.readings import Item

MAX_STEPS = 20_000
"""How many beginnings of orders are tried."""

Order = list[tuple[Item, Reading]]
"""Items in an order, each understood in one way."""


def first_order(items: Sequence[Item]) -> Order | None:
    """Return the first order that fits, of those that keep to the items' own the longest; None if none was found."""
    steps = iter(range(MAX_STEPS))
    return next(_orders(items, [], None, steps), None)


def _orders(items: Sequence[Item], begun: Order, size: int | None, steps: Iterator[int]) -> Iterator[Order]:
    """Yield the orders that go on from a beginning, which writes values of a size, or of any."""
    if not items:
        yield begun
    for index, item in enumerate(items):
        for reading in item.readings:
            if next(steps, None) is None:
                return
            fits = None in (size, reading.reads) or size == reading.reads
            if fits and not (reading.tokens and begun):
                written = size if reading.writes is None else reading.writes
                rest = [*items[:index], *items[index + 1 :]]
                yield from _orders(rest, [*begun, (item, reading)], written, steps)


def readings_that_fit(items: Sequence[Item], item: Item) -> tuple[Reading, ...]:
    """Return the ways to understand one of the items for which there is an order of all that fits.

    Where its name tells one that fits, that is it.
    """
    found = []
    for reading in item.readings if len(item.readings) > 1 else ():
        told = [Item(one.module, (reading,)) if one is item else one for one in items]
        if first_order(told) is not None:
            found.append(reading)
    return tuple(found[:1] if item.named else found)
