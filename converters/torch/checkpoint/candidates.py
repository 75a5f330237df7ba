"""Finds the state dicts in a checkpoint, and the arrays and numbers that lie beside them.

A checkpoint is dictionaries in dictionaries, in which arrays stand as weights, but also as losses, statistics and
counters; and it may hold several networks. What is a state dict shows in its names. Optimizers are known, and none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeGuard

from grurt.converters.torch.checkpoint.modules import (
    ArrayLeaf,
    is_array,
    is_module,
    is_quantized,
    items_of,
    module_tensors,
    shape_of,
)
from grurt.converters.torch.checkpoint.names import MAX_NAME, MOST, likeness
from grurt.converters.torch.checkpoint.pickles import Opaque

TOP = "."
"""The entry of a state dict that is the whole checkpoint, where others lie in it."""

MAX_COMPARED = 20
"""Candidates whose tensors are looked at where there are several: what is there twice is no choice."""

_OPTIMIZER = frozenset(
    ("param_groups", "exp_avg", "exp_avg_sq", "momentum_buffer", "square_avg", "exp_inf", "acc_delta")
)
"""What only the state of an optimizer has, or what it keeps for a parameter."""

Leaf = ArrayLeaf | int | float
"""What an array can be made of."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A dictionary or object that holds arrays, or a pickled module; ``entry`` are the keys that lead to it."""

    entry: str
    holder: object

    @cached_property
    def values(self) -> Mapping[str, object]:
        """What it holds, by name: arrays, and whatever else stands among them."""
        return dict(module_tensors(self.holder) if is_module(self.holder) else items_of(self.holder))

    @property
    def arrays(self) -> dict[str, ArrayLeaf]:
        """The arrays among them."""
        return {name: value for name, value in self.values.items() if is_array(value)}

    @cached_property
    def likeness(self) -> int:
        """How much it is like a state dict: 2 or 3 by its names, 1 if it holds matrices, else 0."""
        if is_module(self.holder):
            return MOST
        held = {name: item for name, item in self.values.items() if is_array(item) or is_quantized(item)}
        matrices = any(len(shape_of(item)) > 1 for item in held.values())
        return max(int(matrices), *map(likeness, held), 0)


@dataclass
class Contents:
    """What a checkpoint holds, by the keys that lead to it, joined by dots.

    ``leaves`` are all numbers, and the arrays that are no weights for sure, each with the candidate that holds it;
    ``ambiguous`` are keys that lead to two things, since a key may have dots of its own, and ``hidden`` those of them
    that lead to two candidates.
    """

    candidates: dict[str, Candidate] = field(default_factory=dict)
    leaves: dict[str, tuple[Leaf, Candidate | None]] = field(default_factory=dict)
    ambiguous: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)

    def within(self, entry: str) -> list[Candidate]:
        """Return what an entry leads to, or what lies under it: those most like state dicts, each network once."""
        below = "" if entry == "" else f"{entry}."
        inside = [one for name, one in self.candidates.items() if name == entry or name.startswith(below)]
        if entry == TOP:
            inside = [one for name, one in self.candidates.items() if name == ""]
        best = max((one.likeness for one in inside), default=0)
        found = list(dict.fromkeys(one for one in inside if one.likeness == best))
        if best == 0:
            outer = {around for one in found for around in _keys_around(one.entry)}
            found = [one for one in found if one.entry not in outer]
        return list(_different(found)) if len(found) <= MAX_COMPARED else found

    def beside(self, chosen: Candidate) -> dict[str, Leaf]:
        """Return the arrays and numbers that are part of nothing as much like a state dict as the chosen one."""
        return {
            name: leaf
            for name, (leaf, owner) in self.leaves.items()
            if name not in self.ambiguous and _is_beside(leaf, owner, chosen)
        }

    def others(self, chosen: Candidate) -> list[str]:
        """Return the entries of the state dicts that were not chosen, without those of the same tensors."""
        rest = (one for one in self.candidates.values() if one.likeness >= chosen.likeness)
        found = list(dict.fromkeys((chosen, *rest)))
        different = _different(found) if len(found) <= MAX_COMPARED else found
        return sorted(one.entry or TOP for one in different if one is not chosen)


def contents_of(checkpoint: object) -> Contents:
    """Return what a checkpoint holds: dictionaries, lists and objects in each other are looked through once each."""
    contents = Contents()
    seen: dict[int, Candidate | None] = {}
    stack = [("", checkpoint)]
    while stack:
        path, value = stack.pop()
        if id(value) in seen:
            if (again := seen[id(value)]) is not None:
                _enter(contents, path, again)
            continue
        items = items_of(value)
        seen[id(value)] = candidate = _candidate(path, value, items)
        if candidate is not None:
            _enter(contents, path, candidate)
        if is_module(value) or any(name in _OPTIMIZER for name, _ in items):
            continue
        inner = [(f"{path}.{name}" if path else name, item) for name, item in items]
        inner = [(name, item) for name, item in inner if len(name) <= MAX_NAME]
        stack += [(name, item) for name, item in reversed(inner) if isinstance(item, dict | list | tuple | Opaque)]
        for name, item in inner:
            if is_array(item) or (_is_number(item) and not isinstance(value, list | tuple)):
                _enter_leaf(contents, name, item, candidate)
    return contents


def _candidate(path: str, value: object, items: list[tuple[str, object]]) -> Candidate | None:
    """Return a candidate if the value is a module, or holds arrays by name."""
    named = isinstance(value, dict | Opaque) and any(is_array(item) or is_quantized(item) for _, item in items)
    optimizer = any(name in _OPTIMIZER for name, _ in items)
    return Candidate(path, value) if is_module(value) or (named and not optimizer) else None


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _enter(contents: Contents, path: str, candidate: Candidate) -> None:
    if contents.candidates.setdefault(path, candidate) is not candidate:
        contents.hidden.add(path)


def _enter_leaf(contents: Contents, path: str, leaf: Leaf, owner: Candidate | None) -> None:
    if owner is not None and owner.likeness == MOST and is_array(leaf):
        return  # a weight for sure
    if path in contents.leaves:
        contents.ambiguous.add(path)
    contents.leaves[path] = (leaf, owner)


def _is_beside(leaf: Leaf, owner: Candidate | None, chosen: Candidate) -> bool:
    if owner is None or owner is chosen:
        return owner is None or not is_array(leaf)
    return owner.likeness < chosen.likeness


def _keys_around(entry: str) -> Iterator[str]:
    """Yield the keys that lead to what holds the entry."""
    while entry:
        entry = entry.rpartition(".")[0]
        yield entry


def _different(candidates: list[Candidate]) -> Iterator[Candidate]:
    """Yield the candidates without those whose tensors are those of one before: a module's, and its state dict's."""
    before: list[dict[str, ArrayLeaf]] = []
    for candidate in candidates:
        arrays = candidate.arrays
        if len(candidates) == 1 or arrays not in before:
            yield candidate
        before.append(arrays)
