"""What linear layers a tensor is the sum of, also where one reads several side by side, or gives several gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.elements import MAX_RANK
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.rewriting.gates import address, linear
from grurt.converters.graph.rewriting.matching import Matcher
from grurt.converters.graph.rewriting.sequences import SPLIT_PART

_LAST_AXES = (1, 2, -1)
"""Of matrices, and of matrices for each timestep; what is cut or joined along another axis fits no cell's sizes."""

_OTHER_SIZES = (1009, 4003)
"""What the sizes of other axes may be; what depends on them is no part of a gate."""

_OPEN_END = 2**31 - 1

_MAX_DEPTH = 8
"""How deep sums and parts of linear layers are looked into: in cells they are shallow, in chains without end."""


@dataclass(frozen=True)
class Product:
    """``weight @ concatenation of sources``: ``weight (rows, size of all sources)``."""

    whole: str
    """The tensor that is the concatenation."""
    sources: tuple[str, ...]
    weight: Array
    key: object
    """The same for all products of the same constants."""
    is_picked: bool = False
    """Whether the weight does nothing but pick rows of what was computed elsewhere."""

    def rows(self, begin: int, end: int) -> Product:
        """Return some rows of the product."""
        return replace(self, weight=self.weight[begin:end], key=(self.key, begin, end))

    def columns(self, size: int, is_of_size: Sequence[bool]) -> tuple[Product, ...]:
        """Return a product for each source, of one or two, of which the sizes of those that are said are known."""
        if len(self.sources) == 1:
            return (self,)
        cut = size if is_of_size[0] else self.weight.shape[1] - size
        parts = (self.weight[:, :cut], self.weight[:, cut:])
        named = zip(self.sources, parts, ("left", "right"), strict=True)
        return tuple(Product(source, (source,), weight, (self.key, cut, side)) for source, weight, side in named)

    def unjoined(self) -> Product:
        """Return the product of the concatenation as of one tensor."""
        return replace(self, sources=(self.whole,))


@dataclass(frozen=True)
class Affine:
    """A sum of products, a bias ``(rows,)`` or ``(1,)``, and other tensors."""

    products: tuple[Product, ...] = ()
    bias: Array | None = None
    others: tuple[str, ...] = ()

    def rows(self, begin: int, end: int) -> Affine | None:
        """Return some rows of the sum; None if it has parts whose rows are unknown."""
        if self.others:
            return None
        products = tuple(product.rows(begin, end) for product in self.products)
        single = self.bias is None or self.bias.size == 1
        return Affine(products, self.bias if single or self.bias is None else self.bias[begin:end])

    @property
    def size(self) -> int:
        """How many rows the sum has; zero if nothing tells."""
        sizes = {product.weight.shape[0] for product in self.products}
        return sizes.pop() if len(sizes) == 1 else 0


def affine(name: str, matcher: Matcher, depth: int = _MAX_DEPTH) -> Affine:
    """Return what a tensor is the sum of: in the worst case, of itself."""
    if (constant := constant_row(name, matcher)) is not None:
        return Affine(bias=constant)
    node = matcher.producers.get(name)
    if node is None or depth == 0:
        return Affine(others=(name,))
    if (found := linear(name, matcher)) is not None:
        product = Product(found.source, _joined(found.source, matcher), found.weight, found.key)
        return Affine((product,), found.bias)
    if node.op == "Add" and len(node.inputs) == 2:
        return _sum(node, matcher, depth)
    inner = affine(node.inputs[0], matcher, depth - 1) if node.inputs else Affine()
    part = inner if _keeps_rows(node, inner.size, matcher) else part_of(node, name, inner, matcher)
    return part or Affine(others=(name,))


def _keeps_rows(node: Node, size: int, matcher: Matcher) -> bool:
    """Say whether a node only adds or removes axes before the last one, which has so many features."""
    if not size or node.op not in ("Reshape", "Unsqueeze", "Squeeze") or len(node.inputs) != 2:
        return False
    numbers = matcher.integers(node.inputs[1])
    return numbers == (0,) if node.op != "Reshape" else numbers is not None and numbers[-1:] == (size,)


def part_of(node: Node, name: str, whole: Affine, matcher: Matcher) -> Affine | None:
    """Return the rows of a sum that a Split or Slice of it writes to a tensor; None if it does something else."""
    found = _cut(node, name, whole.size, matcher) if whole.size else None
    return None if found is None else whole.rows(*found)


def picked_rows(name: str, size: int, matcher: Matcher) -> Product | None:
    """Return some rows of a tensor, of so many in all, as its product with rows of an identity; None if it is none."""
    node = matcher.producers.get(name)
    found = None if node is None else _cut(node, name, size, matcher)
    if node is None or found is None:
        return None
    key = ("identity", size)
    identity = matcher.made(key, 4 * size**2, name, lambda: np.eye(size, dtype=np.float32))
    return Product(node.inputs[0], node.inputs[:1], identity, key, is_picked=True).rows(*found)


