"""Reads networks from the files of other frameworks.

Nothing here computes a network; `convert` asks the engine for that, unless ``reference=False``.
"""

from typing import TYPE_CHECKING

from .convert import convert
from .describe import describe
from .description import Description, LayerDescription
from .torch import StateDict, convert_module, read_state_dict

if TYPE_CHECKING:
    from .onnx import convert_onnx

__all__ = [
    "Description",
    "LayerDescription",
    "StateDict",
    "convert",
    "convert_module",
    "convert_onnx",
    "describe",
    "read_state_dict",
]


def __getattr__(name: str) -> object:
    """Import what needs the package onnx when it is first asked for: reading a state dict does without."""
    if name == "convert_onnx":
        from .onnx import convert_onnx

        return convert_onnx
    raise AttributeError(f"module 'grurt.converters' has no attribute {name!r}")
