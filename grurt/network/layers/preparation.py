"""What of a step program depends on its contexts alone: it is computed once, when a stream is given them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from grurt.network.operators import AnyOperator


class Parted(NamedTuple):
    """The operators of a program with contexts, in order."""

    once: tuple[AnyOperator, ...]
    """Those that read nothing but contexts, constants, and what such operators write. Empty: nothing is done once."""
    each: tuple[AnyOperator, ...]
    """The others, which run at each timestep."""
    handed: frozenset[str]
    """Names of the values that the latter read of the former, and of contexts."""


def parted(
    operators: Iterable[AnyOperator], contexts: Collection[str], constants: Collection[str], shown: Collection[str]
) -> Parted:
    """Part the operators of a program.

    Parameters
    ----------
    operators
        Those of the program, in order.
    contexts, constants
        Names of its contexts and constants.
    shown
        Names of what it hands out: results, and what states become.
    """
    known, written = {*contexts, *constants}, set(contexts)
    once: list[AnyOperator] = []
    each: list[AnyOperator] = []
    for operator in operators:
        if contexts and known.issuperset(operator.inputs):
            once.append(operator)
            written.update(filter(None, operator.outputs))
            known |= written
        else:
            each.append(operator)
    read = {*shown, *(name for operator in each for name in operator.inputs)}
    handed = frozenset(read & written)
    if not each or handed.issubset(contexts):
        return Parted((), (*once, *each), handed)
    return Parted(tuple(once), tuple(each), handed)
