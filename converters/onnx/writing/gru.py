"""The GRU: ONNX's own where that can say it, else a Scan over the timesteps of a cell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import GraphProto

from grurt.array_types import Array
from grurt.converters.onnx.writing.functions import gru_activations, write_function
from grurt.converters.onnx.writing.graph import GraphWriter
from grurt.network import functions as fn
from grurt.network.layers import GRU


@dataclass(frozen=True)
class Scanned:
    """What a GRU is given, and gives: over one axis, for rows side by side.

    ``x`` is ``(steps, rows, input_size)``, ``state`` ``(1, rows, hidden_size)``, and ``mask``, where there is one,
    ``(steps, rows, 1)``: 0 where a row's state stays as it is.
    """

    x: str
    state: str
    mask: str | None = None


def write_gru(
    graph: GraphWriter, layer: GRU, weights: Mapping[str, Array], given: Scanned, lengths: str | None, *, single: bool
) -> tuple[str, str]:
    """Add a GRU; return its outputs ``(steps, rows, hidden_size)`` and its final state ``(1, rows, hidden_size)``.

    Parameters
    ----------
    graph
        Where it is added.
    layer, weights
        What is added, and its weights, float32.
    given
        What it reads.
    lengths
        The valid steps of each row, int32 ``(rows,)``.
    single
        Whether there is only one step.
    """
    activations = gru_activations(layer.gate_activation, layer.candidate_activation)
    if given.mask is not None or activations is None:
        return _scan(graph, layer, weights, given, lengths)
    clip = {} if layer.clip is None else {"clip": layer.clip}
    biases = [weights[name] for name in ("bias_ih", "bias_hh")] if layer.bias else []
    outputs, final = graph.ops(
        "GRU",
        given.x,
        graph.constant(weights["weight_ih"][None], name=f"{layer.name}.W"),
        graph.constant(weights["weight_hh"][None], name=f"{layer.name}.R"),
        graph.constant(np.concatenate(biases)[None], name=f"{layer.name}.B") if biases else "",
        lengths or "",
        given.state,
        outputs=2,
        hidden_size=layer.hidden_size,
        direction=layer.direction,
        linear_before_reset=int(layer.linear_before_reset),
        **activations,
        **clip,
    )
    return final if single else graph.squeeze(outputs, 1), final


def _scan(
    graph: GraphWriter, layer: GRU, weights: Mapping[str, Array], given: Scanned, lengths: str | None
) -> tuple[str, str]:
    """Add a Scan whose body is the equations of `grurt.GRU`, and leaves the state as it is where the mask is 0."""
    mask = given.mask
    valid = _valid(graph, given.x, lengths) if lengths else None
    if valid:
        mask = graph.op("Mul", mask, valid) if mask else valid
    scanned = [given.x, *([mask] if mask else [])]
    body = _body(graph.inner(), layer, weights, masked=mask is not None)
    backwards = int(layer.direction == "reverse")
    final, outputs = graph.ops(
        "Scan",
        graph.squeeze(given.state, 0),
        *scanned,
        outputs=2,
        body=body,
        num_scan_inputs=len(scanned),
        scan_input_directions=[backwards] * len(scanned),
        scan_output_directions=[backwards],
    )
    if valid:
        outputs = graph.op("Mul", outputs, valid)
    return outputs, graph.unsqueeze(final, 0)


def _valid(graph: GraphWriter, x: str, lengths: str) -> str:
    """Return ``(steps, rows, 1)``: 1 for the valid steps of each row, else 0."""
    scalar = graph.squeeze(graph.sizes(x, 0, 1), 0)
    zero, one = (graph.constant(number, "int64") for number in (0, 1))
    steps = graph.unsqueeze(graph.op("Range", zero, scalar, one), 1)
    before_end = graph.op("Less", steps, graph.unsqueeze(graph.cast(lengths, "int64"), 0))
    return graph.unsqueeze(graph.cast(before_end, "float32"), 2)


def _body(graph: GraphWriter, layer: GRU, weights: Mapping[str, Array], *, masked: bool) -> GraphProto:
    state = graph.input(graph.unused("state"), "float32", [None, layer.hidden_size])
    x = graph.input(graph.unused("x"), "float32", [None, layer.input_size])
    mask = graph.input(graph.unused("mask"), "float32", [None, 1]) if masked else None
    following = _cell(graph, layer, weights, x, state)
    if mask is not None:
        skipped = graph.op("Equal", mask, graph.constant(0.0))
        following = graph.op("Where", skipped, state, following)
    for _ in range(2):  # the state, and what the layer writes
        name = graph.op("Identity", following)
        graph.output(name, "float32", [None, layer.hidden_size])
    return graph.graph(layer.name)


def _cell(graph: GraphWriter, layer: GRU, weights: Mapping[str, Array], x: str, state: str) -> str:
    size = layer.hidden_size

    def product(name: str, value: str, rows: slice) -> str:
        found = graph.op("MatMul", value, graph.constant(weights[f"weight_{name}"][rows].T))
        return graph.op("Add", found, graph.constant(weights[f"bias_{name}"][rows])) if layer.bias else found

    def applied(function: fn.ElementwiseFunction, value: str) -> str:
        limit = math.inf if layer.clip is None else layer.clip
        if limit < math.inf:
            value = graph.op("Clip", value, graph.constant(-limit), graph.constant(limit))
        return write_function(graph, function, value)

    def gate(rows: slice) -> str:
        total = graph.op("Add", product("ih", x, rows), product("hh", state, rows))
        return applied(layer.gate_activation, total)

    z, r, rows = gate(slice(0, size)), gate(slice(size, 2 * size)), slice(2 * size, 3 * size)
    if layer.linear_before_reset:
        recurrent = graph.op("Mul", r, product("hh", state, rows))
    else:
        recurrent = product("hh", graph.op("Mul", r, state), rows)
    n = applied(layer.candidate_activation, graph.op("Add", product("ih", x, rows), recurrent))
    kept = graph.op("Mul", z, state)
    return graph.op("Add", graph.op("Mul", graph.op("Sub", graph.constant(1.0), z), n), kept)
