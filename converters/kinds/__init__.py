"""Kinds of module that weights may be of: everything about one in one place.

A kind says how its tensors become layers, how a state dict shows it, which options a description has for it, which
class of ``torch.nn`` it is, and how torch computes its layers.
"""

from collections.abc import Mapping

from grurt.converters.kinds import activations, connections, convolution, dense, normalization, normalizer, recurrent
from grurt.converters.kinds.kind import FUNCTION_OPTIONS, Kind, Module, Options, Reading

__all__ = ["FUNCTION_OPTIONS", "KINDS", "Kind", "Module", "Options", "Reading"]

_FILES = (recurrent, dense, normalization, normalizer, convolution, activations, connections)

KINDS: Mapping[str, Kind] = {kind.name: kind for file in _FILES for kind in file.KINDS}
"""Every kind, by the name that descriptions have for it."""
