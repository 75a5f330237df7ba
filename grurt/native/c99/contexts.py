"""What streams are given once: the functions that make a context, and give it to a stream."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from grurt.native.c99.layers.products import loop
from grurt.native.c99.layers.programs.writing import preparation
from grurt.native.c99.text import indented

if TYPE_CHECKING:
    from grurt.native.c99.ports import Given
    from grurt.native.c99.unit import Unit
    from grurt.network.layers import AnyLayer
    from grurt.network.layers.base import Shape


def parameters(given: Sequence[Given]) -> str:
    """Return the parameters of the function that makes a context."""
    own = ["grurt_context *context", "grurt_scratch *scratch"]
    return ", ".join([*own, *(each for one in given for each in one.declarations)])


def functions(unit: Unit, given: Sequence[Given]) -> str:
    """Return the functions of contexts; nothing where there are none."""
    if not given:
        return ""
    lines = [*_checks(given), *_making(unit, given), "return GRURT_OK;"]
    unused = [] if any("scratch->" in line for line in lines) else ["(void)scratch;"]
    return f"""\
int grurt_make_context({parameters(given)})
{{
{indented([*unused, *lines])}
}}

void grurt_set_context(grurt_state *state, const grurt_context *context)
{{
    state->context = context;
}}
"""


def _checks(given: Sequence[Given]) -> list[str]:
    lines: list[str] = []
    owners: dict[str, Given] = {}
    for each in given:
        if each.axis is None:
            continue
        owner = each if each.mask is None else owners.setdefault(each.mask, each)
        wrong = f"{each.places} < 1 || {each.places} > {each.shape[each.axis]}"
        wrong += "" if owner is each else f" || {each.places} != {owner.places}"
        lines.append(f"if ({wrong})\n    return GRURT_WRONG_SIZE;")
    lines += [f"if (!grurt_are_finite({each.name}, {_count(each)}))\n    return GRURT_NOT_FINITE;" for each in given]
    return lines


def _count(each: Given) -> str:
    """Return how many numbers of an array there are."""
    if each.axis is None:
        return str(each.size)
    return f"{each.size // each.shape[each.axis]} * (int){each.places}"


def _making(unit: Unit, given: Sequence[Given]) -> list[str]:
    lines: list[str] = []
    for layer in unit.network.layers:
        if layer.context_shapes():
            lines += _of_layer(unit, layer, {each.source: each for each in given})
    return lines


def _of_layer(unit: Unit, layer: AnyLayer, given: dict[str, Given]) -> list[str]:
    """Return statements that compute what a layer reads of a context."""
    member = f"context->{unit.context_member(layer)}"
    prepared = layer.preparation()
    shapes = layer.given_shapes()
    if prepared is None:
        lines, start = [], 0
        for name, shape in shapes.items():
            lines += _filled(name, shape, f"{member} + {start}" if start else member, given)
            start += math.prod(shape)
        return lines
    lines, places = [], []
    with unit.work(sum(math.prod(shape) for name, shape in shapes.items() if _is_filled(name, given))) as work:
        start = 0
        for name, shape in shapes.items():
            if not _is_filled(name, given):
                places.append(given[name].name)
                continue
            places.append(f"{work} + {start}" if start else work)
            lines += _filled(name, shape, places[-1], given)
            start += math.prod(shape)
        return [*lines, preparation(unit, prepared, places, member)]


def _is_filled(name: str, given: dict[str, Given]) -> bool:
    """Return whether a value is not simply what the caller has."""
    return name not in given or given[name].axis is not None


def _filled(name: str, shape: Shape, target: str, given: dict[str, Given]) -> list[str]:
    """Return statements that write an array, filled up with zeros, or the mask of its places."""
    if name not in given:
        owner = next(each for each in given.values() if each.mask == name)
        return [loop("i", shape[0], [f"({target})[i] = i < {owner.places} ? 1.0f : 0.0f;"])]
    each = given[name]
    if each.axis is None:
        return [f"memcpy({target}, {each.name}, {each.size} * sizeof(float));"]
    inside, size = math.prod(shape[each.axis + 1 :]), shape[each.axis]
    there = f"{inside} * (size_t){each.places}"
    copies = [
        f"memcpy({target} + {size * inside} * i, {each.name} + {there} * (size_t)i, {there} * sizeof(float));",
    ]
    return [
        f"memset({target}, 0, {each.size} * sizeof(float));",
        loop("i", math.prod(shape[: each.axis]), copies),
    ]
