"""Reads a description of the layers in any of its forms.

* The compact form, a string: ``"emb(embedding), gru, last, fc:log_softmax"`` (its grammar is in `compact`).
* A TOML file, for connections other than a chain, with the fields of `Description` and `LayerDescription`::

      ignore = ["ema"]

      [[layers]]
      module = "proj"
      functions = ["leaky_relu(0.2)"]

      [[layers]]
      module = "gru"

      [[layers]]
      kind = "add"
      name = "sum"
      inputs = ["proj", "gru"]

* Python: a `Description`, what such a file holds as a dictionary, or a list of `LayerDescription`, of dictionaries of
  its fields, and of strings in the compact form.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from grurt.converters.compact import parse_description, parse_function
from grurt.converters.description import Description, LayerDescription, convert_fields
from grurt.converters.kinds import FUNCTION_OPTIONS
from grurt.converters.reading import read_bounded
from grurt.errors import ConversionError, DescriptionError

MAX_BYTES = 1 << 19
"""The largest description: of some five thousand layers, more than a model may have."""

_MAX_DOTS = 1000
"""Of a line, which may be a dotted key: Python's reader takes a time that is the square of its parts."""

_TOML = re.compile(r"^\s*(\[\[?[\w. ]+\]\]?\s*$|\w+\s*=\s*[\"'\[{])", re.MULTILINE)
"""How a line of TOML begins, and none in the compact form."""

_FORMS = (
    "give a line such as 'gru, last, fc', the path of a .toml file, what it holds as a dictionary, or a list of layers"
)

Describable = str | Path | Description | Mapping[str, Any] | Iterable[LayerDescription | Mapping[str, Any] | str]
"""What `describe` reads."""


def describe(layers: Describable) -> Description:
    """Return the description that the argument stands for.

    Parameters
    ----------
    layers
        The compact form; or the path of a TOML file, as a `Path` or a string that ends in ``.toml``; or what it holds,
        as a dictionary; or a list of `LayerDescription`, of dictionaries of its fields, and of strings in the compact
        form.

    Raises
    ------
    DescriptionError
        If it cannot be read, naming the place.

    Examples
    --------
    >>> from grurt.converters import describe
    >>> [layer.module for layer in describe("gru, last, fc:sigmoid").layers]
    ['gru', 'last', 'fc']
    """
    if isinstance(layers, Description):
        checked = _of_document(msgspec.structs.asdict(layers), "layers")
        return layers if checked == layers else checked
    if isinstance(layers, Path) or (isinstance(layers, str) and layers.endswith(".toml")):
        return _read_toml(Path(layers))
    if isinstance(layers, str):
        return _parsed(layers)
    if isinstance(layers, Mapping):
        return _of_document(layers, "layers")
    if isinstance(layers, bytes) or not isinstance(layers, Iterable):
        raise DescriptionError(f"layers: expected a description, got {_kind(layers)}; {_FORMS}")
    parts = [_of_item(item, index) for index, item in enumerate(layers)]
    return Description(
        layers=tuple(layer for part in parts for layer in part.layers),
        ignore=tuple(name for part in parts for name in part.ignore),
        entry=next((part.entry for part in parts if part.entry is not None), None),
    )


def _parsed(text: str) -> Description:
    """Return what a text in the compact form says."""
    if _TOML.search(text):
        raise DescriptionError(
            "layers: expected a line such as 'gru, last, fc', got the text of a TOML file; write it to a file, and "
            "give the path, which ends in .toml, or give tomllib.loads(text)"
        )
    return parse_description(text)


def _of_item(item: object, index: int) -> Description:
    if isinstance(item, str):
        return _parsed(item)
    if isinstance(item, LayerDescription | Mapping):
        return _of_document({"layers": [item]}, f"layers, item {index}")
    raise DescriptionError(f"layers: expected layers in a list, got {_kind(item)} at {index}; {_FORMS}")


def _kind(value: object) -> str:
    return f"an object of type {type(value).__name__}"


def _read_toml(path: Path) -> Description:
    return _of_document(_toml(path), path.name)


def _of_document(document: Mapping[str, Any], where: str) -> Description:
    """Return the description whose fields a document holds, with functions in the compact form."""
    fields = dict(document)
    layers = fields.get("layers")
    if isinstance(layers, list | tuple):
        fields["layers"] = [_with_functions(layer) for layer in layers]
    description: Description = convert_fields(fields, Description, where)
    return description


def _with_functions(layer: object) -> object:
    """Return the fields of a layer with functions as their fields; whatever else stands there, as it is."""
    if isinstance(layer, LayerDescription):
        layer = msgspec.structs.asdict(layer)
    if not isinstance(layer, Mapping):
        return layer
    changed = {name: _function(layer[name]) for name in FUNCTION_OPTIONS if name in layer}
    if isinstance(layer.get("functions"), list | tuple):
        changed["functions"] = [_function(item) for item in layer["functions"]]
    return {**layer, **changed}


def _toml(path: Path) -> dict[str, Any]:
    try:
        text = read_bounded(path, MAX_BYTES, path.name, "describe fewer layers").decode("utf-8")
        if any(line.count(".") > _MAX_DOTS for line in text.split("\n")):
            raise ValueError(f"a line with more than {_MAX_DOTS} dots, which has to be broken")
        return tomllib.loads(text)
    except OSError as error:
        raise DescriptionError(
            f"{path.name}: expected a file with a description of the layers, got: {error.strerror or error}"
        ) from error
    except ConversionError as error:
        raise DescriptionError(str(error)) from error
    except (ValueError, RecursionError) as error:  # among them damage, texts that are not UTF-8, numbers without end
        raise DescriptionError(f"{path.name}: expected a description of the layers in TOML, got {error}") from error


def _function(item: object) -> object:
    """Return a function in the compact form as its fields; whatever else stands there, as it is."""
    return msgspec.to_builtins(parse_function(item)) if isinstance(item, str) else item
