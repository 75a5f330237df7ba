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

    Where its name tells one, that is it.
    """
    told = [Item(item.module, (reading,)) if item.named else item for item, reading in order]
    found = []
    for index, (_, reading) in enumerate(order):
        others = [other for other in told[index].readings if other != reading]
        possible = [other for other in others if _has_order(told, index, other)]
        found.append((reading, *possible))
    return found


def _has_order(items: Sequence[Item], index: int, reading: Reading) -> bool:
    changed = [*items[:index], Item(items[index].module, (reading,)), *items[index + 1 :]]
    return next(orders(changed), None) is not None
