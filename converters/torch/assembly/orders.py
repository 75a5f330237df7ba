"""Orders of modules in which each reads what the one before it writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from grurt.converters.kinds import Reading
from grurt.converters.torch.assembly.readings import Item

MAX_STEPS = 20_000
"""How many beginnings of orders are tried."""

Order = list[tuple[Item, Reading]]
"""Items in an order, each understood in one way."""


def orders(items: Sequence[Item]) -> Iterator[Order]:
    """Yield the orders that fit, those that keep to the items' own the longest first, until too many were tried."""
    return _orders(items, [], None, iter(range(MAX_STEPS)))


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


def readings_that_fit(order: Order) -> list[tuple[Reading, ...]]:
    """Return, for each item of an order, the ways to understand it for which there is an order of all that fits.

    Where its name tells one, that is it. Where too many orders would have to be tried, all ways are returned.
    """
    told = [Item(item.module, (reading,)) if item.named else item for item, reading in order]
    steps = iter(range(MAX_STEPS))
    found = []
    for index, (_, reading) in enumerate(order):
        others = [other for other in told[index].readings if other != reading]
        possible = [other for other in others if _may_fit(told, index, other, steps)]
        found.append((reading, *possible))
    return found


def _may_fit(items: Sequence[Item], index: int, reading: Reading, steps: Iterator[int]) -> bool:
    """Say whether there is an order with one of the items understood in that way, or no time left to find one."""
    changed = [*items[:index], *items[index + 1 :]]
    changed.insert(0 if reading.tokens else index, Item(items[index].module, (reading,)))  # tokens are read first
    return next(_orders(changed, [], None, steps), None) is not None or next(steps, None) is None
