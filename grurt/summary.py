"""What a model consists of and costs, as data: what ``grurt inspect`` shows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from grurt.network.costs import Costs
from grurt.network.frames import Frame, frames_of
from grurt.network.functions import Function
from grurt.network.inputs import Input, Output, TokenInput
from grurt.network.layers import AnyLayer
from grurt.network.network import Source
from grurt.network.signature import Signature
from grurt.network.structs import fields_of
from grurt.network.value import Value
from grurt.network.vocabulary import Split, Vocabulary

if TYPE_CHECKING:
    from grurt.network.network import Network
    from grurt.network.operators import Operator

_SHOWN_ELSEWHERE = {"name", "inputs", "input_size", "output_size", "hidden_size", "size"}
_SHOWN_AS_PROGRAM = {
    *("input_shapes", "constants", "states", "contexts", "operators", "results", "outputs", "float16", "int8")
}


@dataclass(frozen=True)
class InputSummary:
    """A model input: ``size`` features per timestep, or token ids below ``size``.

    ``frame_shape`` is what `grurt.Stream.step` takes. ``texts`` says what texts are taken apart into, and
    ``text_length`` how many tokens each has, where the model has a vocabulary that says it.
    """

    name: str
    size: int
    tokens: bool
    frame_shape: tuple[int, ...]
    texts: Split | None
    text_length: int | None


@dataclass(frozen=True)
class OutputSummary:
    """A model output; ``per_step`` tells a sequence of answers from one answer at the end.

    ``frame_shape`` is what `grurt.Stream.step` gives.
    """

    name: str
    value: str
    size: int
    per_step: bool
    frame_shape: tuple[int, ...]


@dataclass(frozen=True)
class OperatorSummary:
    """An operator of a step program; those that only move numbers are left out."""

    name: str
    """Of what it writes."""
    kind: str
    inputs: tuple[str, ...]
    """Inputs and states of the program, and operators, whose numbers it reads; constants are left out."""
    shape: tuple[int, ...]
    multiply_adds: int
    note: str
    """Its options that are not the default ones."""


@dataclass(frozen=True)
class LayerSummary:
    """One layer."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    output_size: int
    positions: int
    """How many vectors of that size there are at each timestep: 1 but for grids."""
    parameters: int
    bytes: int
    """What the weights take in the file, in the formats that they are kept in."""
    multiply_adds: int
    """Per timestep, by matrices; what is done to each feature by itself is not counted."""
    state_shapes: Mapping[str, tuple[int, ...]]
    """Of its states, by name."""
    context_shapes: Mapping[str, tuple[int, ...]]
    """Of what it is given once, by name."""
    note: str
    """The layer's options that are not the default ones, e.g. ``"direction=reverse, clip=3.0"``."""
    program: tuple[OperatorSummary, ...] = ()
    """What it consists of, if it is a step program,"""
    results: tuple[str, ...] = ()
    """and which of that it gives."""


@dataclass(frozen=True)
class Summary:
    """A whole model; its numbers are the sums of the layers'."""

    inputs: tuple[InputSummary, ...]
    layers: tuple[LayerSummary, ...]
    outputs: tuple[OutputSummary, ...]
    parameters: int
    bytes: int
    multiply_adds: int
    costs: Costs
    """What the engine takes, at most."""
    state_bytes: int
    """What the state of one stream takes, in float32."""
    context_shapes: Mapping[str, tuple[int, ...]]
    """Of what a stream is given once, by name."""
    streams: bool
    unstreamable_reason: str | None
    signature: Signature
    source: Source
    reference_run: str | None
    """What produced the reference run, if the model has one: `verify` replays it."""
    fingerprint: str

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as dicts, lists, strings and numbers, ready for JSON."""
        described: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return described


def summarize(model: Network) -> Summary:
    """Describe a model; nothing is computed with it."""
    layers = tuple(_layer(model, layer) for layer in model.layers)
    frames = frames_of(model)
    return Summary(
        inputs=tuple(
            _input(port, frames.inputs[port.name], model.vocabularies.get(port.name)) for port in model.inputs
        ),
        layers=layers,
        outputs=tuple(_output(port, model.values[port.value], frames.outputs[port.name]) for port in model.outputs),
        parameters=model.parameter_count,
        bytes=sum(layer.bytes for layer in layers),
        multiply_adds=model.costs.multiply_adds,
        costs=model.costs,
        state_bytes=sum(4 * math.prod(shape) for shape in model.state_shapes.values()),
        context_shapes=dict(model.context_shapes),
        streams=model.unstreamable_reason is None,
        unstreamable_reason=model.unstreamable_reason,
        signature=model.signature,
        source=model.source,
        reference_run=model.reference_run.produced_by if model.reference_run else None,
        fingerprint=model.fingerprint.hex(),
    )


def _input(port: Input | TokenInput, frame: Frame, vocabulary: Vocabulary | None) -> InputSummary:
    split, length = (None, None) if vocabulary is None else (vocabulary.split, vocabulary.length)
    return InputSummary(port.name, port.size, port.tokens, frame.shape, split, length)


def _output(port: Output, value: Value, frame: Frame) -> OutputSummary:
    return OutputSummary(port.name, port.value, value.size, value.per_step, frame.shape)


def _layer(model: Network, layer: AnyLayer) -> LayerSummary:
    return LayerSummary(
        name=layer.name,
        kind=layer.kind,
        inputs=layer.inputs,
        output_size=model.values[layer.name].size,
        positions=model.values[layer.name].positions,
        parameters=layer.parameter_count,
        bytes=sum(model.weights[f"{layer.name}.{name}"].nbytes for name in layer.weight_shapes()),
        multiply_adds=layer.multiply_adds(model.values[layer.name].positions),
        state_shapes=model.states_of(layer),
        note=_note(layer),
        context_shapes=dict(layer.context_shapes()),
        **_program(layer),
    )


def _program(layer: AnyLayer) -> dict[str, Any]:
    """Return the operators of a step program, and what it gives, with what only moves numbers left out."""
    origins: dict[str, tuple[str, ...]] = {
        name: (name,) for name in (*layer.inputs, *layer.state_shapes(), *layer.context_shapes())
    }
    summaries, formats = [], layer.matrix_formats()
    for operator, shape, multiply_adds in layer.program():
        read = tuple(dict.fromkeys(origin for name in operator.inputs for origin in origins.get(name, ())))
        name = next(filter(None, operator.outputs))
        origins |= dict.fromkeys(operator.outputs, read if operator.moves else (name,))
        if not operator.moves:
            weights = dict.fromkeys(f"weight_format={formats[name]}" for name in operator.inputs if name in formats)
            note = ", ".join([*filter(None, [_note(operator)]), *weights])
            summaries.append(OperatorSummary(name, operator.kind, read, shape, multiply_adds, note))
    results = dict.fromkeys(origin for name in getattr(layer, "results", ()) for origin in origins.get(name, ()))
    return {"program": tuple(summaries), "results": tuple(results)}


def _note(described: AnyLayer | Operator) -> str:
    return ", ".join(
        _text(value) if name in ("function", "operation") else f"{name}={_text(value)}"
        for name, value, default in fields_of(described)
        if name not in _SHOWN_ELSEWHERE | _SHOWN_AS_PROGRAM and value != default
    )


def _text(value: object) -> str:
    if isinstance(value, float):
        return str(np.float32(value))  # in the fewest digits: kernels compute with float32
    if not isinstance(value, Function):
        return str(value)
    parameters = ", ".join(f"{name}={_text(getattr(value, name))}" for name in value.__struct_fields__)
    return f"{value.name}({parameters})" if parameters else value.name
