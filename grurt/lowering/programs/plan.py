"""A step program as an operation of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from grurt.errors import ModelError
from grurt.kernels import codes
from grurt.kernels.sizes import F32_BYTES, I64_BYTES, TEMPORARY_BYTES
from grurt.lowering.programs.arena import place_storages
from grurt.lowering.programs.constants import Constant
from grurt.lowering.programs.lower import ProgramLowering
from grurt.lowering.programs.tables import StepTables
from grurt.lowering.programs.views import certain
from grurt.network.contexts import context_parts
from grurt.network.vectors import padded

if TYPE_CHECKING:
    from grurt.lowering.builder import PlanBuilder
    from grurt.lowering.programs.views import View
    from grurt.network.layers import Program

MAX_PLACES = (1 << 31) - 1
"""The steps' tables count in int32."""


def add_program(builder: PlanBuilder, layer: Program) -> tuple[int, dict[int, int]]:
    """Lower what a program computes at each timestep, and return the operation and its slots."""
    layer = layer.timestep()
    formats = layer.matrix_formats()
    constants = {
        name: Constant(builder.weight(layer, name), formats.get(name, "float32"), builder.scale(layer, name))
        for name in layer.constants
    }
    lowering = ProgramLowering(layer, constants)
    lowering.run()
    sources = np.array([[builder.offsets[name], builder.stride(name)] for name in layer.inputs], np.int64)
    head = (TEMPORARY_BYTES + I64_BYTES * (codes.BASE_INPUTS + len(sources))) // F32_BYTES
    # A vector may be read that begins with the last number.
    arena = place_storages(lowering.steps, padded(head)) + padded(1)
    steps = StepTables(builder).write(lowering.steps)
    table, out = builder.reserve_weights(sources.nbytes)
    for what, size in ("working memory", arena), ("packed weights", table // F32_BYTES), ("states", _n_states(layer)):
        if size > MAX_PLACES:
            raise ModelError(f"layer {layer.name!r}: expected at most {MAX_PLACES:,} numbers of {what}, got {size:,}")
    out.view(np.int64)[:] = sources.ravel()
    return codes.PROGRAM, {
        codes.OP_STEPS: steps,
        codes.OP_N_STEPS: len(lowering.steps),
        codes.OP_SOURCES: table,
        codes.OP_N_SOURCES: len(sources),
        codes.OP_STATE: _add_states(builder, layer, lowering.states),
        codes.OP_TEMP: builder.reserve(F32_BYTES * arena),
        codes.OP_CONTEXT: F32_BYTES * context_parts(builder.network)[layer.name].start if layer.contexts else 0,
    }


def _n_states(layer: Program) -> int:
    return layer.state_bytes() // F32_BYTES


def _add_states(builder: PlanBuilder, layer: Program, views: Mapping[str, View]) -> int:
    """Reserve a block for the states of a program, and return its offset."""
    buffer = np.zeros(_n_states(layer), np.float32)
    for state in layer.states:
        if state.initial is not None:
            view = views[state.name]
            buffer[view.storage.offset + view.places()] = builder.weight(layer, state.initial).ravel()
    block = builder.reserve_states(buffer)
    for name, view in views.items():
        builder.add_state_view(name, block, certain(view.strides()), view.address)
    return block