def _cut(node: Node, name: str, size: int, matcher: Matcher) -> tuple[int, int] | None:
    """Return which features, of so many, a Split or Slice writes to a tensor; None if it does something else."""
    cut = CUTS.get(node.op)
    return None if cut is None else cut(node, name, size, matcher)


def _split(node: Node, name: str, size: int, matcher: Matcher) -> tuple[int, int] | None:
    if node.attributes.get("axis") not in _LAST_AXES:
        return None
    index = node.outputs.index(name)
    sizes: Sequence[object] | None = None
    if len(node.inputs) > 1 and node.inputs[1]:
        sizes = _numbers(node.inputs[1], node.inputs[0], size, matcher)
    given = sizes or node.attributes.get("split")
    if isinstance(given, tuple) and len(given) == len(node.outputs) and all(isinstance(each, int) for each in given):
        begin = sum(int(each) for each in given[:index])
        return begin, begin + int(given[index])
    each = -(-size // len(node.outputs))
    return index * each, min(size, (index + 1) * each)


def _slice(node: Node, name: str, size: int, matcher: Matcher) -> tuple[int, int] | None:
    if len(node.inputs) not in (4, 5):
        return None
    lists = [_numbers(each, node.inputs[0], size, matcher) for each in node.inputs[1:]]
    if len({None if each is None else len(each) for each in lists}) > 1 or not lists[0]:
        return None
    columns = [dict(enumerate(column)) for column in zip(*(each or () for each in lists), strict=True)]
    cut = [each for each in columns if not _is_whole(each)]
    if len(cut) != 1 or cut[0][2] not in _LAST_AXES or cut[0].get(3, 1) != 1:
        return None
    return slice(cut[0][0], cut[0][1]).indices(size)[:2]


def _is_whole(column: Mapping[int, int]) -> bool:
    """Say whether a Slice keeps all of an axis; the column: where it starts and ends, the axis, and the step."""
    return column[0] == 0 and column[1] >= _OPEN_END and column.get(3, 1) == 1


def _split_part(node: Node, name: str, size: int, matcher: Matcher) -> tuple[int, int] | None:
    index, sizes = node.attributes.get("index"), _numbers(node.inputs[1], node.inputs[0], size, matcher)
    if node.attributes.get("axis") not in _LAST_AXES or not isinstance(index, int) or not sizes:
        return None
    if not 0 <= index < len(sizes):
        return None
    return sum(sizes[:index]), sum(sizes[: index + 1])


CUTS = {"Split": _split, "Slice": _slice, SPLIT_PART: _split_part}
"""Operators that write some of the features that they are given."""


def _numbers(name: str, whole: str, size: int, matcher: Matcher) -> tuple[int, ...] | None:
    """Return integers that are constant, or are worked out from how many features a tensor has, as of chunks."""
    known = matcher.integers(name)
    if known is not None:
        return known
    found = {_worked_out(name, whole, (other, other, size), matcher) for other in _OTHER_SIZES}
    return found.pop() if len(found) == 1 else None


def _worked_out(name: str, whole: str, shape: tuple[int, ...], matcher: Matcher) -> tuple[int, ...] | None:
    """Return the integers that a tensor holds if another has this shape, or, for two axes, the last of it."""
    for rank in (2, 3):
        array = matcher.array_given(name, whole, shape[-rank:])
        if array is not None and array.dtype.kind == "i" and array.size <= MAX_RANK:
            return tuple(map(int, array.reshape(-1)))
    return None


def _sum(node: Node, matcher: Matcher, depth: int) -> Affine:
    one, other = (affine(name, matcher, depth - 1) for name in node.inputs)
    bias = one.bias if other.bias is None else other.bias
    if one.bias is not None and other.bias is not None:
        if one.bias.shape != other.bias.shape and 1 not in (one.bias.size, other.bias.size):
            return Affine(others=node.outputs[:1])
        mine, others = one.bias, other.bias
        key = ("sum", address(mine), address(others))
        bias = matcher.made(key, max(mine.nbytes, others.nbytes), node.outputs[0], lambda: mine + others)
    return Affine(one.products + other.products, bias, one.others + other.others)


def constant_row(name: str, matcher: Matcher) -> Array | None:
    """Return a constant vector, also one that is repeated for every sequence of a batch, or a single number."""
    constant = matcher.constant(name)
    if constant is None or constant.ndim > 2 or not constant.size:
        return None
    constant = constant.reshape(1) if constant.ndim == 0 else constant
    matcher.budget.read(constant.nbytes, matcher.node(name))
    rows = constant.reshape(constant.size // constant.shape[-1], constant.shape[-1])
    return rows[0] if (rows == rows[0]).all() else None


def _joined(name: str, matcher: Matcher) -> tuple[str, ...]:
    """Return the tensors that stand side by side in one."""
    node = matcher.producers.get(name)
    is_joined = node is not None and node.op == "Concat" and node.attributes.get("axis") in _LAST_AXES
    return node.inputs if node is not None and is_joined else (name,)
