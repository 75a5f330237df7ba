"""Checks a model's layers against each other and against the weights, and works out the value that each writes."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import msgspec
import numpy as np

from grurt.errors import ModelError
from grurt.functions import Clip
from grurt.layers import (
    GRU,
    AnyInput,
    AnyLayer,
    Conv1d,
    Embedding,
    FirstStep,
    Input,
    LastStep,
    Layer,
    MatrixLayer,
    Output,
    Shape,
    float32_shapes,
)
from grurt.plan import padded
from grurt.stages import find_stages
from grurt.text import check_name

T = TypeVar("T")

MAX_SIZE = 1 << 20
"""The largest size of a value or state: it bounds what a small file can make the engine allocate."""

MAX_LAYERS = 1 << 12

MAX_INT8_INPUTS = 1 << 17
"""The most features that a product with int8 weights may have: more could overflow a sum of 32 bits."""

MAX_TOTAL_SIZE = 1 << 24
"""The largest sum of the padded sizes of all values and states of a model, for the same reason."""


@dataclass(frozen=True)
class Value:
    """What a model input or a layer writes: ``size`` features (or, for tokens, the vocabulary's size).

    ``per_step`` is True for a sequence, with one vector for each timestep, and False for one vector in all. A grid has
    ``positions`` vectors of that size where others have one. ``stage`` is the number of its stage, see `Model.stages`.
    """

    size: int
    tokens: bool
    per_step: bool
    positions: int = 1
    stage: int = 0


def typed(where: str, description: object, type_: type[T]) -> T:
    """Return a description with the types that its declaration promises, or raise ModelError.

    msgspec checks types when it decodes, but not in a constructor; NumPy scalars become Python's own.
    """
    try:
        return msgspec.convert(msgspec.to_builtins(description, enc_hook=_to_python), type_)
    except (msgspec.ValidationError, TypeError, UnicodeError) as error:
        raise ModelError(f"{where}: {error}") from error


def connect(inputs: Sequence[AnyInput], layers: Iterable[AnyLayer]) -> tuple[AnyLayer, ...]:
    """Return the layers with empty ``inputs`` filled in: the layer before, or the first model input."""
    previous = inputs[0].name if inputs else ""
    connected = []
    for layer in layers:
        connected.append(layer if layer.inputs else msgspec.structs.replace(layer, inputs=(previous,)))
        previous = layer.name
    return tuple(connected)


def infer_values(inputs: Sequence[AnyInput], layers: Sequence[AnyLayer], outputs: Sequence[Output]) -> dict[str, Value]:
    """Return every value of the model by name; raise ModelError where inputs, layers and outputs do not fit."""
    if not inputs or not layers or not outputs:
        raise ModelError("a model needs at least one input, one layer and one output")
    if len(layers) > MAX_LAYERS:
        raise ModelError(f"a model may have {MAX_LAYERS} layers, got {len(layers)}")
    values: dict[str, Value] = {}
    for port in inputs:
        _check_new_name(port.name, values)
        tokens = not isinstance(port, Input)
        size = port.size if isinstance(port, Input) else port.vocabulary_size
        _check_range(f"input {port.name!r}: size", size, 1)
        values[port.name] = Value(size, tokens, per_step=True)
    for layer in layers:
        _check_new_name(layer.name, values)
        values[layer.name] = _layer_value(layer, values)
    for name, stage in find_stages(layers, values).items():
        values[name] = replace(values[name], stage=stage)
    _check_handed_over(layers, values)
    _check_outputs(outputs, values)
    total = sum(value.positions * padded(value.size) for value in values.values())
    total += sum(math.prod(shape[:-1]) * padded(shape[-1]) for shape in state_shapes(layers, values).values())
    grids = (values[layer.name] for layer in layers if isinstance(layer, GRU) and values[layer.name].positions > 1)
    total += sum(5 * grid.positions * padded(grid.size) for grid in grids)  # the sums of their gates, with few weights
    if total > MAX_TOTAL_SIZE:
        raise ModelError(f"the sizes of all values and states may add up to {MAX_TOTAL_SIZE}, got {total}")
    return values


def weight_dtypes(layers: Sequence[AnyLayer]) -> dict[str, str]:
    """Return the dtypes of the weights that are not float32, by name."""
    return {f"{layer.name}.{name}": dtype for layer in layers for name, dtype in layer.weight_dtypes().items()}


def check_weights(layers: Sequence[AnyLayer], weights: Mapping[str, np.ndarray]) -> None:
    """Raise ModelError unless the weights are exactly those that the layers need, in shape, dtype and range."""
    expected = {f"{layer.name}.{name}": shape for layer in layers for name, shape in layer.weight_shapes().items()}
    dtypes = weight_dtypes(layers)
    if missing := sorted(expected.keys() - weights.keys()):
        raise ModelError(f"weights are missing: {', '.join(missing)}")
    if unused := sorted(weights.keys() - expected.keys()):
        raise ModelError(f"weights that no layer uses: {', '.join(unused)}")
    for name, shape in expected.items():
        dtype = dtypes.get(name, "float32")
        if weights[name].dtype != dtype:
            raise ModelError(f"weight {name}: expected {dtype}, got {weights[name].dtype}")
        if weights[name].shape != shape:
            raise ModelError(f"weight {name}: expected shape {shape}, got {weights[name].shape}")
        if not np.isfinite(weights[name]).all():
            raise ModelError(f"weight {name}: expected finite numbers, got NaN, infinity or a number beyond {dtype}")
        if name.endswith(".variance") and (weights[name] < 0).any():
            raise ModelError(f"weight {name}: a variance must not be negative")
        if name.removesuffix("_scale") in dtypes and name not in dtypes and (weights[name] <= 0).any():
            raise ModelError(f"weight {name}: a scale must be positive")


def unstreamable_reason(layers: Sequence[AnyLayer], values: Mapping[str, Value]) -> str | None:
    """Return why these layers cannot run one timestep at a time, or None if they can."""
    for layer in layers:
        for name in layer.inputs:
            if values[name].stage < values[layer.name].stage:
                return f"layer {layer.name!r} begins at the end of another sequence, {name!r}: Model.stages stream"
    for layer in layers:
        if isinstance(layer, GRU) and layer.direction == "reverse" and layer.scan == "time":
            return f"layer {layer.name!r} is a GRU in reverse direction: its first output depends on the last timestep"
        if isinstance(layer, FirstStep):
            return f"layer {layer.name!r} reads the first timestep of the finished sequence"
    return None


def state_shapes(layers: Iterable[AnyLayer], values: Mapping[str, Value]) -> dict[str, Shape]:
    """Return the shapes of the states that the layers carry, by layer name."""
    shapes = {layer.name: layer.state_shape(values[layer.name].positions) for layer in layers}
    return {name: shape for name, shape in shapes.items() if shape is not None}


def _to_python(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"expected plain data, got {type(value).__name__}")


def _layer_value(layer: AnyLayer, values: Mapping[str, Value]) -> Value:
    sources = _sources(layer, values)
    _check_parameters(layer)
    positions, size = layer.value_shape(tuple((source.positions, source.size) for source in sources))
    _check_range(f"layer {layer.name!r}: size", positions * size, 1)
    if isinstance(layer, Conv1d) and positions > 1:
        raise ModelError(
            f"layer {layer.name!r}: a Conv1d reads single vectors, got {positions} positions: Flatten first, "
            f"and repeat the weights in groups"
        )
    if isinstance(layer, LastStep | FirstStep | GRU | Conv1d) and not sources[0].per_step:
        raise ModelError(f"layer {layer.name!r}: expected a sequence, got a single vector from {layer.inputs[0]!r}")
    if isinstance(layer, GRU) and layer.initial_state == "value" and sources[-1].per_step:
        raise ModelError(
            f"layer {layer.name!r}: expected an initial state behind LastStep or FirstStep, "
            f"got the sequence {layer.inputs[-1]!r}"
        )
    per_step = any(source.per_step for source in sources) and not isinstance(layer, LastStep | FirstStep)
    return Value(size, tokens=False, per_step=per_step, positions=positions)


def _check_handed_over(layers: Iterable[AnyLayer], values: Mapping[str, Value]) -> None:
    for layer in layers:
        for name in layer.inputs:
            if values[name].stage < values[layer.name].stage and values[name].positions > 1:
                raise ModelError(
                    f"layer {layer.name!r}: expected a vector from the end of another sequence, "
                    f"but {name!r} is a grid: Flatten it first"
                )


def _sources(layer: AnyLayer, values: Mapping[str, Value]) -> list[Value]:
    fewest, most = layer.input_counts()
    if not fewest <= len(layer.inputs) <= most:
        wanted = f"{fewest} to {most} inputs" if fewest < most else "1 input" if most == 1 else f"{most} inputs"
        raise ModelError(f"layer {layer.name!r}: expected {wanted}, got {len(layer.inputs)}")
    for name in layer.inputs:
        if name not in values:
            raise ModelError(f"layer {layer.name!r}: its input {name!r} is neither a model input nor an earlier layer")
        if values[name].tokens != layer.reads_tokens:
            wanted = "tokens" if layer.reads_tokens else "features"
            raise ModelError(f"layer {layer.name!r}: expected {wanted}, but {name!r} holds something else")
        if isinstance(layer, Embedding) and values[name].size != layer.vocabulary_size:
            raise ModelError(
                f"layer {layer.name!r}: expected a vocabulary of {layer.vocabulary_size} tokens, "
                f"but {name!r} has {values[name].size}"
            )
    return [values[name] for name in layer.inputs]


def _check_parameters(layer: Layer) -> None:
    """Check the ranges of a layer's numbers, which its fields' types alone do not."""
    for field in msgspec.structs.fields(layer):
        number = getattr(layer, field.name)
        where = f"layer {layer.name!r}: {field.name}"
        if field.type is int:
            _check_range(where, number, 0 if field.name in ("start", "token") else 1)
        elif isinstance(number, float):
            _check_finite(where, number)
            if field.name in ("epsilon", "clip") and np.float32(number) <= 0:
                raise ModelError(f"{where} must be positive in float32, got {number}")
        elif isinstance(number, msgspec.Struct):
            _check_function(where, number)
    if isinstance(layer, MatrixLayer) and layer.weight_format != "float32":
        _check_quantized(layer)
    if isinstance(layer, Conv1d):
        history = (layer.kernel_size - 1) * layer.dilation
        _check_range(f"layer {layer.name!r}: length of the state", history * layer.input_size, 0)


def _check_quantized(layer: MatrixLayer) -> None:
    if isinstance(layer, Conv1d) and layer.is_depthwise:
        raise ModelError(f"layer {layer.name!r}: a depthwise Conv1d keeps float32 weights, got {layer.weight_format}")
    if layer.weight_format == "int4" and not isinstance(layer, GRU):
        raise ModelError(f"layer {layer.name!r}: expected int8 or another format, got int4, which only GRU layers have")
    shapes = float32_shapes(layer)
    inputs = max(math.prod(shapes[name][1:]) for name in layer.matrices)
    if layer.weight_format != "float16" and inputs > MAX_INT8_INPUTS and not isinstance(layer, Embedding):
        raise ModelError(
            f"layer {layer.name!r}: {layer.weight_format} weights may have {MAX_INT8_INPUTS} inputs, got {inputs}"
        )


def _check_function(where: str, function: msgspec.Struct) -> None:
    for name in function.__struct_fields__:
        value = getattr(function, name)
        if isinstance(value, int | float):
            _check_finite(f"{where}.{name}", value)
    if isinstance(function, Clip) and function.minimum > function.maximum:
        raise ModelError(f"{where}: minimum {function.minimum} is above maximum {function.maximum}")


def _check_finite(where: str, number: float) -> None:
    if not math.isfinite(number) or abs(number) > float(np.finfo(np.float32).max):
        raise ModelError(f"{where} must be a finite float32, got {number}")


def _check_range(where: str, number: int, minimum: int) -> None:
    if not minimum <= number <= MAX_SIZE:
        raise ModelError(f"{where} must be in [{minimum}, {MAX_SIZE}], got {number}")


def _check_new_name(name: str, values: Mapping[str, Value]) -> None:
    check_name(name)
    if name in values:
        raise ModelError(f"the name {name!r} is used twice")


def _check_outputs(outputs: Sequence[Output], values: Mapping[str, Value]) -> None:
    names = set()
    for output in outputs:
        check_name(output.name)
        if output.name in names:
            raise ModelError(f"two outputs have the name {output.name!r}")
        names.add(output.name)
        if output.value not in values:
            raise ModelError(f"output {output.name!r}: there is no value {output.value!r}")
        if values[output.value].tokens:
            raise ModelError(f"output {output.name!r}: the value {output.value!r} holds tokens, not features")
        if (positions := values[output.value].positions) > 1:
            raise ModelError(
                f"output {output.name!r}: expected a value of single vectors, but {output.value!r} is a grid of "
                f"{positions} positions: Flatten it first"
            )
