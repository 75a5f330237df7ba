"""How the modules of a state dict can be understood, as far as names and shapes tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from grurt.array_types import Array
from grurt.converters.kinds import KINDS, Reading
from grurt.converters.torch.assembly.modules import ROOT, fitting_kinds, group_by_module, module_kind
from grurt.errors import DescriptionError, UnsupportedError

_EMBEDDING = re.compile(r"(?<![a-z])emb|embed|(?<![a-z])(wte|lookup)", re.IGNORECASE)
"""What embeddings are called, and hardly anything else."""

_FIRST_STATE = re.compile(r"(.*\.)?(h_?0|h_?x|s_?0|[^.]*init[^.]*)", re.IGNORECASE)
"""What a learned first state is called."""


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
    items: list[Item] = []
    others: list[str] = []
    for module, parameters in group_by_module(tensors).items():
        readings = _readings(module, parameters)
        if readings:
            tokens = readings[0].tokens and _EMBEDDING.search(module) is not None
            items.append(Item(module, readings, named=tokens))
        else:
            others.append(module)
    items.sort(key=lambda item: not item.readings[0].options.startswith("normalizer"))
    items, states = _with_first_states(items, tensors)
    return items, [name for module in others for name in _names_of(module, items, tensors) if name not in states]


def _names_of(module: str, items: list[Item], tensors: Mapping[str, Array]) -> list[str]:
    """Return the name of a module that is not understood; or its tensors', where others in it are understood."""
    if module != ROOT and not any(f"{item.module}.".startswith(f"{module}.") for item in items):
        return [module]
    return [name for name in tensors if (name.rpartition(".")[0] or ROOT) == module]


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


def _with_first_states(items: list[Item], tensors: Mapping[str, Array]) -> tuple[list[Item], list[str]]:
    """Return the items, with a tensor that can only be the first state of the one GRU in its options, and its names."""
    grus = {index: size for index, item in enumerate(items) if (size := _state_size(item, tensors))}
    states = [name for name in tensors if _FIRST_STATE.fullmatch(name) and tensors[name].dtype.kind == "f"]
    if len(grus) != 1 or len(states) != 1 or [tensors[name].size for name in states] != list(grus.values()):
        return items, []
    (index,), (state,) = grus, states
    told = replace(items[index].readings[0], options=f"initial_state={state}")
    items = [*items[:index], Item(items[index].module, (told,)), *items[index + 1 :]]
    module = state.rpartition(".")[0]
    alone = [name for name in tensors if name.startswith(f"{module}.")] == [state]
    return items, [state, module] if alone else [state]


def _state_size(item: Item, tensors: Mapping[str, Array]) -> int:
    """Return how many numbers the first states of a GRU have, of all its layers and directions; 0 for other modules."""
    start = "" if item.module == ROOT else f"{item.module}."
    recurrent = re.compile(rf"{re.escape(start)}weight_hh(_l\d+(_reverse)?)?")
    return sum(array.shape[1] for name, array in tensors.items() if recurrent.fullmatch(name) and array.ndim > 1)
