"""How the modules of a state dict can be understood, as far as names and shapes tell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from grurt.array_types import Array
from grurt.converters.kinds import KINDS, Reading
from grurt.converters.torch.assembly.modules import ROOT, fitting_kinds, group_by_module, module_kind
from grurt.errors import DescriptionError, UnsupportedError

_EMBEDDING = re.compile(r"(?<![a-z])emb|embed|(?<![a-z])(wte|lookup)", re.IGNORECASE)
"""What embeddings are called, and hardly anything else."""

_FIRST_STATE = re.compile(r"h_?0|h_?x|s_?0|.*init.*", re.IGNORECASE)
"""What a learned first state is called."""

_STATE = re.compile(r"weight_hh_l\d+(_reverse)?")

_RECURRENT = re.compile(r"weight_hh(_l\d+(_reverse)?)?")


FINAL_STATES = "finals"
"""The layer of all final states of a GRU, in a description."""


@dataclass(frozen=True)
class Item:
    """A module, and the ways to understand it, the likeliest first; ``named`` says that its name tells that one."""

    module: str
    readings: tuple[Reading, ...]
    named: bool = False

    def text(self, readings: tuple[Reading, ...]) -> str:
        """Return it in the compact form; with several ways to understand it, they stand with bars between them."""
        options = "|".join(reading.options for reading in readings)
        return (f"{self.module}({options})" if options else self.module) + readings[0].functions


def understood(tensors: Mapping[str, Array]) -> tuple[list[Item], list[str]]:
    """Return the modules that grurt has, normalizers first, and the names of all others, or of their tensors."""
    modules = group_by_module(tensors)
    found = {module: item_of(module, parameters) for module, parameters in modules.items()}
    items = [item for item in found.values() if item is not None]
    items.sort(key=lambda item: not item.readings[0].options.startswith("normalizer"))
    items, states = _with_first_states(items, modules)
    inner = {around for item in items for around in _modules_around(item.module)} | {ROOT}
    others: list[str] = []
    for module in (module for module, item in found.items() if item is None):
        names = [name for name in modules[module] if _joined(module, name) not in states]
        others += [_joined(module, name) for name in names] if module in inner else [module] * bool(names)
    return items, others


def item_of(module: str, parameters: Mapping[str, Array]) -> Item | None:
    """Return a module as it can be understood; None if it is none that grurt has."""
    readings = _readings(module, parameters)
    if not readings:
        return None
    return Item(module, readings, named=readings[0].tokens and _EMBEDDING.search(module) is not None)


def final_states_of(items: Iterable[Item], tensors: Mapping[str, Array]) -> Item | None:
    """Return all final states of the GRU that alone has several layers, as an item behind it; None if there is none."""
    modules = group_by_module(tensors)
    for item in items:
        states = [array.shape[-1] for name, array in modules.get(item.module, {}).items() if _STATE.fullmatch(name)]
        reading = item.readings[0]
        if len(states) > 1 and reading.writes is not None and sum(states) > reading.writes:
            return Item(FINAL_STATES, (Reading("", reading.writes, sum(states)),))
    return None


def recurrent_modules(tensors: Mapping[str, Array]) -> frozenset[str]:
    """Return the modules that have a state."""
    modules = group_by_module(tensors).items()
    return frozenset(module for module, parameters in modules if any(map(_RECURRENT.fullmatch, parameters)))


def _joined(module: str, name: str) -> str:
    return name if module == ROOT else f"{module}.{name}"


def _modules_around(module: str) -> Iterator[str]:
    while module:
        module = module.rpartition(".")[0]
        yield module


def _readings(module: str, parameters: Mapping[str, Array]) -> tuple[Reading, ...]:
    try:
        kinds, told = [module_kind(module, parameters)], True
    except UnsupportedError:
        return ()
    except DescriptionError:
        kinds, told = fitting_kinds(parameters), False
    likely = "embedding" if _EMBEDDING.search(module) else "prelu" if _is_one_number(parameters) else ""
    kinds.sort(key=lambda kind: kind != likely)
    found = [(kind, reading) for kind in kinds for reading in KINDS[kind].readings(parameters)]
    if told and len(found) == 1:
        return (found[0][1],)
    return tuple(replace(reading, options=_with_kind(kind, reading.options)) for kind, reading in found)


def _is_one_number(parameters: Mapping[str, Array]) -> bool:
    return sum(array.size for array in parameters.values()) == 1


def _with_kind(kind: str, options: str) -> str:
    """Return options that begin with the kind, as those do which need to say it."""
    return options if options.startswith(kind) else ", ".join(filter(None, (kind, options)))


def _with_first_states(items: list[Item], modules: Mapping[str, Mapping[str, Array]]) -> tuple[list[Item], list[str]]:
    """Return the items, with a tensor that can only be the first state of the one GRU in its options, and its name."""
    grus = {index: size for index, item in enumerate(items) if (size := _state_size(modules[item.module]))}
    states = {
        _joined(module, name): array.size
        for module, parameters in modules.items()
        for name, array in parameters.items()
        if _FIRST_STATE.fullmatch(name) and array.dtype.kind == "f"
    }
    if len(grus) != 1 or list(states.values()) != list(grus.values()):
        return items, []
    (index,), (state,) = grus, states
    told = replace(items[index].readings[0], options=f"initial_state={state}")
    return [*items[:index], Item(items[index].module, (told,)), *items[index + 1 :]], [state]


def _state_size(parameters: Mapping[str, Array]) -> int:
    """Return how many numbers the first states of a GRU have, of all its layers and directions; 0 for other modules."""
    recurrent = (array for name, array in parameters.items() if _RECURRENT.fullmatch(name) and array.ndim > 1)
    return sum(array.shape[1] for array in recurrent)
