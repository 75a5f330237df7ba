"""What stands in a checkpoint's objects: the items of dictionaries and stubs, and the tensors of pickled modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeGuard

from grurt.converters.torch.checkpoint.names import MAX_NAME
from grurt.converters.torch.checkpoint.numpy_arrays import NumpyArray
from grurt.converters.torch.checkpoint.pickles import Opaque
from grurt.converters.torch.checkpoint.tensors import TensorReference
from grurt.errors import ConversionError, DesignReason, UnsupportedError

MAX_TENSORS = 1 << 16
_MAX_ATTRIBUTES = 1 << 20
"""Of all modules together, those counted again that are in several others."""

_QUANTIZED = ("torch.ScriptObject", "torch._utils._rebuild_qtensor")
_QUANTIZED_MODULES = ".quantized."
_SCRIPTED = "__torch__."

ArrayLeaf = TensorReference | NumpyArray
"""What stands for an array."""


def is_array(value: object) -> TypeGuard[ArrayLeaf]:
    """Say whether a value stands for an array of numbers."""
    return isinstance(value, TensorReference) or (isinstance(value, NumpyArray) and value.shape is not None)


def items_of(value: object) -> list[tuple[str, object]]:
    """Return the items of a dictionary, of a list by their places, and of an object by its attributes' names."""
    if isinstance(value, Opaque):
        return items_of(value.state) if isinstance(value.state, dict) else []
    if isinstance(value, list | tuple):
        return [(str(index), item) for index, item in enumerate(value)]
    return [(key, item) for key, item in value.items() if isinstance(key, str)] if isinstance(value, dict) else []


def is_module(value: object) -> bool:
    """Say whether a stub stands for a module: pickled whole, or of TorchScript, whose attributes are its state."""
    if not isinstance(value, Opaque) or not isinstance(value.state, dict):
        return False
    return value.name.startswith(_SCRIPTED) or "_modules" in value.state


def module_tensors(root: object) -> Iterator[tuple[str, object]]:
    """Return what ``torch.nn.Module.state_dict`` would, from the attributes of a pickled module."""
    found = visited = 0
    stack: list[tuple[str, object]] = [("", root)]
    while stack:
        prefix, module = stack.pop()
        state = dict(items_of(module)) if isinstance(module, Opaque) else {}
        if isinstance(module, Opaque) and _QUANTIZED_MODULES in module.name:
            raise quantized(f"module {prefix.rstrip('.')!r}")
        tensors = items_of(state.get("_parameters")) + items_of(state.get("_buffers"))
        children = items_of(state.get("_modules"))
        if isinstance(module, Opaque) and module.name.startswith(_SCRIPTED):
            tensors = [(name, value) for name, value in state.items() if isinstance(value, TensorReference)]
            children = [(name, value) for name, value in state.items() if isinstance(value, Opaque)]
        found += 1 + len(tensors) + len(children)
        visited += len(state)
        longest = max((len(name) for name, _ in (*tensors, *children)), default=0)
        if found > MAX_TENSORS or visited > _MAX_ATTRIBUTES or len(prefix) + longest > MAX_NAME:
            raise ConversionError(
                f"checkpoint: expected at most {MAX_TENSORS} modules and tensors with names of {MAX_NAME} characters, "
                "got more; save module.state_dict() instead"
            )
        yield from ((prefix + name, value) for name, value in tensors if value is not None)
        stack += [(f"{prefix}{name}.", child) for name, child in reversed(children)]


def is_quantized(value: object) -> bool:
    """Say whether a value holds weights that torch has quantized."""
    values = value[:2] if isinstance(value, tuple) else (value,)
    return any(isinstance(item, Opaque) and item.name in _QUANTIZED for item in values)


def quantized(where: str) -> UnsupportedError:
    """Return the error for such weights."""
    return UnsupportedError(
        f"{where}: expected floating point, got a weight that torch has quantized; "
        "convert the float model: grurt quantizes by itself",
        reason=DesignReason.QUANTIZED,
    )


def shape_of(value: object) -> tuple[int, ...]:
    """Return the shape of an array that is not read yet; a number has none."""
    if isinstance(value, TensorReference):
        return value.size
    return (value.shape or ()) if isinstance(value, NumpyArray) else ()
