"""GRU, LSTM and RNN, which run over the first axis of what they read, inside of one timestep, or as one.

Source: operators ``GRU``, ``LSTM`` and ``RNN`` of the ONNX specification.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.activations import recurrent_activations
from grurt.converters.literal.builder import ProgramBuilder, Scan
from grurt.converters.literal.registry import handler
from grurt.converters.literal.values import Arguments, Value, given, is_constant
from grurt.network import functions, operators
from grurt.network.operators.recurrent import Recurrent

_BATCH_FIRST = (1, 0, 2)


@handler("GRU")
def gru(node: Node, args: Arguments, build: ProgramBuilder) -> tuple[Value, ...]:
    """GRU."""
    gate, candidate = _activations(node, ("Sigmoid", "Tanh"))
    fields: dict[str, Any] = {
        "linear_before_reset": bool(node.integer("linear_before_reset", 0)),
        "gate_activation": gate,
        "candidate_activation": candidate,
    }
    return _recurrent(node, args, build, operators.GRU, fields)


@handler("LSTM")
def lstm(node: Node, args: Arguments, build: ProgramBuilder) -> tuple[Value, ...]:
    """LSTM, without peepholes, and with its usual activations."""
    usual = (functions.Sigmoid(), functions.Tanh(), functions.Tanh())
    if _activations(node, ("Sigmoid", "Tanh", "Tanh")) != usual:
        raise node.unsupported("its activations are not sigmoid and tanh")
    if node.integer("input_forget", 0):
        raise node.unsupported("its input and forget gates are one (input_forget)")
    peepholes = args[7] if len(args) > 7 else None
    if peepholes is not None and not (is_constant(peepholes) and not peepholes.any()):
        raise node.unsupported("its gates look at the cell (peepholes)")
    return _recurrent(node, args, build, operators.LSTM, {})


@handler("RNN")
def rnn(node: Node, args: Arguments, build: ProgramBuilder) -> tuple[Value, ...]:
    """RNN."""
    (activation,) = _activations(node, ("Tanh",))
    return _recurrent(node, args, build, operators.RNN, {"activation": activation})


def _activations(node: Node, usual: tuple[str, ...]) -> tuple[functions.ElementwiseFunction, ...]:
    """Return the activations, which have to be the same in both directions."""
    first, *others = recurrent_activations(node, _directions(node), usual)
    if any(other != first for other in others):
        raise node.unsupported("its activations differ between its directions")
    return first


def _directions(node: Node) -> int:
    directions = {"forward": 1, "reverse": 1, "bidirectional": 2}.get(node.text("direction", "forward"))
    if directions is None:
        raise node.invalid("its direction is none of forward, reverse, bidirectional")
    return directions


def _recurrent(
    node: Node, args: Arguments, build: ProgramBuilder, kind: type[Recurrent], fields: dict[str, Any]
) -> tuple[Value, ...]:
    value, weights = given(node, args), [_weight(node, args, index) for index in (1, 2)]
    if value.ndim != 3 or weights[1].ndim != 3:
        raise node.invalid(f"expected an input of 3 axes, got the shape {value.shape}")
    if node.has("clip"):
        raise node.unsupported("it clips what its activations read (clip)")
    batch_first, hidden_size = bool(node.integer("layout", 0)), node.integer("hidden_size", weights[1].shape[2])
    value = build.transpose(value, _BATCH_FIRST) if batch_first else value
    length, batch, _ = value.shape
    _check_lengths(node, args, length)
    directions = _directions(node)
    bias = args[3] if len(args) > 3 else None
    weights.append(
        np.zeros((directions, 2 * kind.gates * hidden_size), np.float32) if bias is None else _weight(node, args, 3)
    )
    states: list[Value] = []
    for index in range(5, 5 + kind.n_outputs - 1):
        state = args[index] if index < len(args) else None
        if state is None:
            state = np.zeros((directions, batch, hidden_size), np.float32)
        elif batch_first:
            state = build.transpose(state, _BATCH_FIRST)
        states.append(state)
    fields |= {"hidden_size": hidden_size, "direction": node.text("direction", "forward")}
    begins = states if build.time_axis(node) == int(batch_first) and fields["direction"] == "forward" else []
    known = {
        index: (build.input(each.shape, each.dtype), each) for index, each in enumerate(begins) if is_constant(each)
    }
    states = [known[index][0] if index in known else state for index, state in enumerate(states)]
    outputs, *finals = build.emit_several(kind, value, *weights, *states, **fields)
    for index, (before, begin) in known.items():
        build.keep(node, before, finals[index], begin)
    build.scans.append(Scan(node, length, states, (outputs, *finals)))
    if not batch_first:
        return outputs, *finals
    return build.transpose(outputs, (2, 0, 1, 3)), *(build.transpose(final, _BATCH_FIRST) for final in finals)


def _weight(node: Node, args: Arguments, index: int) -> Array:
    weight = given(node, args, index)
    if not is_constant(weight):
        raise node.unsupported("its weights depend on the network's inputs")
    return weight


def _check_lengths(node: Node, args: Arguments, length: int) -> None:
    lengths = args[4] if len(args) > 4 else None
    if lengths is not None and not (is_constant(lengths) and (lengths == length).all()):
        raise node.unsupported("it is given lengths of sequences", "export one step without them")
