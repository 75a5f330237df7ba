"""The recurrent layers and cells of ATen as nodes of a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from grurt.array_types import Array
from grurt.converters.gates import iofc_from_ifco, zrn_from_rzn
from grurt.converters.graph.nodes import Attribute
from grurt.converters.pt2.emitter import Emitter
from grurt.converters.pt2.handlers import translates
from grurt.converters.pt2.program import Call, Ref


@dataclass(frozen=True)
class _Cell:
    """A recurrent operator of ONNX.

    Parameters
    ----------
    op
        Its name.
    ordered
        Brings PyTorch's gate blocks into its order.
    activation
        That of a plain one.
    attributes
        What else it is given.
    """

    op: str
    ordered: Callable[[Array], Array] = lambda blocks: blocks
    activation: str = ""
    attributes: Mapping[str, int] = field(default_factory=dict)


_GRU = _Cell("GRU", zrn_from_rzn, attributes={"linear_before_reset": 1})
_LSTM = _Cell("LSTM", iofc_from_ifco)
_PLAIN = {"tanh": _Cell("RNN", activation="Tanh"), "relu": _Cell("RNN", activation="Relu")}


@translates("gru")
def gru(call: Call, em: Emitter) -> None:
    """Translate ``gru.input``: a stack of layers in one or two directions."""
    _stack(call, em, _GRU, [em.tensor("hx")])


@translates("lstm")
def lstm(call: Call, em: Emitter) -> None:
    """Translate ``lstm.input``, whose states are two."""
    _stack(call, em, _LSTM, [item.name for item in call.get("hx") or () if isinstance(item, Ref)])


@translates("rnn_tanh", "rnn_relu")
def rnn(call: Call, em: Emitter) -> None:
    """Translate ``rnn_tanh.input`` and ``rnn_relu.input``."""
    _stack(call, em, _PLAIN[call.op.removeprefix("rnn_")], [em.tensor("hx")])


def _stack(call: Call, em: Emitter, cell: _Cell, hx: Sequence[str]) -> None:
    if "input" not in call.arguments or call.get("train"):
        raise call.unsupported(
            f"it is {'a GRU' if cell is _GRU else 'a recurrent layer'} over packed sequences, or in training mode",
            "call model.eval(), and export without packed sequences",
        )
    directions = 2 if call.get("bidirectional") else 1
    layers, batch_first = call.arguments["num_layers"], call.get("batch_first")
    parameters = [item.name for item in call.arguments["params"] if isinstance(item, Ref)]
    per_direction = 4 if call.arguments["has_biases"] else 2
    if len(parameters) != layers * directions * per_direction or layers < 1:
        raise call.unsupported(f"it has {len(parameters)} weights", "a GRU with projections is not supported")
    x = em.required("input")
    if batch_first:
        x = em.emit("Transpose", x, perm=(1, 0, 2))
    finals: list[list[str]] = [[] for _ in hx]
    for layer in range(layers):
        start = layer * directions * per_direction
        groups = [parameters[start + d * per_direction : start + (d + 1) * per_direction] for d in range(directions)]
        states = list(hx)
        if layers > 1:
            bounds = [[layer * directions], [(layer + 1) * directions], [0]]
            states = [em.emit("Slice", each, *(em.constant(bound, np.int64) for bound in bounds)) for each in hx]
        x, last = _layer(em, cell, x, states, groups)
        for final, state in zip(finals, last, strict=True):
            final.append(state)
    output, *given = (*call.outputs, *[""] * len(hx))[: 1 + len(hx)]
    if output:
        em.emit("Transpose", x, into=output, perm=(1, 0, 2) if batch_first else (0, 1, 2))
    for name, final in zip(given, finals, strict=True):
        if name:
            em.emit("Concat", *final, into=name, axis=0)


def _layer(
    em: Emitter, cell: _Cell, x: str, states: Sequence[str], groups: Sequence[Sequence[str]]
) -> tuple[str, list[str]]:
    """Return the outputs ``(time, batch, directions * hidden)`` and last states of one layer."""
    y, last = em.fresh(), [em.fresh() for _ in states]
    _node(em, cell, x, states, groups, (y, *last))
    if len(groups) == 1:
        return em.emit("Squeeze", y, axes=(1,)), last
    side_by_side = em.emit("Transpose", y, perm=(0, 2, 1, 3))
    return em.emit("Reshape", side_by_side, em.constant([0, 0, -1], np.int64)), last


def _node(
    em: Emitter,
    cell: _Cell,
    x: str,
    states: Sequence[str],
    groups: Sequence[Sequence[str]],
    outputs: Sequence[str],
) -> None:
    weights = [_stacked(em, cell, [group[index : index + 1] for group in groups]) for index in range(2)]
    bias = _stacked(em, cell, [group[2:] for group in groups]) if len(groups[0]) > 2 else ""
    direction = "bidirectional" if len(groups) == 2 else "forward"
    hidden_size = em.array(groups[0][1]).shape[-1]
    attributes: dict[str, Attribute] = {"hidden_size": hidden_size, "direction": direction, **cell.attributes}
    if cell.activation:
        attributes["activations"] = (cell.activation,) * len(groups)
    em.emit(cell.op, *(x, *weights, bias, "", *states), into=outputs, **attributes)


def _stacked(em: Emitter, cell: _Cell, groups: Sequence[Sequence[str]]) -> str:
    """Return the weights of each direction, one or several behind each other, with their gates in ONNX's order."""
    arrays = [[em.array(name) for name in group] for group in groups]

    def make() -> Array:
        parts = [np.concatenate([cell.ordered(array) for array in group]) for group in arrays]
        return np.asarray(np.stack(parts), np.float32)

    key = (cell.op, *map(tuple, groups))
    return em.made(key, [array for group in arrays for array in group], make)


@translates("lstm_cell", "rnn_tanh_cell", "rnn_relu_cell")
def cell_of_one_timestep(call: Call, em: Emitter) -> None:
    """Translate the cells of LSTM and plain RNN, ``(batch, features)``, as layers of one timestep."""
    cell = _LSTM if call.op == "lstm_cell" else _PLAIN[call.op.split("_")[1]]
    hx = [em.required("hx")] if len(call.outputs) == 1 else [item.name for item in call.arguments["hx"]]
    x, *states = (em.emit("Unsqueeze", name, axes=(0,)) for name in (em.required("input"), *hx))
    biases = [name for name in (em.tensor("b_ih"), em.tensor("b_hh")) if name]
    finals = [em.fresh() for _ in states]
    _node(em, cell, x, states, [[em.required("w_ih"), em.required("w_hh"), *biases]], ("", *finals))
    for name, final in zip(call.outputs, finals, strict=False):
        em.emit("Squeeze", final, into=name, axes=(0,))


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
