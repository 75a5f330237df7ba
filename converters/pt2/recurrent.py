"""``aten.gru`` and ``aten.gru_cell`` as nodes of a graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grurt.array_types import Array
from grurt.converters.gates import zrn_from_rzn
from grurt.converters.pt2.emitter import Emitter
from grurt.converters.pt2.handlers import translates
from grurt.converters.pt2.program import Call, Ref


@translates("gru")
def gru(call: Call, em: Emitter) -> None:
    """Translate ``gru.input``: a stack of layers in one or two directions."""
    if "input" not in call.arguments or call.get("train"):
        raise call.unsupported(
            "it is a GRU over packed sequences, or in training mode",
            "call model.eval(), and export without packed sequences",
        )
    directions = 2 if call.get("bidirectional") else 1
    layers, batch_first = call.arguments["num_layers"], call.get("batch_first")
    parameters = [item.name for item in call.arguments["params"] if isinstance(item, Ref)]
    per_direction = 4 if call.arguments["has_biases"] else 2
    if len(parameters) != layers * directions * per_direction or layers < 1:
        raise call.unsupported(f"it has {len(parameters)} weights", "a GRU with projections is not supported")
    x, hx = em.required("input"), em.required("hx")
    if batch_first:
        x = em.emit("Transpose", x, perm=(1, 0, 2))
    states = []
    for layer in range(layers):
        start = layer * directions * per_direction
        groups = [parameters[start + d * per_direction : start + (d + 1) * per_direction] for d in range(directions)]
        state = hx
        if layers > 1:
            bounds = [[layer * directions], [(layer + 1) * directions], [0]]
            state = em.emit("Slice", hx, *(em.constant(bound, np.int64) for bound in bounds))
        x, last = _layer(em, x, state, groups)
        states.append(last)
    output, state = (*call.outputs, "", "")[:2]
    if output:
        em.emit("Transpose", x, into=output, perm=(1, 0, 2) if batch_first else (0, 1, 2))
    if state:
        em.emit("Concat", *states, into=state, axis=0)


def _layer(em: Emitter, x: str, state: str, groups: Sequence[Sequence[str]]) -> tuple[str, str]:
    """Return the outputs ``(time, batch, directions * hidden)`` and last states of one layer."""
    y, last = em.fresh(), em.fresh()
    _gru_node(em, x, state, groups, (y, last))
    if len(groups) == 1:
        return em.emit("Squeeze", y, axes=(1,)), last
    side_by_side = em.emit("Transpose", y, perm=(0, 2, 1, 3))
    return em.emit("Reshape", side_by_side, em.constant([0, 0, -1], np.int64)), last


def _gru_node(em: Emitter, x: str, state: str, groups: Sequence[Sequence[str]], outputs: tuple[str, str]) -> None:
    weights = [_stacked(em, [group[index : index + 1] for group in groups]) for index in range(2)]
    bias = _stacked(em, [group[2:] for group in groups]) if len(groups[0]) > 2 else ""
    direction = "bidirectional" if len(groups) == 2 else "forward"
    hidden_size = em.array(groups[0][1]).shape[-1]
    em.emit(
        "GRU",
        *(x, *weights, bias, "", state),
        into=outputs,
        hidden_size=hidden_size,
        direction=direction,
        linear_before_reset=1,
    )


def _stacked(em: Emitter, groups: Sequence[Sequence[str]]) -> str:
    """Return the weights of each direction, one or several behind each other, with their gates in grurt's order."""
    arrays = [[em.array(name) for name in group] for group in groups]

    def make() -> Array:
        parts = [np.concatenate([zrn_from_rzn(array) for array in group]) for group in arrays]
        return np.asarray(np.stack(parts), np.float32)

    return em.made(tuple(map(tuple, groups)), [array for group in arrays for array in group], make)


@translates("gru_cell")
def gru_cell(call: Call, em: Emitter) -> None:
    """Translate ``gru_cell`` into the operators that exporters spell it out in, which `rewriting` finds again.

    There cells are told apart: those of a single timestep, and the copies of an unrolled loop over the timesteps.
    """
    h = em.required("hx")
    given, kept = (
        _gates(em, source, em.required(weight), em.tensor(bias))
        for source, weight, bias in ((em.required("input"), "w_ih", "b_ih"), (h, "w_hh", "b_hh"))
    )
    r, z = (em.emit("Sigmoid", em.emit("Add", kept[gate], given[gate])) for gate in (0, 1))
    n = em.emit("Tanh", em.emit("Add", given[2], em.emit("Mul", kept[2], r)))
    em.emit("Add", em.emit("Mul", em.emit("Sub", h, n), z), n, into=call.outputs[0])


def _gates(em: Emitter, source: str, weight: str, bias: str) -> list[str]:
    """Return the products of the gates r, z, n."""
    size = em.array(weight).shape[0] // 3
    product = em.emit("Gemm", source, weight, *([bias] if bias else []), transB=1)
    parts = [em.fresh() for _ in range(3)]
    em.emit("Split", product, em.constant([size] * 3, np.int64), into=parts, axis=1)
    return parts
