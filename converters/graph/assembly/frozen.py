"""Sizes that a file leaves open, and nevertheless fixes: an exporter wrote those of its example into the graph.

Such a graph contradicts itself at any other size, so that none is guessed: where it makes sense with one timestep or
one sequence, that is what it is for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from enum import IntEnum
from itertools import islice, product
from typing import TypeVar

import numpy as np

from grurt.converters.graph.assembly.interpret import MAX_SIZE, axis_place
from grurt.converters.graph.nodes import Declaration, Graph, MisfitError
from grurt.errors import ConversionError, DesignReason, ModelError, UnsupportedError

T = TypeVar("T")

_MAX_OPEN = 3
"""How many sizes that are left open may turn out to be fixed."""

_MAX_CANDIDATES = 12

_LONGEST_SHAPE = 16
"""Elements of a constant that may be a shape."""


class Likelihood(IntEnum):
    """How likely sizes are those of the example that an exporter wrote into a graph."""

    SOME = 0
    IN_ORDER = 1
    """Outputs have sequences and timesteps in the order of the inputs."""
    WRITTEN_OUT = 2
    """The graph holds as many timesteps, each by itself, and all together are a sequence of the inputs."""


def open_sizes(graph: Graph) -> dict[str, str]:
    """Return where each size that the inputs leave open stands first, by its name."""
    found: dict[str, str] = {}
    for port in graph.inputs:
        for index, size in enumerate(port.shape or ()):
            if not isinstance(size, int):
                found.setdefault(open_name(port, index), axis_place(port, index))
    return found


def open_name(port: Declaration, index: int) -> str:
    """Return the name of a size that is left open: the file's, or where it is."""
    size = port.shape[index] if port.shape else None
    return size if isinstance(size, str) and size else axis_place(port, index)


def with_sizes(graph: Graph, sizes: Mapping[str, int]) -> Graph:
    """Return the graph with some of the sizes that its inputs leave open."""
    inputs = tuple(
        port
        if port.shape is None
        else replace(
            port,
            shape=tuple(
                size if isinstance(size, int) else sizes.get(open_name(port, index), size)
                for index, size in enumerate(port.shape)
            ),
        )
        for port in graph.inputs
    )
    return replace(graph, inputs=inputs)


def with_frozen_sizes(
    graph: Graph,
    convert: Callable[[Graph], T],
    likelihood: Callable[[T, Mapping[str, int]], Likelihood],
    misfit: MisfitError,
    tries: int,
) -> tuple[T, str]:
    """Return what becomes of a graph with as few of its open sizes as possible fixed to 1, and a note that says so.

    Parameters
    ----------
    graph
        The graph.
    convert
        Raises MisfitError while sizes do not fit together.
    likelihood
        Says of what it returns for sizes how likely these are meant: several may do, as 1 times 4 and 4 times 1.
    misfit
        What it raises with all of them open.
    tries
        How many there may be.

    Raises
    ------
    UnsupportedError
        If sizes are fixed to others: the message says to which; otherwise ``misfit``.
        Whatever else ``convert`` refuses as soon as the sizes fit.
    """
    names = open_sizes(graph)
    if not 1 <= len(names) <= _MAX_OPEN:
        raise UnsupportedError(*misfit.args, reason=misfit.reason)
    for sizes in islice(_assignments(names, (1,)), tries):
        try:
            return convert(with_sizes(graph, sizes)), _listed(sizes, names, "the graph fixes it: taken for")
        except (ConversionError, ModelError) as error:
            if _is_refusal(error):
                raise
    frozen = _only_sizes(graph, convert, likelihood, islice(_assignments(names, (1, *_sizes_in(graph))), tries))
    if frozen is None:
        raise UnsupportedError(*misfit.args, reason=misfit.reason)
    raise UnsupportedError(
        f"{_listed(frozen, names, 'frozen at')}; export with sizes that are taken from the tensors themselves, not "
        "from Python numbers, or with one timestep and one sequence",
        reason=DesignReason.FAULTY_SOURCE,
    )


def _only_sizes(
    graph: Graph,
    convert: Callable[[Graph], T],
    likelihood: Callable[[T, Mapping[str, int]], Likelihood],
    assignments: Iterable[Mapping[str, int]],
) -> Mapping[str, int] | None:
    """Return the only sizes, of as few axes as possible, with which a graph does not contradict itself; or None.

    Of several, those that are likelier are meant.
    """
    found: dict[Likelihood, list[Mapping[str, int]]] = defaultdict(list)
    fewest = len(open_sizes(graph))
    for sizes in assignments:
        if len(sizes) > fewest:
            break
        try:
            found[likelihood(convert(with_sizes(graph, sizes)), sizes)].append(sizes)
        except (ConversionError, ModelError) as error:
            if not _is_refusal(error):
                continue
            found[Likelihood.SOME].append(sizes)
        fewest = len(sizes)
    likeliest = found[max(found)] if found else []
    return likeliest[0] if len(likeliest) == 1 else None


def _is_refusal(error: ConversionError | ModelError) -> bool:
    """Say whether a graph does something that is not supported, rather than contradict itself."""
    return isinstance(error, UnsupportedError) and not isinstance(error, MisfitError)


def _listed(sizes: Mapping[str, int], names: Mapping[str, str], what: str) -> str:
    return " and ".join(
        f"{names[name]} is declared open{'' if name == names[name] else f' ({name[:50]})'}, but {what} {size}"
        for name, size in sizes.items()
    )


def _assignments(names: Mapping[str, str], candidates: tuple[int, ...]) -> Iterator[dict[str, int]]:
    """Yield sizes for some of the names: for few of them first."""
    choices = product((0, *candidates), repeat=len(names))
    for choice in sorted(choices, key=lambda sizes: sum(map(bool, sizes))):
        if any(choice):
            yield {name: size for name, size in zip(names, choice, strict=True) if size}


def _sizes_in(graph: Graph) -> list[int]:
    """Return what a graph's outputs, first, and its constants may say of the sizes of sequences."""
    attributes = [value for node in graph.nodes for value in node.attributes.values()]
    arrays = [*graph.constants.values(), *(value for value in attributes if isinstance(value, np.ndarray))]
    shapes = [array.shape for array in arrays if array.dtype.kind == "f"]
    shapes += [tuple(array.reshape(-1)) for array in arrays if array.dtype.kind == "i" and array.size <= _LONGEST_SHAPE]
    declared = [size for port in graph.outputs for size in port.shape or () if isinstance(size, int)]
    written = sorted({int(size) for shape in shapes for size in shape})
    sizes = dict.fromkeys([*declared, *_counts_written_out(graph), *written])
    return [size for size in sizes if 1 < size <= MAX_SIZE][:_MAX_CANDIDATES]


def _counts_written_out(graph: Graph) -> list[int]:
    """Return of how many positions each tensor is picked, or cut into, and how many tensors are joined again."""
    picked = Counter(node.inputs[0] for node in graph.nodes if node.op == "Gather" and node.inputs)
    cut = {len(node.outputs) for node in graph.nodes if node.op == "Split"}
    return sorted({*picked.values(), *cut, *(len(node.inputs) for node in graph.nodes if node.op == "Concat")})
