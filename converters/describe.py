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

* Python: a `Description`, or a list of `LayerDescription` and of strings in the compact form.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from grurt.converters.compact import parse_description, parse_function
from grurt.converters.description import Description, LayerDescription, convert_fields
from grurt.converters.reading import read_bounded
from grurt.errors import ConversionError, DescriptionError

MAX_BYTES = 1 << 19
"""The largest description: of some five thousand layers, more than a model may have."""

_MAX_DOTS = 1000
"""Of a line, which may be a dotted key: Python's reader takes a time that is the square of its parts."""

Describable = str | Path | Description | Iterable[LayerDescription | str]
"""What `describe` reads."""


def describe(layers: Describable) -> Description:
    """Return the description that the argument stands for.

    Parameters
    ----------
    layers
        The compact form; or the path of a TOML file, as a `Path` or a string that ends in ``.toml``; or a list of
        `LayerDescription` and of strings in the compact form.

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
        return layers
    if isinstance(layers, Path) or (isinstance(layers, str) and layers.endswith(".toml")):
        return _read_toml(Path(layers))
    if isinstance(layers, str):
        return parse_description(layers)
    parts = [
        Description(layers=(item,)) if isinstance(item, LayerDescription) else parse_description(item)
        for item in layers
    ]
    return Description(
        layers=tuple(layer for part in parts for layer in part.layers),
        ignore=tuple(name for part in parts for name in part.ignore),
        entry=next((part.entry for part in parts if part.entry is not None), None),
    )


def _read_toml(path: Path) -> Description:
    document = _toml(path)
    layers = document.get("layers")
    for layer in layers if isinstance(layers, list) else ():
        if isinstance(layer, dict) and isinstance(layer.get("functions"), list):
            layer["functions"] = [_function(item) for item in layer["functions"]]
        for name in ("gate_activation", "candidate_activation"):
            if isinstance(layer, dict) and name in layer:
                layer[name] = _function(layer[name])
    description: Description = convert_fields(document, Description, path.name)
    return description


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
