"""Loops over timesteps: what leads into their bodies, and out of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.registry import operator
from grurt.converters.graph.rewriting.loops import ALL_TIMESTEPS, EACH_TIMESTEP, LAST_TIMESTEP
from grurt.converters.graph.tracing.axes import Axis, Role
from grurt.converters.graph.tracing.parameters import axis_index, required, small_integer, tensor_input
from grurt.converters.graph.tracing.values import Arguments, Every, Tensor, Value
from grurt.errors import DesignReason


@operator(EACH_TIMESTEP, in_loops="single", moves_axes=True)
def each_timestep(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Return one timestep of each sequence, which stands for all of them."""
    axes, steps = node.integers("axes"), node.integers("steps")
    tensors = [tensor_input(node, args, place) for place in range(len(axes))]
    places = [axis_index(node, axis, len(tensor.dims)) for axis, tensor in zip(axes, tensors, strict=True)]
    times = [_time(node, tensor, place) for tensor, place in zip(tensors, places, strict=True)]
    for time in times[1:]:
        times[0].unify(time, node)
    others, n_tensors = args[len(axes) :], node.integer("tensors", 0)
    counts = list(_counts(node, others, n_tensors))
    starts, limits = counts[: len(axes)], counts[len(axes) :]
    _check_begins(node, others[n_tensors:])
    _check_runs(node, times[0], limits)
    results = []
    every = zip(tensors, places, times, steps, starts, node.integers("wraps"), strict=True)
    for tensor, place, time, step, start, wraps in every:
        first = 0 if step == 1 else time.size - 1
        if start not in (first, first - time.size if wraps else first):
            raise node.unsupported(
                f"its loop begins at position {start} of {time.where}, and steps by {step}",
                "a loop must run over whole sequences",
            )
        backwards = (step == -1) != time.is_reversed
        axis = time.reversed() if time.is_reversed else time
        at = (axis, Every.BACKWARD if backwards else Every.FORWARD)
        results.append(replace(tensor.with_dim(place, None), at=at))
    return tuple(results)


@operator(ALL_TIMESTEPS, in_loops="aware", moves_axes=True)
def all_timesteps(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Return the sequence of what a loop computes at each timestep, in its order or against it."""
    against, tensor = bool(node.integer("reversed", 0)), tensor_input(node, args)
    index = axis_index(node, node.integer("axis", 0), len(tensor.dims) + 1)
    if tensor.at is None or not isinstance(tensor.at[1], Every):
        raise node.unsupported("its loop gives the same at every timestep", "give it once")
    time, direction = tensor.at
    axis = time if (direction is Every.BACKWARD) == against else time.reversed()
    return (replace(tensor, at=None, dims=(*tensor.dims[:index], (axis,), *tensor.dims[index:])),)


@operator(LAST_TIMESTEP, in_loops="aware", moves_axes=True)
def last_timestep(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Return what a loop has computed at the timestep that it ends with."""
    value = required(node, args, 0)
    if not isinstance(value, Tensor) or value.at is None:
        return (value,)
    time, direction = value.at
    return (replace(value, at=(time, 0 if direction is Every.BACKWARD else time.size - 1)),)


def _time(node: Node, tensor: Tensor, place: int) -> Axis:
    """Return the axis of timesteps that a dimension is."""
    dim = tensor.dims[place] or (Axis(1, f"the axis that {node} scans"),)
    if len(dim) > 1 or tensor.place_in_stacks(dim[0]) is not None:
        raise node.unsupported(
            f"its loop scans an axis, of size {tensor.shape[place]}, that is made of several", "a GRU scans timesteps"
        )
    dim[0].require(Role.TIME, node)
    return dim[0]


def _counts(node: Node, args: Arguments, n_tensors: int) -> Iterator[int]:
    """Yield what the numbers of the attribute ``counts`` amount to, for tensors behind which the condition stands."""
    given = [1, *(small_integer(value) for value in args[:n_tensors])]
    if None in given:
        raise node.unsupported(
            "its loop ends after a number of timesteps that is computed from the data",
            "a GRU runs over all timesteps of a sequence",
            DesignReason.DATA_DEPENDENT,
        )
    numbers = node.integers("counts")
    for start in range(0, len(numbers), len(given)):
        terms = zip(numbers[start : start + len(given)], given, strict=True)
        yield sum(factor * (value or 0) for factor, value in terms)


def _check_begins(node: Node, condition: Arguments) -> None:
    if any(not isinstance(value, np.ndarray) or value.size != 1 or not value.item() for value in condition):
        raise node.unsupported(
            "its loop does not always begin", "a GRU runs over all timesteps of a sequence", DesignReason.DATA_DEPENDENT
        )


def _check_runs(node: Node, time: Axis, limits: list[int]) -> None:
    runs = min(limits, default=time.size)
    if runs == time.size:
        return
    if time.dynamic:
        raise node.unsupported(
            f"its loop always runs {runs} times, and {time.where} is of open size: the exporter has frozen it",
            f"export the model again with sequences of the fixed length {runs}, or with a length that stays open",
            DesignReason.FAULTY_SOURCE,
        )
    raise node.unsupported(
        f"its loop runs {runs} times, over {time.size} timesteps of {time.where}",
        "a loop must run over whole sequences",
        DesignReason.SEQUENCE_LENGTH,
    )
