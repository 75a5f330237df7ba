"""Kinds of module that weights may be of: everything about one in one place.

A kind says how its tensors become layers, how a state dict shows it, which options a description has for it, which
class of ``torch.nn`` it is, and how torch computes its layers.
"""

from collections.abc import Callable, Mapping
from typing import Any

from grurt.converters.kinds import (
    activations,
    connections,
    convolution,
    dense,
    normalization,
    normalizer,
    parts,
    pooling,
    recurrent,
)
from grurt.converters.kinds.kind import FUNCTION_OPTIONS, Kind, Module, Options, Reading

__all__ = ["EVALUATED", "FUNCTION_OPTIONS", "KINDS", "Kind", "Module", "Options", "Reading"]

_FILES = (recurrent, dense, normalization, normalizer, convolution, activations, connections, pooling)

KINDS: Mapping[str, Kind] = {kind.name: kind for file in _FILES for kind in file.KINDS}
"""Every kind, by the name that descriptions have for it."""

EVALUATED: Mapping[str, Callable[..., Any]] = {
    **parts.EVALUATED,
    **pooling.EVALUATED,
    **{kind.name: kind.evaluate for kind in KINDS.values() if kind.evaluate is not None},
}
"""How torch computes a layer, by its kind."""
