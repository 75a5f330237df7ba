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
    """Return the order that keeps to the items' own the longest, if one was found: with what their names tell, if any.

    A module that reads any size is not the first: it does not tell what size the network reads.
    """
    named = [Item(item.module, item.readings[:1]) if item.named else item for item in items]
    return next(_orders(named, [], None, iter(range(MAX_STEPS))), None) or next(
        _orders(items, [], None, iter(range(MAX_STEPS))), None
    )


def is_certain(order: Order) -> bool:
    """Say whether the modules fit in no other order, which a module that reads any size always does."""
    if len(order) > 1 and any(reading.reads is None and not reading.tokens for _, reading in order):
        return False
    modules = [item.module for item, _ in order]
    sizes = [Item(item.module, _of_different_sizes(item.readings)) for item, _ in order]
    steps = iter(range(MAX_STEPS))
    others = (found for found in _orders(sizes, [], None, steps) if [item.module for item, _ in found] != modules)
    return next(others, None) is None and next(steps, None) is not None


def _of_different_sizes(readings: Sequence[Reading]) -> tuple[Reading, ...]:
    return tuple({(reading.reads, reading.writes, reading.tokens): reading for reading in readings}.values())


def _orders(items: Sequence[Item], begun: Order, size: int | None, steps: Iterator[int]) -> Iterator[Order]:
    """Yield the orders that go on from a beginning, which writes values of a size."""
    if not items:
        yield begun
    for index, item in enumerate(items):
        for reading in item.readings:
            if next(steps, None) is None:
                return
            if _goes_on(reading, begun, size):
                written = size if reading.writes is None else reading.writes
                rest = [*items[:index], *items[index + 1 :]]
                yield from _orders(rest, [*begun, (item, reading)], written, steps)


def _goes_on(reading: Reading, begun: Order, size: int | None) -> bool:
    """Say whether a module, understood in that way, can follow on a beginning that writes values of a size."""
    if not begun:
        return reading.tokens or reading.reads is not None
    return not reading.tokens and reading.reads in (None, size)


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
    if reading.reads is None and not reading.tokens:
        return True
    changed = [*items[:index], *items[index + 1 :]]
    changed.insert(0 if reading.tokens else index, Item(items[index].module, (reading,)))  # tokens are read first
    return next(_orders(changed, [], None, steps), None) is not None or next(steps, None) is None
