"""What linear layers a tensor is the sum of, also where one reads several side by side, or gives several gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from grurt.array_types import Array
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.rewriting.gates import address, linear
from grurt.converters.graph.rewriting.matching import Matcher

_LAST_AXES = (1, 2, -1)
"""Of matrices, and of matrices for each timestep; what is cut or joined along another axis fits no cell's sizes."""

_MAX_DEPTH = 8
"""How deep sums and parts of linear layers are looked into: in cells they are shallow, in chains without end."""


@dataclass(frozen=True)
class Product:
    """``weight @ concatenation of sources``: ``weight (rows, size of all sources)``."""

    sources: tuple[str, ...]
    weight: Array
    key: object
    """The same for all products of the same constants."""

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
        return tuple(Product((source,), weight, (self.key, cut, side)) for source, weight, side in named)


@dataclass(frozen=True)
class Affine:
    """A sum of products, a bias ``(rows,)``, and other tensors."""

    products: tuple[Product, ...] = ()
    bias: Array | None = None
    others: tuple[str, ...] = ()

    def rows(self, begin: int, end: int) -> Affine | None:
        """Return some rows of the sum; None if it has parts whose rows are unknown."""
        if self.others:
            return None
        products = tuple(product.rows(begin, end) for product in self.products)
        return Affine(products, None if self.bias is None else self.bias[begin:end])

    @property
    def size(self) -> int:
        """How many rows the sum has; zero if nothing tells."""
        sizes = {product.weight.shape[0] for product in self.products}
        return sizes.pop() if len(sizes) == 1 else 0


def affine(name: str, matcher: Matcher, depth: int = _MAX_DEPTH) -> Affine:
    """Return what a tensor is the sum of: in the worst case, of itself."""
    if (constant := _constant(name, matcher)) is not None:
        return Affine(bias=constant)
    node = matcher.producers.get(name)
    if node is None or depth == 0:
        return Affine(others=(name,))
    if (found := linear(name, matcher)) is not None:
        product = Product(_joined(found.source, matcher), found.weight, found.key)
        return Affine((product,), found.bias)
    if node.op == "Add" and len(node.inputs) == 2:
        return _sum(node, matcher, depth)
    part = part_of(node, name, affine(node.inputs[0], matcher, depth - 1), matcher) if node.inputs else None
    return part or Affine(others=(name,))


def part_of(node: Node, name: str, whole: Affine, matcher: Matcher) -> Affine | None:
    """Return the rows of a sum that a Split or Slice of it writes to a tensor; None if it does something else."""
    if not whole.size:
        return None
    cut = {"Split": _split, "Slice": _slice}.get(node.op)
    found = None if cut is None else cut(node, name, whole.size, matcher)
    return None if found is None else whole.rows(*found)


def _split(node: Node, name: str, size: int, matcher: Matcher) -> tuple[int, int] | None:
    if node.attributes.get("axis") not in _LAST_AXES:
        return None
    index = node.outputs.index(name)
    sizes = matcher.integers(node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1] else None
    given = sizes or node.attributes.get("split")
    if isinstance(given, tuple) and len(given) == len(node.outputs) and all(isinstance(each, int) for each in given):
        begin = sum(int(each) for each in given[:index])
        return begin, begin + int(given[index])
    each = -(-size // len(node.outputs))
    return index * each, min(size, (index + 1) * each)


def _slice(node: Node, name: str, size: int, matcher: Matcher) -> tuple[int, int] | None:
    if len(node.inputs) not in (4, 5):
        return None
    axes, *steps = (matcher.integers(each) for each in node.inputs[3:])
    if axes is None or len(axes) != 1 or axes[0] not in _LAST_AXES or any(step != (1,) for step in steps):
        return None
    begin, end = (_position(each, node.inputs[0], axes[0], size, matcher) for each in node.inputs[1:3])
    return None if begin is None or end is None else slice(begin, end).indices(size)[:2]


def _position(name: str, whole: str, axis: int, size: int, matcher: Matcher, depth: int = _MAX_DEPTH) -> int | None:
    """Return a position on an axis that is a constant, or that is worked out from the axis's size, as of chunks."""
    known = matcher.integers(name)
    node = matcher.producers.get(name)
    if known is not None:
        return known[0] if len(known) == 1 else None
    if node is None or depth == 0 or len(node.inputs) != 2:
        return None
    if node.op == "Gather":
        shape = matcher.producers.get(node.inputs[0])
        of_whole = shape is not None and shape.op == "Shape" and shape.inputs == (whole,) and not shape.attributes
        return size if of_whole and matcher.integers(node.inputs[1]) == (axis,) else None
    one, other = (_position(each, whole, axis, size, matcher, depth - 1) for each in node.inputs)
    if one is None or other is None:
        return None
    match node.op:
        case "Add":
            return one + other
        case "Mul":
            return one * other
        case "Div" if one >= 0 and other > 0:
            return one // other
    return None


def _sum(node: Node, matcher: Matcher, depth: int) -> Affine:
    one, other = (affine(name, matcher, depth - 1) for name in node.inputs)
    bias = one.bias if other.bias is None else other.bias
    if one.bias is not None and other.bias is not None:
        if one.bias.shape != other.bias.shape:
            return Affine(others=node.outputs[:1])
        mine, others = one.bias, other.bias
        key = ("sum", address(mine), address(others))
        bias = matcher.made(key, mine.nbytes, node.outputs[0], lambda: mine + others)
    return Affine(one.products + other.products, bias, one.others + other.others)


def _constant(name: str, matcher: Matcher) -> Array | None:
    """Return a constant vector, also one that is repeated for every sequence of a batch."""
    constant = matcher.constant(name)
    if constant is None or constant.ndim not in (1, 2) or not constant.size:
        return None
    matcher.budget.read(constant.nbytes, matcher.node(name))
    rows = constant.reshape(constant.size // constant.shape[-1], constant.shape[-1])
    return rows[0] if (rows == rows[0]).all() else None


def _joined(name: str, matcher: Matcher) -> tuple[str, ...]:
    """Return the tensors that stand side by side in one."""
    node = matcher.producers.get(name)
    is_joined = node is not None and node.op == "Concat" and node.attributes.get("axis") in _LAST_AXES
    return node.inputs if node is not None and is_joined else (name,)
