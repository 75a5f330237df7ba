"""PyTorch state dicts that were saved as JSON: names and nested lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from msgspec import Raw

from grurt.array_types import Array
from grurt.converters.rtneural.reading import Fields, fields, is_list, numbers
from grurt.converters.torch.checkpoint.candidates import MAX_COMPARED, TOP
from grurt.converters.torch.checkpoint.choice import several_state_dicts
from grurt.converters.torch.checkpoint.names import likeness
from grurt.converters.torch.checkpoint.state_dict import Beside, StateDict, finish_state_dict, module_of
from grurt.errors import ConversionError

_MAX_DEPTH = 8
_MAX_PATH = 1000


def read_state_dict_json(document: Fields, entry: str | None) -> StateDict:
    """Return the state dict in a JSON document, wherever in it that stands.

    Parameters
    ----------
    document
        What `read_json` returned: an object of arrays by name, or one that holds it, as GuitarML's files do under
        ``"state_dict"``. Lists and numbers beside it are no part of it.
    entry
        Which one, where there are several: the keys that lead to it, joined by dots; or a module of it.

    Raises
    ------
    ConversionError
        If there is none, or several and ``entry`` does not name one; or something in it is no array.
    """
    objects = dict(_objects("", document, _MAX_DEPTH))
    likenesses = {path: _likeness(held) for path, held in objects.items() if any(map(is_list, held.values()))}
    best = max(likenesses.values(), default=0)
    found = [path for path, like in likenesses.items() if like == best]
    named = [path for path in likenesses if path == entry or path.startswith(f"{entry}.")]
    chosen = named or found
    if len(chosen) > 1:
        shapes = {path or TOP: dict.fromkeys(objects[path]) for path in chosen[:MAX_COMPARED]}
        raise several_state_dicts(shapes, len(chosen), None)
    if not chosen:
        raise ConversionError(
            "JSON: expected RTNeural's list of layers or a state dict, arrays by name, got none; "
            "write it from {name: tensor.tolist() for name, tensor in module.state_dict().items()}"
        )
    weights = {name: text for name, text in objects[chosen[0]].items() if is_list(text) or likeness(name)}
    state_dict = finish_state_dict({name: _array(name, text) for name, text in weights.items()}, "json")
    others = tuple(path or TOP for path in found if path not in chosen)
    whole = replace(state_dict, others=others, beside=_beside(objects, chosen[0], set(found)))
    return module_of(whole, None if named else entry)


def _likeness(held: Fields) -> int:
    return max(likeness(name) for name, text in held.items() if is_list(text))


def _objects(path: str, found: Fields, depth: int) -> Iterator[tuple[str, Fields]]:
    """Yield the objects in each other, by the keys that lead to them, joined by dots."""
    yield path, found
    for name, text in found.items() if depth > 1 and len(path) <= _MAX_PATH else ():
        inner = fields(text)
        if inner is not None:
            yield from _objects(_joined(path, name), inner, depth - 1)


def _beside(objects: Mapping[str, Fields], chosen: str, state_dicts: set[str]) -> Beside:
    """Return the lists and numbers that are no weights."""
    arrays: dict[str, Array] = {}
    for path, held in objects.items():
        for name, text in held.items():
            weight = path in state_dicts and (path != chosen or is_list(text) or likeness(name) > 0)
            array = None if weight or _joined(path, name) in objects else numbers(text)
            if array is not None:
                arrays[_joined(path, name)] = array
    return Beside({name: array.shape for name, array in arrays.items()}, lambda name: arrays[name])


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _array(name: str, text: Raw) -> Array:
    array = numbers(text)
    if array is None:
        raise ConversionError(
            f"entry {name[:200]!r}: expected nested lists of numbers, got lists of different lengths, or no numbers"
        )
    return array
