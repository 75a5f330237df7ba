"""Step programs in ONNX: each operator as the nodes that it came from, or could have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from grurt.array_types import Array
from grurt.converters.onnx.writing.functions import BINARY, COMPARISONS, gru_activations, write_function
from grurt.converters.onnx.writing.graph import GraphWriter
from grurt.converters.onnx.writing.gru import Scanned, write_gru
from grurt.errors import ConversionError
from grurt.network import operators as op
from grurt.network.layers import GRU, Program

_COMBINE = {"add": "Add", "mul": "Mul", **BINARY}
_REDUCE = {
    "sum": "ReduceSum",
    "mean": "ReduceMean",
    "max": "ReduceMax",
    "min": "ReduceMin",
    "l1": "ReduceL1",
    "l2": "ReduceL2",
    "sum_square": "ReduceSumSquare",
}
_BEFORE_THE_FIRST = -(1 << 31)
"""Where a slice ends that goes back to the first place."""


def write_program(
    graph: GraphWriter, layer: Program, weights: Mapping[str, Array], inputs: Sequence[str], states: Mapping[str, str]
) -> tuple[str, dict[str, str]]:
    """Add one timestep of a program, and return its results ``(1, 1, size)``, and what its states become.

    ``inputs`` are ``(1, 1, size)``, ``states`` have their own shapes.
    """
    values = {name: graph.constant(array, name=name) for name, array in weights.items()}
    values |= states
    for name, value, shape in zip(layer.inputs, inputs, layer.input_shapes, strict=True):
        values[name] = _reshape(graph, value, shape)
    shapes = layer.shapes()
    for operator in layer.operators:
        read = [values[name] for name in operator.inputs]
        if isinstance(operator, op.GRU):
            written: str | list[str] = _gru(
                graph, operator, read[0], [weights[n] for n in operator.inputs[1:4]], read[4]
            )
        elif isinstance(operator, op.Update):
            written = graph.op("ScatterND", read[0], _places(graph, operator, shapes[operator.inputs[1]]), read[1])
        else:
            written = _WRITERS[type(operator)](graph, operator, *read)
        found = [written] if isinstance(written, str) else written
        values |= {name: value for name, value in zip(operator.outputs, found, strict=True) if name}
    results = [graph.reshape(values[name], 1, 1, -1) for name in layer.results]
    whole = results[0] if len(results) == 1 else graph.op("Concat", *results, axis=2)
    return whole, {state.name: values[state.result] for state in layer.states}


def _reshape(graph: GraphWriter, value: str, shape: Sequence[int]) -> str:
    return graph.op("Reshape", value, graph.integers(*shape))


def _apply(graph: GraphWriter, operator: op.Apply, x: str) -> str:
    return write_function(graph, operator.function, x)


def _combine(graph: GraphWriter, operator: op.Combine, a: str, b: str) -> str:
    found = graph.op(_COMBINE[operator.operation], a, b)
    return graph.cast(found, "float32") if operator.operation in COMPARISONS else found


def _where(graph: GraphWriter, operator: op.Where, condition: str, then: str, otherwise: str) -> str:
    return graph.op("Where", graph.cast(condition, "bool"), then, otherwise)


def _prelu(graph: GraphWriter, operator: op.PRelu, x: str, slope: str) -> str:
    return graph.op("Where", graph.op("Less", x, graph.constant(0.0)), graph.op("Mul", x, slope), x)


def _slice(graph: GraphWriter, operator: op.Slice, x: str) -> str:
    ends = [
        end if end >= 0 else _BEFORE_THE_FIRST
        for end in (
            start + size * step
            for start, size, step in zip(operator.starts, operator.sizes, operator.steps, strict=True)
        )
    ]
    axes = range(len(ends))
    numbers = operator.starts, ends, axes, operator.steps
    return graph.op("Slice", x, *(graph.integers(*each) for each in numbers)) if ends else x


def _pad(graph: GraphWriter, operator: op.Pad, x: str) -> str:
    return graph.op("Pad", x, graph.integers(*operator.before, *operator.after), graph.constant(operator.value))


def _places(graph: GraphWriter, operator: op.Update, shape: Sequence[int]) -> str:
    """Return where each number of what is put there goes: ``(*shape, axes)``."""
    return graph.constant(np.moveaxis(np.indices(shape), 0, -1) + np.asarray(operator.starts), "int64")


def _conv(graph: GraphWriter, operator: op.Conv, *inputs: str) -> str:
    return graph.op("Conv", *inputs, pads=[*operator.before, *operator.after], **_geometry(operator))


def _conv_transpose(graph: GraphWriter, operator: op.ConvTranspose, x: str, *weights: str) -> str:
    # Zeros behind the input are rows of nothing but the bias behind the result, of which some are cut off again.
    zeros = [max(0, -(after // stride)) for after, stride in zip(operator.after, operator.strides, strict=True)]
    after = [cut + n * stride for cut, n, stride in zip(operator.after, zeros, operator.strides, strict=True)]
    if any(zeros):
        x = graph.op("Pad", x, graph.integers(*[0] * (2 + len(zeros)), 0, 0, *zeros))
    return graph.op("ConvTranspose", x, *weights, pads=[*operator.before, *after], **_geometry(operator))


def _geometry(operator: op.Conv | op.ConvTranspose) -> dict[str, Any]:
    return {"group": operator.groups, "strides": operator.strides, "dilations": operator.dilations}


def _mat_mul(graph: GraphWriter, operator: op.MatMul, a: str, b: str, bias: str = "") -> str:
    found = graph.op("MatMul", a, b)
    return graph.op("Add", found, bias) if bias else found


def _recurrent(
    graph: GraphWriter, operator: op.LSTM | op.RNN, x: str, w: str, r: str, b: str, *states: str
) -> list[str]:
    activations: dict[str, list[str] | list[float]] = {}
    if isinstance(operator, op.RNN):
        found = gru_activations(operator.activation)
        if found is None:
            raise ConversionError(f"ONNX: {operator.where}: RNN has no function {operator.activation.name}")
        activations = found
    functions = {name: [*values] * operator.directions for name, values in activations.items()}
    return graph.ops(
        operator.kind.upper(),
        *(x, w, r, b, "", *states),
        outputs=operator.n_outputs,
        hidden_size=operator.hidden_size,
        direction=operator.direction,
        **functions,
    )


def _gru(graph: GraphWriter, operator: op.GRU, x: str, weights: Sequence[Array], state: str) -> list[str]:
    """Add a GRU, of which each direction may be a Scan: see `grurt.converters.onnx.writing.gru`."""
    outputs, finals = [], []
    for direction, (weight_ih, weight_hh, bias) in enumerate(zip(*weights, strict=True)):
        layer = GRU(
            name=operator.outputs[0] or operator.outputs[1],
            input_size=weight_ih.shape[1],
            hidden_size=operator.hidden_size,
            direction="reverse" if direction or operator.direction == "reverse" else "forward",
            linear_before_reset=operator.linear_before_reset,
            gate_activation=operator.gate_activation,
            candidate_activation=operator.candidate_activation,
        )
        biases = np.split(bias, 2)
        own = {"weight_ih": weight_ih, "weight_hh": weight_hh, "bias_ih": biases[0], "bias_hh": biases[1]}
        given = Scanned(x, graph.slice(state, 0, direction, direction + 1))
        output, final = write_gru(graph, layer, own, given, None, single=False)
        outputs.append(graph.unsqueeze(output, 1))
        finals.append(final)
    if len(outputs) == 1:
        return [*outputs, *finals]
    return [graph.op("Concat", *outputs, axis=1), graph.op("Concat", *finals, axis=0)]


def _reduce(graph: GraphWriter, operator: op.Reduce, x: str) -> str:
    return graph.op(_REDUCE[operator.operation], x, graph.integers(*operator.axes), keepdims=1)


def _softmax(graph: GraphWriter, operator: op.Softmax, x: str) -> str:
    return graph.op("LogSoftmax" if operator.log else "Softmax", x, axis=operator.axis)


def _normalize(graph: GraphWriter, operator: op.Normalize, x: str) -> str:
    axes = graph.integers(*operator.axes)
    if operator.centered:
        x = graph.op("Sub", x, graph.op("ReduceMean", x, axes, keepdims=1))
    squares = graph.op("ReduceMean", graph.op("Mul", x, x), axes, keepdims=1)
    return graph.op("Div", x, graph.op("Sqrt", graph.op("Add", squares, graph.constant(operator.epsilon))))


_WRITERS: dict[type[op.Operator], Callable[..., str | list[str]]] = {
    op.Apply: _apply,
    op.Combine: _combine,
    op.Where: _where,
    op.PRelu: _prelu,
    op.Transpose: lambda graph, operator, x: graph.op("Transpose", x, perm=operator.perm),
    op.Reshape: lambda graph, operator, x: _reshape(graph, x, operator.shape),
    op.Expand: lambda graph, operator, x: graph.op("Expand", x, graph.integers(*operator.shape)),
    op.Slice: _slice,
    op.Gather: lambda graph, operator, x: graph.op("Gather", x, graph.integers(*operator.places), axis=operator.axis),
    op.Concat: lambda graph, operator, *inputs: graph.op("Concat", *inputs, axis=operator.axis),
    op.Pad: _pad,
    op.Conv: _conv,
    op.ConvTranspose: _conv_transpose,
    op.MatMul: _mat_mul,
    op.LSTM: _recurrent,
    op.RNN: _recurrent,
    op.Reduce: _reduce,
    op.Softmax: _softmax,
    op.Normalize: _normalize,
}
