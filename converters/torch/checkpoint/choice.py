"""Chooses the state dict of a checkpoint that is to be converted: the only one, or the one that an entry names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

from grurt.converters.torch.checkpoint.candidates import MAX_COMPARED, TOP, Candidate, Contents
from grurt.converters.torch.checkpoint.modules import shape_of
from grurt.converters.torch.checkpoint.names import unwrapped
from grurt.converters.torch.checkpoint.pickles import Opaque
from grurt.converters.torch.checkpoint.tensors import TensorReference
from grurt.errors import ConversionError, DesignReason, UnsupportedError
from grurt.escaping import listed, shown

_MAX_CANDIDATES = 8
_MAX_LINE = 180
"""What an error lists: so much of it fits into a message."""

_MAX_TENSORS = 3
_MAX_NAME = 100


def chosen(contents: Contents, checkpoint: object, entry: str | None) -> tuple[Candidate, str]:
    """Return the state dict that an entry means, and the module in it if it means only that; else an empty name.

    Raises
    ------
    ConversionError
        If there is none, or several and no entry, or what an entry names is none.
    UnsupportedError
        If there are tensors, but without names.
    """
    hidden = contents.hidden if entry is None else contents.hidden & {entry}
    if hidden:
        raise ConversionError(
            f"checkpoint: expected one thing under {min(hidden)!r}, got two; give its keys other names"
        )
    found = contents.within(entry or "")
    if len(found) == 1:
        return found[0], ""
    candidates = found or contents.within("")
    modules = [] if found or entry is None else _with_module(candidates[:MAX_COMPARED], entry)
    if len(modules) == 1:
        return modules[0]
    if not candidates:
        raise _no_state_dict(checkpoint)
    shapes = {one.entry or TOP: _shapes(one) for one in candidates[:MAX_COMPARED]}
    raise several_state_dicts(shapes, len(candidates), entry if not found else None)


def several_state_dicts(
    candidates: Mapping[str, Mapping[str, tuple[int, ...] | None]], count: int, entry: str | None
) -> ConversionError:
    """Return the error that lists what there is to choose from.

    Parameters
    ----------
    candidates
        The first of them: the shapes of the tensors of each, or None for what is not known.
    count
        How many there are.
    entry
        What was asked for, and is none of them.
    """
    wanted = "one state dict" if entry is None else f"a state dict, or a module in one, called {entry!r}"
    lines = [
        shown(f"  {name}: {_held(shapes)}", _MAX_LINE) for name, shapes in islice(candidates.items(), _MAX_CANDIDATES)
    ]
    return ConversionError(
        f"checkpoint: expected {wanted}, got {count}; say which to convert: --entry NAME on the command line, "
        "entry=NAME in Python",
        *lines,
        *([f"  and {count - len(lines):,} more"] if count > len(lines) else []),
    )


def no_such_module(module: str, tensors: Iterable[str]) -> ConversionError:
    """Return the error for a file of one state dict in which an entry names no module."""
    found = dict.fromkeys(name.partition(".")[0] for name in tensors if "." in name)
    names = listed(shown(name, _MAX_NAME) for name in found)
    return ConversionError(f"entry: expected a module of the state dict, got {module!r}; there are {names}")


def _held(shapes: Mapping[str, tuple[int, ...] | None]) -> str:
    tensors = (f"{shown(name, _MAX_NAME)} {shape or ''}".rstrip() for name, shape in shapes.items())
    count = "1 tensor" if len(shapes) == 1 else f"{len(shapes):,} tensors"
    return f"{count}: {listed(tensors, _MAX_TENSORS)}"


def _shapes(candidate: Candidate) -> dict[str, tuple[int, ...] | None]:
    return {name: shape_of(array) for name, array in candidate.arrays.items()}


def _with_module(candidates: Iterable[Candidate], entry: str) -> list[tuple[Candidate, str]]:
    """Return the candidates in which an entry names a module, and its name there."""
    found = []
    for candidate in candidates:
        module = entry.removeprefix(f"{candidate.entry}.") if candidate.entry else entry
        names, _ = unwrapped(candidate.arrays)
        if any(name.startswith(f"{module}.") for name in names.values()):
            found.append((candidate, module))
    return found


def _no_state_dict(checkpoint: object) -> ConversionError:
    unnamed = checkpoint if isinstance(checkpoint, list | tuple) else [checkpoint]
    if any(isinstance(item, TensorReference) for item in unnamed):
        what = "a tensor" if unnamed[0] is checkpoint else "a list of tensors"
        return UnsupportedError(
            f"checkpoint: expected a state dict, got {what}, without names; save module.state_dict() instead",
            reason=DesignReason.NOT_SAID,
        )
    what = checkpoint.name if isinstance(checkpoint, Opaque) else type(checkpoint).__name__
    return ConversionError(
        f"checkpoint: expected a state dict, got an object of type {what!r} without tensors; save module.state_dict()"
    )
