"""Reads the files that Keras writes: a zip archive of JSON and HDF5, or HDF5 alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from grurt.converters.archive import open_archive
from grurt.converters.json_text import decode_json
from grurt.converters.keras.config import Version
from grurt.converters.keras.hdf5 import Hdf5
from grurt.converters.keras.weights import Store
from grurt.converters.reading import read_bounded
from grurt.errors import ConversionError, DescriptionError
from grurt.regular_files import read_regular_file

MAX_ARCHITECTURE = 64 << 20

_ASSETS = "assets/"


@dataclass(frozen=True)
class KerasFile:
    """What a file holds: the model as JSON describes it, the version of Keras, and the weights."""

    description: Mapping[str, Any]
    version: Version
    producer: str
    store: Store
    elements: int
    """How many numbers the file has room for."""


def read_archive(path: Path) -> KerasFile:
    """Read a ``.keras`` file, of Keras 3 or of Keras 2.13 and later."""
    with open_archive(path) as archive:
        metadata = decode_json(archive.read("metadata.json"), archive.size, "metadata.json")
        description = decode_json(archive.read("config.json"), archive.size, "config.json")
        data = archive.read("model.weights.h5")
        assets = {name.removeprefix(_ASSETS): archive.read(name) for name in sorted(archive.names) if _is_asset(name)}
    version = metadata.get("keras_version") if isinstance(metadata, Mapping) else None
    if not isinstance(version, str):
        raise ConversionError("metadata.json: expected a keras_version, got none; the file is damaged")
    return _file(description, version, Hdf5(data), len(data), assets)


def read_hdf5(path: Path, architecture: Path | None) -> KerasFile:
    """Read an ``.h5`` file: a whole model, or weights, whose ``architecture`` is in a file of its own.

    Raises
    ------
    DescriptionError
        If the file holds weights only, and there is no architecture; or if there is one that is not needed.
    """
    data = read_regular_file(path)
    file = Hdf5(data)
    found, version = file.text("", "model_config"), file.text("", "keras_version")
    if found is not None:
        if architecture is not None:
            raise DescriptionError("layers: the file holds the whole model; leave the architecture out")
        return _file(decode_json(found, len(data), "model_config"), version or "1.0", file, len(data))
    if architecture is None:
        raise DescriptionError(
            "layers: expected the architecture of these weights, got none in the file; save it as JSON with "
            "Path('model.json').write_text(model.to_json()), and give that as layers='model.json' (on the command line "
            "--layers model.json); or save the whole model as .keras"
        )
    try:
        text = read_bounded(architecture, MAX_ARCHITECTURE, architecture.name, "give what model.to_json() returned")
        description = decode_json(text, len(text), architecture.name)
    except OSError as error:
        raise DescriptionError(
            f"{architecture.name}: expected a file that can be read, got: {error.strerror or error}"
        ) from error
    written = description.get("keras_version") if isinstance(description, Mapping) else None
    version = version or (written if isinstance(written, str) else None)
    return _file(description, version or "3.0", file, len(data))  # only the JSON of Keras 3 has no version


def _is_asset(name: str) -> bool:
    """Say whether a file is the vocabulary of a layer, and not that of a layer in it, which is the same."""
    return name.startswith(_ASSETS) and name.endswith("/vocabulary.txt") and "/_lookup_layer/" not in name


def _file(
    description: Any, version: str, file: Hdf5, size: int, assets: Mapping[str, bytes] = MappingProxyType({})
) -> KerasFile:
    if not isinstance(description, Mapping):
        raise ConversionError("the configuration: expected a model, got something else; the file is damaged")
    return KerasFile(description, Version.parse(version), f"Keras {version[:50]}", Store(file, assets), size)
