"""Layers that hold others: Bidirectional and TimeDistributed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from grurt.converters.keras.builder import Builder
from grurt.converters.keras.handlers import converts
from grurt.converters.keras.merging import MODES, join
from grurt.converters.keras.values import Arguments, Kind, Layer, Tensor
from grurt.errors import DesignReason

_RECURRENT = ("GRU", "CuDNNGRU", "RNN")
_NOT_IN_TIME = "supported inside of it are layers that work on each timestep by itself, such as Dense"


@converts("Bidirectional")
def bidirectional(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``Bidirectional``: a layer in each direction. What comes backwards is reversed back."""
    config = layer.config
    args.check_named(layer, "initial_state")
    merge_mode = config.get("merge_mode", "concat")
    if merge_mode is not None and not (isinstance(merge_mode, str) and merge_mode in MODES):
        raise layer.unsupported(f"merge_mode={str(merge_mode)[:100]!r}", f"supported are {', '.join(map(str, MODES))}")
    described = config.get("layer")
    given = config.get("backward_layer")
    config.skip("return_sequences", "return_state", "stateful", "input_dim")
    config.policy()
    config.check_all_read()
    forward = _direction(layer, described, "forward", "forward")
    backward = _direction(layer, _reversed(described) if given is None else given, "backward", "reverse")
    returns = [inner.config.boolean("return_sequences") for inner in (forward, backward)]
    if len(set(returns)) > 1 or forward.config.boolean("go_backwards") == backward.config.boolean("go_backwards"):
        raise layer.invalid("expected two layers of opposite directions that return the same, got others")
    tensors = args.tensors(layer)
    states = args.named.get("initial_state") or tensors[1:] or None
    halves = _halves(layer, states)
    mask = args.named.get("mask")
    _check_masking(layer, tensors[0], mask, returns[0])
    outputs = []
    for inner, half in zip((forward, backward), halves, strict=True):
        named = {"mask": mask, "initial_state": half}
        outputs.append(build.convert(inner, Arguments((tensors[0],), named), build))
    ahead, back = outputs[0][0], outputs[1][0]
    if returns[0]:
        back = replace(back, backwards=not back.backwards)
    merged = (ahead, back) if merge_mode is None else (join(layer, MODES[merge_mode], (ahead, back), build),)
    return (*merged, *outputs[0][1:], *outputs[1][1:])


@converts("TimeDistributed")
def time_distributed(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``TimeDistributed`` of layers that work on one vector: they do the same at every timestep."""
    tensor = build.value(layer, args.only(layer), Kind.SEQUENCE, Kind.REPEATED)
    described = layer.config.get("layer")
    layer.config.skip("input_dim")
    layer.config.policy()
    layer.config.check_all_read()
    inner = layer.inner(described, "layer")
    vector = Tensor(tensor.value, tensor.size, Kind.SINGLE)
    results = build.convert(inner, Arguments((vector,), {}), build)
    if len(results) != 1 or results[0].kind is not Kind.SINGLE:
        raise layer.unsupported(f"{inner.kind} inside of it", _NOT_IN_TIME)
    return (replace(tensor, value=results[0].value, size=results[0].size, state_of=None),)


@converts("SpectralNormalization")
def spectral_normalization(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``SpectralNormalization``, which after the training is the layer in it."""
    described = layer.config.get("layer")
    layer.config.skip("power_iterations")
    layer.config.policy()
    layer.config.check_all_read()
    layer.weights.take(layer.where, "kernel", "vector_u")
    return build.convert(layer.inner(described, "layer"), args, build)


def _direction(layer: Layer, described: Any, which: str, name: str) -> Layer:
    """Return the layer of a direction. Where it returns sequences, Keras has it give zeros at masked timesteps."""
    config = described.get("config") if isinstance(described, Mapping) else None
    if isinstance(described, Mapping) and isinstance(config, Mapping):
        zero = bool(config.get("return_sequences", False))
        described = {**described, "config": {**config, "zero_output_for_mask": zero}}
    inner = layer.inner(described, f"{which}_layer", name)
    if inner.kind not in _RECURRENT:
        raise inner.unsupported(
            "a layer that is no GRU",
            "grurt runs GRU networks: train the model with a GRU",
            DesignReason.OTHER_RECURRENCE,
        )
    return inner


def _reversed(described: Any) -> Any:
    """Return the description of the same layer in the other direction, which files of Keras 1 and 2 leave out."""
    config = described.get("config") if isinstance(described, Mapping) else None
    if not isinstance(described, Mapping) or not isinstance(config, Mapping):
        return described
    return {**described, "config": {**config, "go_backwards": not config.get("go_backwards", False)}}


def _halves(layer: Layer, states: Any) -> tuple[Any, Any]:
    if states is None:
        return None, None
    if not isinstance(states, list) or len(states) % 2:
        raise layer.unsupported(
            "an initial state that is no list for both directions", "give one state to each direction"
        )
    half = len(states) // 2
    return states[:half], states[half:]


def _check_masking(layer: Layer, tensor: Tensor, mask: Any, returns_sequences: bool) -> None:
    old = layer.version.major < 3 and not layer.version.is_tf
    if old and returns_sequences and (tensor.mask is not None or mask is not None):
        raise layer.unsupported(
            "a masked sequence, from a version of Keras before 2.4",
            "what it gives at masked timesteps changed since: load and save the model with a newer Keras",
            DesignReason.NOT_SAID,
        )
