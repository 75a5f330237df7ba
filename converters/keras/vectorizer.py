"""The vocabulary of the layer in a Keras file that takes texts, whatever else there is."""

from __future__ import annotations

from pathlib import Path

from grurt.converters.keras.container import read_archive
from grurt.converters.keras.texts import vocabulary_of_lookup, vocabulary_of_vectorizer
from grurt.converters.keras.topology import read_topology
from grurt.converters.keras.values import make_layer
from grurt.errors import ConversionError
from grurt.network.vocabulary import Vocabulary

_READERS = {"TextVectorization": vocabulary_of_vectorizer, "StringLookup": vocabulary_of_lookup}


def vocabulary_of_file(path: Path) -> Vocabulary:
    """Return the vocabulary of the only ``TextVectorization`` or ``StringLookup`` in a ``.keras`` file.

    Raises
    ------
    OSError
        If the file cannot be read.
    ConversionError
        If it is damaged, or has no such layer, or several, or one that does something else with texts.
    """
    file = read_archive(path)
    root = make_layer(file.description, file.store.weights, file.version)
    topology = read_topology(root)
    found = {name: each for name, each in topology.layers.items() if str(each.get("class_name")) in _READERS}
    if len(found) != 1:
        raise ConversionError(f"expected one TextVectorization or StringLookup in the model, got {len(found)}")
    ((name, described),) = found.items()
    layer = make_layer(described, root.weights.layer(topology.keys[name], name), root.version)
    return _READERS[layer.kind](layer)
