"""Answers a state dict without a description: what it holds, and a description that fits, where one does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np

from grurt.array_types import Array
from grurt.converters.compact import parse_description
from grurt.converters.description import Description
from grurt.converters.kinds import KINDS
from grurt.converters.torch.assembly.left_over import shapes_of
from grurt.converters.torch.assembly.modules import ROOT, listing, names_by_module, names_of
from grurt.converters.torch.assembly.orders import Order, first_order, is_certain, readings_that_fit
from grurt.converters.torch.assembly.readings import (
    FINAL_STATES,
    Item,
    final_states_of,
    recurrent_modules,
    understood,
)
from grurt.converters.torch.checkpoint.state_dict import Beside
from grurt.errors import ConversionError, DescriptionError
from grurt.escaping import listed

MAX_CHARACTERS = 4000
"""Of a suggestion; a longer one is cut off."""

_MAX_ITEMS = 200
"""Modules of which an order is looked for."""

LeftOver = Callable[[Description], list[str]]
"""Returns the tensors that a description does not use; DescriptionError if it does not fit the others."""

_ASKED, _ANSWER = "=?", "=1"
"""An option that the user has to say, and what stands for it in a trial."""


def no_description(tensors: Mapping[str, Array], beside: Beside, left_over: LeftOver) -> DescriptionError:
    """Return the error for a state dict without a description."""
    return DescriptionError(
        "layers: expected a description, got none: the source holds weights, not how layers are connected",
        f"Its {len(tensors)} tensors:",
        *(f"  {line}" for line in listing(tensors)),
        *_advice(tensors, left_over),
        *_beside(beside),
        'Put the layers in the order in which they run, and say what no weight shows: activations, as in "fc:sigmoid"; '
        '"last" where only the last timestep goes on; in a TOML file, connections other than a chain, as of residuals',
    )


def _advice(tensors: Mapping[str, Array], left_over: LeftOver) -> Iterator[str]:
    """Yield a description that fits; or, where none does, what is understood, or how to write one.

    Nothing is left out but under its name: that is right only if no answer depends on it.
    """
    items, others = understood(tensors)
    if not items:
        yield (
            "These are not the names of PyTorch's modules. Say which array is what, and how it is laid out: "
            '--layers "gru(gru, weight_ih=W, weight_hh=R, bias_ih=b, gates=zrn, reset=before, update=keep), '
            'fc(linear, weight=V, bias=c)"'
        )
        return
    order = first_order(items) if len(items) <= _MAX_ITEMS else None
    if order is None and (finals := final_states_of(items, tensors)) is not None and len(items) < _MAX_ITEMS:
        order = first_order([*items, finals])
    left = None if order is None else _tried(order, left_over)
    if order is None or left is None:
        yield _sizes(items)
    else:
        known = set(others)
        others += [name for name in left if known.isdisjoint((name, name.rpartition(".")[0]))]
        yield from _suggestion(order, complete=not others)
        yield from _last(order, recurrent_modules(tensors))
    if others:
        yield (
            f"Not understood: {names_of(others)}. If the answers depend on it, as on a mask or an LSTM, a "
            "description without it is wrong; if they do not, say so: ignore(NAME)"
        )


def _suggestion(order: Order, *, complete: bool) -> Iterator[str]:
    texts = [item.text(readings) for (item, _), readings in zip(order, readings_that_fit(order), strict=True)]
    text = ", ".join(texts)
    text = text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS].rpartition(', ')[0]}, ..."
    fit = "that would fit" if complete else "of what is understood, which is not all"
    fit += ", with one of the kinds where there are several" * ("|" in text)
    fit += ", with a number for each question mark" * (_ASKED in text)
    yield f'A description {fit}: --layers "{text}"'
    if not is_certain(order):
        yield "Their sizes fit in other orders, too, and some may read the same value: the order is a guess"
    if "(normalizer" in text:
        yield (
            "No tensor shows a normalizer's epsilon, nor the range that it clips to: where there is a number, it is "
            "the default of rsl_rl or skrl, which have such tensors; :clip(-5,5) behind it clips"
        )


def _last(order: Order, recurrent: Collection[str]) -> Iterator[str]:
    """Yield what stands behind the last recurrent module where not all of its timesteps go on."""
    modules = [item.module for item, _ in order]
    place = max((index for index, module in enumerate(modules) if module in recurrent), default=len(modules))
    if place < len(modules) - 1 and modules[place + 1] != FINAL_STATES:
        module, following = modules[place : place + 2]
        yield (
            f"No tensor shows whether every timestep of {module} goes on, or the last one alone: if so, write "
            f'"last" between {module} and {following}'
        )


def _sizes(items: Sequence[Item]) -> str:
    """Say what the modules read and write, where no order of them fits."""
    known = listed((f"{item.text(item.readings)} {_size(item)}" for item in items), 20)
    return (
        f"Modules that are understood: {known}. In no order that was tried each reads what the one before it writes: "
        "they are no chain, or something stands between them; a TOML file can say how they are connected"
    )


def _size(item: Item) -> str:
    reading = item.readings[0]
    read = "tokens" if reading.tokens else "any size" if reading.reads is None else reading.reads
    return f"(reads {read}, writes {'the same' if reading.writes is None else reading.writes})"


def _tried(order: Order, left_over: LeftOver) -> list[str] | None:
    """Return the tensors that the layers in this order leave over; None if they do not fit after all."""
    text = ", ".join(item.text((reading,)) for item, reading in order)
    try:
        return left_over(parse_description(text.replace(_ASKED, _ANSWER)))
    except ConversionError:
        return None


def _beside(beside: Beside) -> Iterator[str]:
    """Yield what lies beside the weights: it may be what the inputs are normalized with."""
    arrays = [name for name in beside if beside.shapes[name]]
    if not arrays:
        return
    yield f"Beside the weights lie {names_of(shapes_of(beside, arrays))}"
    with_arrays = names_by_module(arrays).keys() - {ROOT}
    for module, names in names_by_module(beside).items():
        parameters = dict.fromkeys((name.rpartition(".")[2] for name in names), np.zeros(0))
        if module in with_arrays and KINDS["normalizer"].fits(parameters):
            yield f"If the inputs are normalized with {module}, say so: {module}(normalizer, epsilon=?)"
