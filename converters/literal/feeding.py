"""Test inputs of some timesteps for the source of a step graph, and what it answered to the last of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from grurt.array_types import Array
from grurt.converters.literal.assembly import StepGraph
from grurt.converters.reference import precision_of
from grurt.converters.sampling import SEED, STEPS, check_inputs, random_input
from grurt.network.reference_run import ReferenceRun
from grurt.network.signature import StatePort

TIMESTEPS = 9
"""Of a test: states are what the network makes of them then, rather than what they begin as."""


def sample_timesteps(converted: StepGraph) -> list[dict[str, Array]]:
    """Return seeded inputs of some timesteps, always the same; those of the first one hold the states too.

    Of a graph of whole sequences, it is one sequence.

    Raises
    ------
    ConversionError
        If they are too large for a test, or a run on them takes too long.
    """
    network, shapes = converted.network, {port.name: port.shape for port in converted.inputs}
    for context in converted.contexts:
        if (axis := context.open_axis) is not None:  # of some of the places
            shape = shapes[context.name]
            shapes[context.name] = (*shape[:axis], -(-shape[axis] // 2), *shape[axis + 1 :])
    for name in shapes.keys() & converted.time_axes.keys():
        axis = converted.time_axes[name]
        shapes[name] = (*shapes[name][:axis], STEPS, *shapes[name][axis + 1 :])
    check_inputs(network, shapes)
    random = np.random.default_rng(SEED)
    given = {
        port.name: random_input(network, port, shapes[port.name], 1, random)
        for port in network.signature.inputs
        if port.name in (context.name for context in converted.contexts)
    }
    timesteps = [
        given
        | {
            port.name: random_input(network, port, shapes[port.name], 1, random)
            for port in network.signature.inputs
            if not isinstance(port, StatePort)
        }
        for _ in range(1 if converted.time_axes else TIMESTEPS)
    ]
    for port in converted.inputs:
        if port.name in converted.pairs:
            begins = converted.initial.get(port.name, np.zeros(port.shape))
            timesteps[0][port.name] = np.asarray(begins, port.dtype)
    return timesteps


def last_timestep(
    converted: StepGraph,
    inputs: Mapping[str, Array],
    states: Mapping[str, Array],
    answers: Mapping[str, Array],
    produced_by: str,
    computed: Iterable[str],
) -> ReferenceRun:
    """Return the reference run of one timestep, states in and out included.

    ``computed`` are the dtypes that the source computed in.
    """
    given = {**inputs, **states}
    signature, shapes = converted.network.signature, {port.name: port.shape for port in converted.outputs}
    return ReferenceRun(
        {port.name: given[port.name].astype(port.dtype, copy=False) for port in signature.inputs},
        {
            port.name: answers[port.name].astype(port.dtype, copy=False)
            for port in signature.outputs
            if not converted.contexts or answers[port.name].shape == shapes[port.name]  # not one of a context's places
        },
        produced_by,
        precision_of(converted.network, computed),
    )
