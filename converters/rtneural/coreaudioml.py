"""The JSON of CoreAudioML, as GuitarML's tools write it: a state dict, and beside it the network that it belongs to.

`SimpleRNN` is a recurrent layer ``rec`` and a linear one ``lin`` behind it; ``skip`` adds the first channels of the
input to the output, as PyTorch broadcasts them::

    y = lin(rec(x)) + x[:, :, :skip]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from grurt.array_types import Array
from grurt.converters.installed import is_installed
from grurt.converters.kinds import KINDS, Module, Options
from grurt.converters.kinds.kind import Weighted
from grurt.converters.rtneural.convert import REMARKS
from grurt.converters.rtneural.reading import Fields, fields, short
from grurt.converters.rtneural.weights import read_state_dict_json
from grurt.converters.sampling import sample_input
from grurt.errors import ConversionError, DesignReason, UnsupportedError
from grurt.network.inputs import Input, Output
from grurt.network.layers import Add, Linear, Slice
from grurt.network.network import Network, Source
from grurt.network.reference_run import ReferenceRun

_NETWORK = "SimpleRNN"
_KEYS = {"model", "unit_type", "skip", "input_size", "output_size", "hidden_size", "num_layers", "bias_fl"}
_OTHER_UNITS = {"LSTM": "an LSTM", "RNN": "a plain RNN"}
_MAX_SKIP = 1 << 20


def is_model(document: Fields) -> bool:
    """Say whether a JSON document tells in ``model_data`` what its state dict belongs to."""
    described = fields(document["model_data"]) if {"model_data", "state_dict"} <= document.keys() else None
    return described is not None and bool({"model", "unit_type"} & described.keys())


@dataclass(frozen=True)
class SimpleRNN:
    """CoreAudioML's ``networks.SimpleRNN`` with a GRU; ``skip`` channels of the input are added to the output."""

    tensors: Mapping[str, Array]
    input_size: int
    output_size: int
    skip: int


def read(document: Fields) -> SimpleRNN:
    """Return the network of a document that `is_model` has found to tell what it is.

    Raises
    ------
    ConversionError
        If the weights are not those of the network that ``model_data`` describes.
    UnsupportedError
        If it is another network than `SimpleRNN`, or its unit is no GRU.
    """
    if unknown := sorted(document.keys() - {"model_data", "state_dict"} - REMARKS):
        raise UnsupportedError(
            f"JSON: expected model_data and state_dict, got the field {unknown[0][:50]!r} too; delete it if it changes "
            "nothing",
            reason=DesignReason.NOT_SAID,
        )
    data = fields(document["model_data"]) or {}
    described = {name: short(text, f"model_data: {name[:50]}") for name, text in data.items()}
    _check_network(described)
    tensors = read_state_dict_json({"state_dict": document["state_dict"]}, None)
    input_size, output_size = _check_tensors(tensors, described)
    skip = min(described["skip"], input_size)
    if 1 not in (skip, output_size) and skip not in (0, output_size):
        raise ConversionError(
            f"model_data: expected skip to be 0, 1 or {output_size}, as many channels as the output has, got {skip}"
        )
    return SimpleRNN(tensors, input_size, output_size, skip)


def network_of(model: SimpleRNN, source: Source) -> Network:
    """Return the network in grurt's layers."""
    recurrent = list(_layers("gru", "rec", "x", model))
    found = [*recurrent, *_layers("linear", "lin", recurrent[-1][0].name, model), *_skip(model)]
    return Network(
        layers=[layer for layer, _ in found],
        weights={f"{layer.name}.{name}": array for layer, arrays in found for name, array in arrays.items()},
        inputs=[Input("x", model.input_size)],
        outputs=[Output("y", found[-1][0].name)],
        source=source,
    )


def reference_run(model: SimpleRNN, network: Network) -> ReferenceRun:
    """Return what PyTorch computes with the state dict, on a seeded batch of sequences; ConversionError without it."""
    if not is_installed("torch"):
        raise ConversionError("torch is not installed")
    import torch

    weights = {name: torch.from_numpy(array.copy()) for name, array in model.tensors.items()}
    depth = sum(name.startswith("rec.weight_ih_l") for name in weights)
    blocks = [weights[f"rec.{name}"] for name in _names(depth)]
    xs = sample_input(network.inputs[0], 0)
    x = torch.from_numpy(xs)
    states = torch.zeros(depth, len(x), blocks[1].shape[1])
    hidden = torch.gru(x, states, blocks, True, depth, 0.0, False, False, True)[0]
    y = torch.nn.functional.linear(hidden, weights["lin.weight"], weights.get("lin.bias"))
    y = y + x[:, :, : model.skip] if model.skip else y
    return ReferenceRun({"x": xs}, {"y": y.numpy()}, f"torch {torch.__version__}, from the equations of SimpleRNN")


