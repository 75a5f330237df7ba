"""What a loop counts: integers that depend on the number of the iteration, and conditions that end it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from grurt.converters.graph.nodes import Node
from grurt.converters.graph.rewriting.matching import Matcher
from grurt.converters.graph.tracing.parameters import small_integer

_COPIES = frozenset({"Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape"})
_MAX_DEPTH = 24
"""How deep sums of counters and conditions are looked into."""

_MAX_LIMITS = 16
"""How many conditions may end a loop."""


@dataclass(frozen=True)
class Count:
    """An integer, ``constant + step * iteration + sum of factor * tensor``, of tensors of one element."""

    constant: int = 0
    step: int = 0
    factors: Mapping[str, int] = field(default_factory=dict)

    def plus(self, other: Count, times: int = 1) -> Count:
        """Return ``self + times * other``."""
        names = dict.fromkeys((*self.factors, *other.factors))
        factors = {name: self.factors.get(name, 0) + times * other.factors.get(name, 0) for name in names}
        return Count(
            self.constant + times * other.constant,
            self.step + times * other.step,
            {name: factor for name, factor in factors.items() if factor},
        )

    @property
    def number(self) -> int | None:
        """The integer, where it is the same in every run and every iteration."""
        return None if self.step or self.factors else self.constant


@dataclass(frozen=True)
class Carried:
    """What a loop hands on from one iteration to the next.

    Parameters
    ----------
    name
        The tensor that the body reads.
    initial
        What that is in the first iteration.
    handed_on
        What the body computes for the next one.
    """

    name: str
    initial: str
    handed_on: str


class Counting:
    """Reads the counters and conditions of one loop.

    Parameters
    ----------
    iteration
        The tensor that holds the number of the iteration; empty if there is none.
    condition
        The tensor that says, in the body, that the loop goes on: it does, or the body would not run.
    carried
        What the loop hands on.
    variant
        All tensors that may differ between iterations.
    matcher
        Of the graph, with the body's nodes in it.
    """

    def __init__(
        self, iteration: str, condition: str, carried: Collection[Carried], variant: Collection[str], matcher: Matcher
    ) -> None:
        self._condition = condition
        self._carried = {each.name: each for each in carried}
        self._variant = variant
        self._matcher = matcher
        self._counts: dict[str, Count | None] = {iteration: Count(step=1)} if iteration else {}
        self._limits: dict[str, list[Count] | None] = {}
        self._ranks: dict[str, int] = {}

    def count(self, name: str, depth: int = _MAX_DEPTH) -> Count | None:
        """Return the integer that a tensor of one element holds; None if it is not found to count."""
        if name in self._counts:
            return self._counts[name]
        if name not in self._variant:
            number = small_integer(self._matcher.array(name))
            return Count(factors={name: 1}) if number is None else Count(number)
        self._counts[name] = None  # what is computed from itself does not count
        found = None
        if depth > 0:
            carried = self._carried.get(name)
            found = self._computed(name, depth - 1) if carried is None else self._counter(carried, depth - 1)
        self._counts[name] = found
        return found

    def rank(self, name: str, depth: int = _MAX_DEPTH) -> int:
        """Return how many axes a counter's tensor has."""
        if name not in self._ranks:
            self._ranks[name] = self._rank(name, depth)
        return self._ranks[name]

    def _rank(self, name: str, depth: int) -> int:
        array, node = self._matcher.array(name), self._matcher.producers.get(name)
        if array is not None:
            return array.ndim
        if name in self._carried:
            return self.rank(self._carried[name].initial, depth - 1) if depth else 0
        if node is None or not node.inputs or depth == 0:
            return 0
        if node.op == "Reshape":
            return len(self._matcher.integers(node.inputs[1]) or ()) if len(node.inputs) > 1 else 0
        axes = self._matcher.integers(node.inputs[1]) if len(node.inputs) > 1 else node.attributes.get("axes")
        moved = len(axes) if isinstance(axes, tuple) else 1
        first = self.rank(node.inputs[0], depth - 1)
        match node.op:
            case "Unsqueeze":
                return first + moved
            case "Squeeze":
                return max(0, first - moved)
            case "Add" | "Sub" | "Mul":
                return max(self.rank(each, depth - 1) for each in node.inputs)
        return first

    def limits(self, name: str, depth: int = _MAX_DEPTH) -> list[Count] | None:
        """Return how often the loop runs at most, where this condition ends it; None if that is not found out.

        The condition is computed in one iteration, and says whether there is another.
        """
        if name not in self._limits:
            self._limits[name] = self._limits_of(name, depth)
        return self._limits[name]

    def _limits_of(self, name: str, depth: int) -> list[Count] | None:
        if name == self._condition:
            return []
        array, node = self._matcher.array(name), self._matcher.producers.get(name)
        if array is not None:
            return [] if array.size == 1 and bool(array.item()) else None
        if node is None or depth == 0:
            return None
        if node.op in _COPIES and node.inputs:
            return self.limits(node.inputs[0], depth - 1)
        if node.op == "And" and len(node.inputs) == 2:
            one, other = (self.limits(each, depth - 1) for each in node.inputs)
            if one is None or other is None:
                return None
            both = [*one, *(count for count in other if count not in one)]
            return both if len(both) <= _MAX_LIMITS else None
        difference = self._difference(node, depth - 1)
        if difference is None or difference.step != -1:
            return None
        return [Count(difference.constant + 1, 0, difference.factors)]

    def _difference(self, node: Node, depth: int) -> Count | None:
        """Return a count that is greater than zero as long as a comparison holds."""
        if len(node.inputs) != 2:
            return None
        one, other = (self.count(each, depth) for each in node.inputs)
        if one is None or other is None:
            return None
        match node.op:
            case "Less":
                return other.plus(one, -1)
            case "LessOrEqual":
                return other.plus(one, -1).plus(Count(1))
            case "Greater":
                return one.plus(other, -1)
            case "GreaterOrEqual":
                return one.plus(other, -1).plus(Count(1))
        return None

    def _counter(self, carried: Carried, depth: int) -> Count | None:
        """Return what is carried, where the next one is this one plus the same number in every iteration."""
        self._counts[carried.name] = Count(factors={carried.name: 1})
        following = self.count(carried.handed_on, depth)
        # What was computed meanwhile speaks of the carried tensor by its name.
        self._counts = {
            name: count for name, count in self._counts.items() if count is None or carried.name not in count.factors
        }
        if following is None or following.factors != {carried.name: 1} or following.step:
            return None
        initial = self.count(carried.initial, depth)
        return None if initial is None else initial.plus(Count(step=following.constant))

    def _computed(self, name: str, depth: int) -> Count | None:
        node = self._matcher.producers.get(name)
        if node is None or not node.inputs:
            return None
        if node.op in _COPIES:
            return self.count(node.inputs[0], depth)
        found = [self.count(each, depth) for each in node.inputs]
        match node.op, found:
            case "Neg", [Count() as one]:
                return Count().plus(one, -1)
            case "Add", [Count() as one, Count() as other]:
                return one.plus(other)
            case "Sub", [Count() as one, Count() as other]:
                return one.plus(other, -1)
            case "Mul", [Count() as one, Count() as other]:
                times, of = (one.number, other) if one.number is not None else (other.number, one)
                return None if times is None else Count().plus(of, times)
        return None
