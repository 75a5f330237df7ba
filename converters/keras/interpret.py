"""Goes through a model's calls in order, and converts each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grurt.converters.keras import (  # noqa: F401 - they fill the tables of handlers
    arrangement,
    attention,
    convolution,
    dense,
    functions,
    mathematics,
    merging,
    normalization,
    operations,
    pointwise,
    pooling,
    products,
    recurrent,
    reductions,
    refusals,
    repetition,
    reshaping,
    stacks,
    tensorflow_functions,
    texts,
    windows,
    wrappers,
)
from grurt.converters.keras.builder import Builder
from grurt.converters.keras.handlers import HANDLERS, reason_against
from grurt.converters.keras.topology import MODELS, Reference
from grurt.converters.keras.values import Arguments, Layer, Tensor, make_layer
from grurt.errors import ConversionError, GrurtError, UnsupportedError


def convert_layer(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """Convert one call of a layer, and return its tensors.

    Raises
    ------
    ConversionError
        If its configuration, arguments and weights do not fit together.
    UnsupportedError
        If the layer, or one of its arguments, has nothing in grurt that does the same.
    """
    build.count_calls()
    try:
        return _converted(layer, args, build)
    except GrurtError:
        raise
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        raise layer.invalid("expected a configuration, arguments and weights that fit together") from error


def _converted(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    if layer.is_operation or operations.is_unmarked(layer, args):
        return operations.convert(layer, args, build)
    if layer.kind in MODELS:
        return convert_model(layer, args.tensors(layer), build, prefix=f"{layer.name}.")
    handler = HANDLERS.get(layer.kind)
    if handler is None:
        because, reason = reason_against(layer.kind)
        raise UnsupportedError(f"{layer.where}: {because}", reason=reason)
    return handler(layer, args, build)


def convert_model(model: Layer, inputs: Sequence[Tensor], build: Builder, *, prefix: str) -> tuple[Tensor, ...]:
    """Convert all calls of a model that is called with these tensors, and return what it returns."""
    topology = build.topology(model)
    build.count_calls(len(topology.outputs))
    if len(inputs) != len(topology.inputs):
        raise model.invalid(f"expected {len(topology.inputs)} inputs, got {len(inputs)}")
    results: dict[tuple[str, int], tuple[Tensor, ...]] = {
        (source.layer, source.call): (tensor,) for source, tensor in zip(topology.inputs, inputs, strict=True)
    }
    calls, blocked = topology.ordered
    for call in calls:
        described = topology.layers[call.layer]
        weights = model.weights.layer(topology.keys[call.layer], call.layer)
        layer = make_layer(described, weights, model.version, prefix, model.depth + 1)
        positional = tuple(_tensors(model, value, results) for value in call.positional)
        named = {name: _tensors(model, value, results) for name, value in call.named.items()}
        results[call.layer, call.number] = convert_layer(layer, Arguments(positional, named), build)
    if blocked is not None:
        raise model.invalid(f"expected inputs for the layer {blocked.layer[:100]!r}, got none that gives them")
    return tuple(_tensors(model, source, results) for source in topology.outputs)


def model_inputs(model: Layer, build: Builder) -> tuple[Tensor, ...]:
    """Return tensors for the inputs of the whole model."""
    topology = build.topology(model)
    tensors = []
    for source in topology.inputs:
        described = topology.layers.get(source.layer)
        if described is None or described.get("class_name") != "InputLayer":
            raise model.invalid(f"expected an InputLayer {source.layer[:100]!r}, got none")
        first = list(topology.layers.values())[1] if source.layer == "" else described
        shape, dtype = reshaping.input_shape(model, first, source.layer or "x")
        tensors.append(build.add_input(model, source.layer or "x", shape, dtype))
    return tuple(tensors)


def _tensors(model: Layer, value: Any, results: Mapping[tuple[str, int], tuple[Tensor, ...]]) -> Any:
    """Return an argument with tensors in place of references."""
    if isinstance(value, list):
        return [_tensors(model, item, results) for item in value]
    if not isinstance(value, Reference):
        return value
    found = results.get((value.layer, value.call), ())
    if value.index >= len(found):
        raise ConversionError(
            f"{model.where}: expected a tensor {value.index} of the layer {value.layer[:100]!r}, got none; "
            "the file is damaged"
        )
    return found[value.index]
