"""Checks a model's layers against each other and against the weights, and works out the value that each writes."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np
from msgspec.structs import replace

from grurt.errors import ModelError
from grurt.escaping import listed
from grurt.network import layers as ly
from grurt.network.frozen import Place, place
from grurt.network.ranges import check_finite, check_function, check_range
from grurt.network.signature import MAX_AXES
from grurt.network.stages import find_stages
from grurt.network.structs import fields_of
from grurt.network.text import check_name
from grurt.network.value import Value

if TYPE_CHECKING:
    from grurt.network.inputs import AnyInput, Output
    from grurt.network.layers import AnyLayer, Layer
    from grurt.network.layers.base import Shape

T = TypeVar("T")

MAX_LAYERS = 1 << 12


def _plain(description: object) -> Any:
    return msgspec.to_builtins(description, enc_hook=_to_python)


def typed(where: str, description: object, type_: type[T]) -> T:
    """Return a description with the types that its declaration promises, or raise ModelError.

    msgspec checks types when it decodes, but not in a constructor; NumPy scalars become Python's own.
    """
    try:
        plain = _plain(description)
        return msgspec.convert(plain, type_)
    except msgspec.ValidationError as error:
        from grurt.network.misfits import misfit  # which is quick to need only then

        fault = misfit(error, type_, plain)
        raise ModelError(f"{where}{'' if fault.startswith('[') else ': '}{fault}") from error
    except (TypeError, UnicodeError) as error:
        raise ModelError(f"{where}: {error}") from error


def typed_layers(layers: tuple[object, ...]) -> tuple[AnyLayer, ...]:
    """Return layers with the types that their declarations promise, or raise ModelError.

    msgspec looks at the declarations of all that a type may hold before it converts anything to it. Of layers, of which
    there are many kinds, that is done for those that are there.
    """
    try:
        if all(ly.is_class_of_layers(type(layer)) for layer in layers):
            return tuple(msgspec.convert(_plain(layer), type(layer)) for layer in layers)  # type: ignore[misc]
    except (msgspec.ValidationError, TypeError, UnicodeError):
        pass
    return typed("layers", layers, tuple[ly.AnyLayer, ...])  # whose message says where


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
        check_range(f"input {port.name!r}: size", port.size, 1)
        values[port.name] = Value(port.size, port.tokens, per_step=True)
    for layer in layers:
        _check_new_name(layer.name, values)
        values[layer.name] = _layer_value(layer, values)
    for name, stage in find_stages(layers, values).items():
        values[name] = replace(values[name], stage=stage)
    _check_handed_over(layers, values)
    _check_outputs(outputs, values)
    return values


def state_shapes(layers: Iterable[AnyLayer], values: Mapping[str, Value]) -> dict[str, Shape]:
    """Return the shapes of the states of all layers by name; raise ModelError where two have the same name."""
    shapes: dict[str, Shape] = {}
    for layer in layers:
        for name, shape in layer.state_shapes(values[layer.name].positions).items():
            check_name(name)
            if name in shapes:
                raise ModelError(f"layer {layer.name!r}: the name of its state {name!r} is used twice")
            of_state = "state" if name == layer.name else f"state {name!r}"
            length = math.prod(shape) if min(shape, default=1) > 0 and len(shape) <= MAX_AXES else 0
            check_range(f"layer {layer.name!r}: length of the {of_state}", length, 1)
            shapes[name] = shape
    return shapes


def context_shapes(layers: Iterable[AnyLayer], states: Collection[str]) -> dict[str, Shape]:
    """Return the shapes of the contexts of all layers by name; raise ModelError where a name is used twice."""
    shapes: dict[str, Shape] = {}
    for layer in layers:
        for name, shape in layer.context_shapes().items():
            if name in shapes or name in states:
                raise ModelError(f"layer {layer.name!r}: the name of its context {name!r} is used twice")
            shapes[name] = shape
    return shapes


def weight_dtypes(layers: Sequence[AnyLayer]) -> dict[str, str]:
    """Return the dtypes of the weights that are not float32, by name."""
    return {f"{layer.name}.{name}": dtype for layer in layers for name, dtype in layer.weight_dtypes().items()}


def check_weights(
    layers: Sequence[AnyLayer], weights: Mapping[str, np.ndarray], checked: Collection[Place | None]
) -> None:
    """Raise ModelError unless the weights are exactly those that the layers need, in shape, dtype and range.

    The numbers in the places that ``checked`` holds are known to be in range.
    """
    expected = {f"{layer.name}.{name}": shape for layer in layers for name, shape in layer.weight_shapes().items()}
    dtypes = weight_dtypes(layers)
    infinite = {
        f"{layer.name}.{name}" for layer in layers if layer.has_infinite_weights for name in layer.float32_shapes()
    } - dtypes.keys()
    if missing := sorted(expected.keys() - weights.keys()):
        raise ModelError(f"weights are missing: {listed(missing)}")
    if unused := sorted(weights.keys() - expected.keys()):
        raise ModelError(f"weights that no layer uses: {listed(unused)}")
    for name, shape in expected.items():
        dtype = dtypes.get(name, "float32")
        if weights[name].dtype != dtype:
            raise ModelError(f"weight {name}: expected {dtype}, got {weights[name].dtype}")
        if weights[name].shape != shape:
            raise ModelError(f"weight {name}: expected shape {shape}, got {weights[name].shape}")
        if checked and place(weights[name]) in checked:
            continue
        if name in infinite:
            if np.isnan(weights[name]).any():
                raise ModelError(f"weight {name}: expected numbers, got NaN")
        elif not np.isfinite(weights[name]).all():
            raise ModelError(f"weight {name}: expected finite numbers, got NaN, infinity or a number beyond {dtype}")
    for layer in layers:
        for parameter in layer.variances:
            if (weights[f"{layer.name}.{parameter}"] < 0).any():
                raise ModelError(f"weight {layer.name}.{parameter}: a variance must not be negative")
        for parameter in layer.scales():
            if (weights[f"{layer.name}.{parameter}"] <= 0).any():
                raise ModelError(f"weight {layer.name}.{parameter}: a scale must be positive")
        layer.check_together({name: weights[f"{layer.name}.{name}"] for name in layer.weight_shapes()})


def unstreamable_reason(layers: Sequence[AnyLayer], values: Mapping[str, Value]) -> str | None:
    """Return why these layers cannot run one timestep at a time, or None if they can."""
    if resampling := [layer for layer in layers if layer.resamples]:
        return max(resampling, key=lambda layer: (not layer.begins_sequence, layer.ahead > 0)).unstreamable_reason
    for layer in layers:
        for name in layer.inputs:
            if values[name].stage < values[layer.name].stage:
                return f"layer {layer.name!r} begins at the end of another sequence, {name!r}: Model.stages stream"
    for layer in layers:
        if layer.unstreamable_reason is not None:
            return layer.unstreamable_reason
    return None


def _to_python(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"expected plain data, got {type(value).__name__}")


def _layer_value(layer: AnyLayer, values: Mapping[str, Value]) -> Value:
    sources = _sources(layer, values)
    _check_parameters(layer)
    positions, size = layer.value_shape(tuple((source.positions, source.size) for source in sources))
    check_range(f"layer {layer.name!r}: size", positions * size, 1)
    if layer.needs_sequence and not sources[0].per_step:
        raise ModelError(f"layer {layer.name!r}: expected a sequence, got a single vector from {layer.inputs[0]!r}")
    if layer.begins_sequence:
        _check_repeated(layer, sources)
    if layer.reads_single_first and sources[0].per_step:
        raise ModelError(
            f"layer {layer.name!r}: expected a single vector first, as behind LastStep, got the sequence "
            f"{layer.inputs[0]!r}"
        )
    joined = sources[layer.reads_single_first :] if layer.joins_sequences else []
    if not all(source.per_step for source in joined):
        single = next(name for name in layer.inputs[layer.reads_single_first :] if not values[name].per_step)
        raise ModelError(f"layer {layer.name!r}: expected sequences side by side, got a single vector from {single!r}")
    if layer.handed_state is not None and sources[-1].per_step:
        raise ModelError(
            f"layer {layer.name!r}: expected an initial state behind LastStep or FirstStep, "
            f"got the sequence {layer.inputs[-1]!r}"
        )
    per_step = layer.begins_sequence or (any(source.per_step for source in sources) and not layer.selects_timestep)
    return Value(size, tokens=False, per_step=per_step, positions=positions)


def _check_repeated(layer: Layer, sources: Sequence[Value]) -> None:
    vector, *like = sources
    if vector.per_step:
        raise ModelError(f"layer {layer.name!r}: expected a single vector, got the sequence {layer.inputs[0]!r}")
    if like and not like[0].per_step:
        raise ModelError(
            f"layer {layer.name!r}: expected a sequence to have as many timesteps as, got the single vector "
            f"{layer.inputs[1]!r}"
        )


def _check_handed_over(layers: Iterable[AnyLayer], values: Mapping[str, Value]) -> None:
    for layer in layers:
        for name in layer.inputs:
            if values[name].stage < values[layer.name].stage and values[name].positions > 1:
                raise ModelError(
                    f"layer {layer.name!r}: expected single vectors from another stage, but {name!r} is a grid: "
                    "Flatten it first"
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
    return [values[name] for name in layer.inputs]


def _check_parameters(layer: Layer) -> None:
    """Check the ranges of a layer's numbers, which its fields' types alone do not."""
    for name, number, _ in fields_of(layer):
        where = f"layer {layer.name!r}: {name}"
        if type(number) is int:
            check_range(where, number, 0 if name in layer.from_zero else 1)
        elif isinstance(number, float):
            check_finite(where, number)
            if name in layer.positive and np.float32(number) <= 0:
                raise ModelError(f"{where} must be positive in float32, got {number}")
        elif isinstance(number, msgspec.Struct):
            check_function(where, number)
    layer.check_format()


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
