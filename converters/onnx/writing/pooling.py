"""What the timesteps of a sequence come to: reductions of the axis of time; of one timestep, sums that are states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from grurt.converters.onnx.writing.graph import GraphWriter
from grurt.network.layers import TimePooling

_LEAST = float(np.finfo(np.float32).min)
_NOTHING = 1e-30
_SCORE_MARGIN = 8.0


def write_pooling(graph: GraphWriter, layer: TimePooling, x: str, scores: str | None, mask: str | None) -> str:
    """Add the pooling of a whole sequence; return ``(1, batch, size)``.

    ``x`` is ``(time, batch, size)``, ``scores`` ``(time, batch, score_size)`` and ``mask``, 0 where a timestep does not
    count, ``(time, batch, 1)``.
    """
    over_time = graph.integers(0)
    if layer.operation == "softmax":
        if mask is not None:
            scores = graph.op("Where", graph.cast(mask, "bool"), scores or "", graph.constant(_LEAST))
        weights = graph.op("Softmax", scores or "", axis=0)
        weights = weights if mask is None else graph.op("Mul", weights, mask)
        return graph.op("ReduceSum", graph.op("Mul", weights, x), over_time)
    if mask is None:
        return graph.op({"sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax"}[layer.operation], x, over_time)
    counts = graph.cast(mask, "bool")
    if layer.operation == "max":
        largest = graph.op("ReduceMax", graph.op("Where", counts, x, graph.constant(_LEAST)), over_time)
        any_counts = graph.op("ReduceMax", graph.cast(counts, "float32"), over_time)
        return graph.op("Where", graph.cast(any_counts, "bool"), largest, graph.constant(0.0))
    total = graph.op("ReduceSum", graph.op("Where", counts, x, graph.constant(0.0)), over_time)
    if layer.operation == "sum":
        return total
    count = graph.op("ReduceSum", graph.cast(counts, "float32"), over_time)
    return graph.op("Div", total, graph.op("Max", count, graph.constant(_NOTHING)))


def write_pooling_step(
    graph: GraphWriter, layer: TimePooling, sources: tuple[str, ...], states: Mapping[str, str]
) -> tuple[str, dict[str, str]]:
    """Add the pooling of one timestep; return the answer so far ``(1, 1, size)``, and the states after it by name."""
    step = _Step(graph, layer, states)
    final = step.states_after(sources)
    if layer.masked:
        counts = graph.cast(sources[-1], "bool")
        final = {name: graph.op("Where", counts, state, states[name]) for name, state in final.items()}
    return step.answer(final), final


class _Step:
    """As `grurt.kernels.pooling` has it: sums are two rows, a total and what rounding has left of it."""

    def __init__(self, graph: GraphWriter, layer: TimePooling, states: Mapping[str, str]) -> None:
        self.graph, self.layer, self.states = graph, layer, states
        self.zero, self.one = graph.constant(0.0), graph.constant(1.0)

    def states_after(self, sources: tuple[str, ...]) -> dict[str, str]:
        """Return the states after a timestep that counts."""
        graph, name, x = self.graph, self.layer.name, sources[0]
        if self.layer.has_scores:
            scores = f"{name}.scores"
            factor, weight, reference = self._weighed(self.states[scores], sources[1])
            weights = self._added(self._scaled(self._rows(scores, 1, 2), factor), weight)
            total = self._added(self._scaled(self._rows(name, 0, 2), factor), graph.op("Mul", weight, x))
            return {name: total, scores: graph.op("Concat", reference, weights, axis=1)}
        count = f"{name}.count"
        counted = self._added([graph.slice(self.states[count], 2, i, i + 1) for i in range(2)], self.one, axis=2)
        if self.layer.operation != "max":
            return {name: self._added(self._rows(name, 0, 2), x), count: counted}
        is_first = graph.op("Equal", graph.slice(self.states[count], 2, 0, 1), self.zero)
        return {name: graph.op("Where", is_first, x, graph.op("Max", self.states[name], x)), count: counted}

    def answer(self, states: Mapping[str, str]) -> str:
        """Return what the states say."""
        graph, name = self.graph, self.layer.name
        total = graph.op("ReduceSum", states[name], graph.integers(1))
        if self.layer.operation not in ("mean", "softmax"):
            return total
        if self.layer.operation == "mean":
            count = graph.op("ReduceSum", states[f"{name}.count"], graph.integers(2))
        else:
            count = graph.op("ReduceSum", graph.slice(states[f"{name}.scores"], 1, 1, 3), graph.integers(1))
        return graph.op("Div", total, graph.op("Max", count, graph.constant(_NOTHING)))

    def _rows(self, state: str, first: int, count: int) -> tuple[str, ...]:
        return tuple(self.graph.slice(self.states[state], 1, row, row + 1) for row in range(first, first + count))

    def _added(self, rows: Sequence[str], x: str, axis: int = 1) -> str:
        graph, (total, rest) = self.graph, rows
        new = graph.op("Add", total, x)
        back = graph.op("Sub", new, total)
        error = graph.op("Add", graph.op("Sub", total, graph.op("Sub", new, back)), graph.op("Sub", x, back))
        return graph.op("Concat", new, graph.op("Add", rest, error), axis=axis)

    def _scaled(self, rows: tuple[str, ...], factor: str) -> list[str]:
        return [self.graph.op("Mul", row, factor) for row in rows]

    def _weighed(self, state: str, score: str) -> tuple[str, str, str]:
        """Return what the sums so far are multiplied by, what a timestep weighs, and what scores are compared with."""
        graph = self.graph
        old, weights = (graph.slice(state, 1, row, row + 1) for row in range(2))
        is_empty = graph.op("Equal", weights, self.zero)
        is_above = graph.op("Less", graph.op("Add", old, graph.constant(_SCORE_MARGIN)), score)
        reference = graph.op("Where", graph.op("Or", is_empty, is_above), score, old)
        factor = graph.op("Where", is_empty, self.zero, graph.op("Exp", graph.op("Sub", old, reference)))
        return factor, graph.op("Exp", graph.op("Sub", score, reference)), reference