def _check_network(described: Mapping[str, Any]) -> None:
    name, unit = described.get("model", _NETWORK), described.get("unit_type")
    if name != _NETWORK:
        raise UnsupportedError(
            f"model_data: expected the network {_NETWORK}, got {str(name)[:50]!r}; grurt runs GRU networks: train a "
            f"{_NETWORK} with unit_type='GRU'",
            reason=DesignReason.NO_RECURRENCE if name == "GatedConvNet" else DesignReason.OTHER_RECURRENCE,
        )
    if unit != "GRU":
        raise UnsupportedError(
            f"model_data: expected unit_type 'GRU', got {_OTHER_UNITS.get(str(unit), repr(str(unit)[:50]))}; "
            "grurt runs GRU networks: train one",
            reason=DesignReason.OTHER_RECURRENCE,
        )
    if unknown := sorted(described.keys() - _KEYS):
        raise UnsupportedError(
            f"model_data: expected only {', '.join(sorted(_KEYS))}, got {unknown[0][:50]!r}; delete it if it changes "
            "nothing",
            reason=DesignReason.NOT_SAID,
        )
    skip = described.get("skip")
    if not isinstance(skip, int) or not 0 <= skip <= _MAX_SKIP:
        raise ConversionError(f"model_data: expected skip to be a number of channels, got {str(skip)[:50]}")


def _check_tensors(tensors: Mapping[str, Array], described: Mapping[str, Any]) -> tuple[int, int]:
    """Return the sizes of input and output; ConversionError unless the weights are those of the description."""
    depth = sum(name.startswith("rec.weight_ih_l") for name in tensors)
    expected = {"lin.weight", "lin.bias", *(f"rec.{name}" for name in _names(depth))}
    if not depth or expected - tensors.keys() - {"lin.bias"} or tensors.keys() - expected:
        raise ConversionError(
            f"state_dict: expected the tensors of a {_NETWORK}, rec.weight_ih_l0 to lin.weight, got "
            f"{', '.join(sorted(tensors))[:300]}"
        )
    shapes = [tensors[name].shape for name in ("rec.weight_ih_l0", "rec.weight_hh_l0", "lin.weight")]
    if any(len(shape) != 2 for shape in shapes):
        raise ConversionError(f"state_dict: expected matrices of weights, got the shapes {shapes}")
    (_, inputs), (_, hidden), (outputs, _) = shapes
    has_bias = "lin.bias" in tensors and bool(tensors["lin.bias"].any())  # some versions call a bias of zeros none
    bias = described.get("bias_fl", has_bias) if has_bias else False
    sizes = {"input_size": inputs, "hidden_size": hidden, "output_size": outputs, "num_layers": depth}
    for name, size in (*sizes.items(), ("bias_fl", has_bias)):
        given = bias if name == "bias_fl" else described.get(name, size)
        if given != size:
            raise ConversionError(f"model_data: expected {name} to be {size}, as in the weights, got {str(given)[:50]}")
    return inputs, outputs


def _names(depth: int) -> list[str]:
    """Return PyTorch's names of the tensors of a GRU of so many layers."""
    return [f"{part}_l{layer}" for layer in range(depth) for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


def _layers(kind: str, name: str, source: str, model: SimpleRNN) -> Iterator[Weighted]:
    tensors = {
        key.removeprefix(f"{name}."): array for key, array in model.tensors.items() if key.startswith(f"{name}.")
    }
    return KINDS[kind].convert(Module(name, name, (source,), Options(), tensors))


def _skip(model: SimpleRNN) -> Iterator[Weighted]:
    """Yield the layers that add the first channels of the input to the output."""
    if model.skip == 0:
        return
    added, total = "x", "lin"
    if model.skip < model.input_size:
        added = "x.skipped"
        yield Slice(name=added, inputs=("x",), start=0, stop=model.skip), {}
    if model.skip < model.output_size:
        yield _repeated(f"{added}.repeated", added, model.output_size)
        added = f"{added}.repeated"
    if model.output_size < model.skip:
        total = "lin.repeated"
        yield _repeated(total, "lin", model.skip)
    yield Add(name="skip", inputs=(total, added)), {}


def _repeated(name: str, source: str, size: int) -> Weighted:
    layer = Linear(name=name, inputs=(source,), input_size=1, output_size=size, bias=False)
    return layer, {"weight": np.ones((size, 1), np.float32)}
