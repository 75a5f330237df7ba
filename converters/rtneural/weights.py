"""PyTorch state dicts that were saved as JSON: names and nested lists."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Raw

from grurt.array_types import Array
from grurt.converters.rtneural.reading import Fields, fields, is_list, numbers
from grurt.converters.torch.checkpoint.state_dict import StateDict, finish_state_dict
from grurt.errors import ConversionError

_MAX_DEPTH = 8
_MAX_PATH = 1000


def read_state_dict_json(document: Fields, entry: str | None) -> StateDict:
    """Return the state dict in a JSON document, wherever in it that stands.

    Parameters
    ----------
    document
        What `read_json` returned: an object of arrays by name, or one that holds it, as GuitarML's files do under
        ``"state_dict"``.
    entry
        Which one, where there are several: the keys that lead to it, joined by dots.

    Raises
    ------
    ConversionError
        If there is none, or several and ``entry`` does not name one; or something in it is no array.
    """
    found = dict(_state_dicts("", document, _MAX_DEPTH))
    if entry is None and len(found) == 1:
        entry = next(iter(found))
    if entry not in found:
        listed = ", ".join(repr(name) for name in list(found)[:20]) or "none"
        wanted = "a state dict" if entry is None else f"a state dict {entry!r}"
        raise ConversionError(
            f"JSON: expected RTNeural's list of layers or {wanted}, arrays by name, got {listed}; "
            "write it from {name: tensor.tolist() for name, tensor in module.state_dict().items()}"
        )
    return finish_state_dict({name: _array(name, text) for name, text in found[entry].items()}, "json")


def _state_dicts(path: str, found: Fields, depth: int) -> Iterator[tuple[str, Fields]]:
    """Find the objects that hold arrays, by the keys that lead to them, joined by dots."""
    if any(map(is_list, found.values())):
        yield path, found
        return
    for name, text in found.items() if depth > 1 and len(path) <= _MAX_PATH else ():
        inner = fields(text)
        if inner is not None:
            yield from _state_dicts(f"{path}.{name}" if path else name, inner, depth - 1)


def _array(name: str, text: Raw) -> Array:
    array = numbers(text)
    if array is None:
        raise ConversionError(
            f"entry {name[:200]!r}: expected nested lists of numbers, got lists of different lengths, or no numbers"
        )
    return array
