"""Finds the modules that a state dict's tensors belong to, and what each is as far as names and shapes tell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import islice

from grurt.array_types import Array
from grurt.converters.kinds import KINDS
from grurt.errors import DescriptionError, DesignReason, UnsupportedError
from grurt.escaping import listed, shown

ROOT = "."
"""The module of tensors whose names have no dots."""

MAX_LISTED = 20
MAX_NAME = 100

_RECURRENT_WEIGHT = re.compile(r"weight_ih(_l0)?")
_GRU_GATES = 3
_OTHER_GATES = {4: "an LSTM (4 gates)", 1: "a plain RNN (1 gate)"}


def group_by_module(tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Return the tensors of each module by parameter name, the modules in the order of their first tensor."""
    modules: dict[str, dict[str, Array]] = {}
    for name, array in tensors.items():
        module, _, parameter = name.rpartition(".")
        modules.setdefault(module or ROOT, {})[parameter] = array
    return modules


def names_by_module(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the names of the tensors of each module, the modules in the order of their first tensor."""
    modules: dict[str, list[str]] = {}
    for name in names:
        modules.setdefault(name.rpartition(".")[0] or ROOT, []).append(name)
    return modules


def module_kind(module: str, parameters: Mapping[str, Array]) -> str:
    """Return what a module is, from the names and shapes of its parameters.

    Raises
    ------
    DescriptionError
        If it can be more than one thing: the description has to say which.
    UnsupportedError
        If it is something that grurt does not implement.
    """
    if any(_RECURRENT_WEIGHT.fullmatch(name) for name in parameters):
        return _recurrent_kind(module, parameters)
    candidates = fitting_kinds(parameters)
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise DescriptionError(
            f"module {module!r}: its tensors, {'; '.join(listing(parameters))}, may be "
            f"{' or '.join(candidates)}; " + "; ".join(f"write {module}({kind})" for kind in candidates)
        )
    *classes, last = [kind.classes[0] for kind in KINDS.values() if kind.parameters and kind.classes]
    raise UnsupportedError(
        f"module {module!r}: expected a {', '.join(classes)} or {last}, "
        f"got {'; '.join(listing(parameters))}; if the model does not need it, write ignore({module})"
    )


def fitting_kinds(parameters: Mapping[str, Array]) -> list[str]:
    """Return the kinds, other than recurrent ones, that tensors of these names and shapes may be of."""
    return [kind.name for kind in KINDS.values() if kind.fits(parameters)]


def _recurrent_kind(module: str, parameters: Mapping[str, Array]) -> str:
    suffix = "" if "weight_ih" in parameters else "_l0"
    weight, given = parameters.get(f"weight_hh{suffix}"), parameters[f"weight_ih{suffix}"]
    if weight is None or weight.ndim != 2 or weight.shape[1] == 0 or given.ndim != 2:
        raise DescriptionError(
            f"module {module!r}: expected the weight_ih and weight_hh of a GRU, got {'; '.join(listing(parameters))}"
        )
    if "weight_hr_l0" in parameters:
        raise UnsupportedError(
            f"module {module!r}: expected a GRU, got an LSTM with a projection; train a GRU",
            reason=DesignReason.OTHER_RECURRENCE,
        )
    gates, rest = divmod(weight.shape[0], weight.shape[1])
    if rest == 0 and gates in _OTHER_GATES:
        raise UnsupportedError(
            f"module {module!r}: expected a GRU (3 gates), got {_OTHER_GATES[gates]}; train a GRU",
            reason=DesignReason.OTHER_RECURRENCE,
        )
    if rest or gates != _GRU_GATES:
        raise DescriptionError(
            f"module {module!r}: expected weight_hh of shape (3 * hidden, hidden), got {weight.shape}"
        )
    return "gru"


def names_of(values: Iterable[str]) -> str:
    """Return names with commas between them, the first ones if there are many."""
    return listed((shown(name, MAX_NAME) for name in values), MAX_LISTED)


def listing(tensors: Mapping[str, Array]) -> list[str]:
    """Return names and shapes, the first ones if there are many."""
    lines = [f"{shown(name, MAX_NAME)} {array.shape}" for name, array in islice(tensors.items(), MAX_LISTED)]
    if len(tensors) > MAX_LISTED:
        lines.append(f"and {len(tensors) - MAX_LISTED} more")
    return lines
