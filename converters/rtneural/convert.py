"""RTNeural's list of layers to a network."""

from __future__ import annotations

from grurt.array_types import Array
from grurt.converters.rtneural.layers import Entry, convert_entry, last_integer
from grurt.converters.rtneural.reading import Fields, is_list, objects, short
from grurt.errors import DesignReason, UnsupportedError
from grurt.network import layers
from grurt.network.functions import Affine
from grurt.network.inputs import Input, Output
from grurt.network.layers import AnyLayer
from grurt.network.network import Network, Source

MAX_LAYERS = 1024
_MAX_GAIN = 200
"""In decibels."""

REMARKS = {"metadata", "samplerate", "sample_rate", "input_batch", "output_batch", "name", "date", "author"}
_SWITCHES = {"in_skip", "in_gain", "out_gain"}


def is_model(document: Fields) -> bool:
    """Say whether a JSON document is a list of layers, rather than a state dict."""
    return "in_shape" in document and "layers" in document and is_list(document["layers"])


def network_of_document(document: Fields, source: Source) -> Network:
    """Return the network of a list of layers, as RTNeural's loader and AIDA-X understand it.

    ``in_skip: 1`` adds the input to the output, and ``out_gain`` is in decibels, as in the files for AIDA-X. A GRU that
    Keras was told to return no sequences from, as its shape shows, is followed by a `LastStep`.

    Raises
    ------
    ConversionError
        If a weight is missing, or of another shape than the layers' sizes say.
    UnsupportedError
        If there is a layer or field that RTNeural or grurt does not compute.
    """
    if unknown := sorted(document.keys() - {"in_shape", "layers"} - REMARKS - _SWITCHES):
        raise UnsupportedError(
            f"RTNeural: expected in_shape and layers, got the field {unknown[0][:50]!r} too; delete it if it changes "
            "nothing",
            reason=DesignReason.NOT_SAID,
        )
    entries = objects(document["layers"], "layers")
    if len(entries) > MAX_LAYERS:
        raise UnsupportedError(
            f"RTNeural: expected at most {MAX_LAYERS} layers, got {len(entries)}", reason=DesignReason.SIZE
        )
    found: list[AnyLayer] = []
    arrays: dict[str, Array] = {}
    in_shape = short(document["in_shape"], "in_shape")
    input_size = size = last_integer(in_shape, "in_shape")
    axes = _axes(in_shape)
    for index, given in enumerate(entries):
        entry = _entry(given, index, size)
        for layer, weights in convert_entry(entry):
            found.append(layer)
            arrays |= {f"{layer.name}.{parameter}": array for parameter, array in weights.items()}
        size = entry.size
        if entry.kind == "gru" and (axes, _axes(entry.get("shape"))) == (3, 2):
            found.append(layers.LastStep(name=f"{entry.name}.last"))
            axes = 2
    found += _around(document, found)
    return Network(
        layers=found,
        weights=arrays,
        inputs=[Input("x", input_size)],
        outputs=[Output("y", found[-1].name if found else "x")],
        source=source,
    )


def _entry(given: Fields, index: int, input_size: int) -> Entry:
    kind = str(short(given["type"], f"layers[{index}]: type"))[:40] if "type" in given else "None"
    return Entry(given, f"{index}.{kind}" if kind.isprintable() else str(index), input_size)


def _axes(shape: object) -> int:
    return len(shape) if isinstance(shape, list) else 1


def _around(document: Fields, found: list[AnyLayer]) -> list[AnyLayer]:
    """Return the layers behind the network: a gain, and the input added to it."""
    switches = {name: short(document[name], name) for name in _SWITCHES if name in document}
    skip, gains = switches.get("in_skip", 0), [switches.get(name, 0) for name in ("in_gain", "out_gain")]
    known = all(isinstance(gain, float | int) and abs(gain) <= _MAX_GAIN for gain in gains)
    if skip not in (0, 1) or not known or gains[0] != 0:
        raise UnsupportedError(
            f"RTNeural: expected in_skip 0 or 1, in_gain 0 and out_gain in decibels, got {skip}, {gains[0]} and "
            f"{gains[1]}; programs differ in what they make of these: apply the gain to the input yourself",
            reason=DesignReason.NOT_SAID,
        )
    behind: list[AnyLayer] = []
    if gains[1] != 0:
        behind.append(layers.Activation(name="out_gain", function=Affine(scale=10 ** (gains[1] / 20))))
    if skip:
        last = (behind or found)[-1].name if behind or found else "x"
        behind.append(layers.Add(name="in_skip", inputs=("x", last)))
    return behind
