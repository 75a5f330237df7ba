"""Answers a state dict without a description: what it holds, and a description that would fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations

from grurt.array_types import Array
from grurt.converters.kinds import KINDS
from grurt.converters.torch.assembly.modules import ROOT, group_by_module, listing, module_kind, names_of
from grurt.errors import DescriptionError, UnsupportedError

MAX_ORDERED = 7
"""How many modules are put into an order in which their sizes fit; there are 5040 orders of 7."""


MAX_CHARACTERS = 4000
"""Of a suggestion; a longer one is cut off."""


@dataclass(frozen=True)
class _Suggested:
    """A module in the compact form, and the sizes that it reads and writes; None stands for any."""

    text: str
    input_size: int | None
    output_size: int | None


def no_description(tensors: Mapping[str, Array]) -> DescriptionError:
    """Return the error for a state dict without a description."""
    return DescriptionError(
        "layers: expected a description, got none: the source holds weights, not how layers are connected",
        f"Its {len(tensors)} tensors:",
        *(f"  {line}" for line in listing(tensors)),
        *_advice(tensors),
        'Put the layers in the order in which they run, and say what no weight shows: activations, as in "fc:sigmoid"; '
        '"last" where only the last timestep goes on',
    )


def _advice(tensors: Mapping[str, Array]) -> Iterator[str]:
    """Yield a description that would fit; or, for tensors that are not named as PyTorch does, how to write one.

    Modules that are none of grurt's are named apart: to leave them out is right only if no answer depends on them.
    """
    text, unknown = suggestion(tensors)
    if text:
        choice = ", with one of the kinds where there are several" if "|" in text else ""
        fit = f"of what is understood, which is not all{choice}" if unknown else f"that would fit{choice}"
        yield f'A description {fit}: --layers "{text}"'
        if unknown:
            yield (
                f"Not understood: {names_of(unknown)}. If the answers depend on it, as on a normalizer or an LSTM, the "
                "description would leave it out; if they do not, say so: ignore(NAME)"
            )
        return
    yield (
        "These are not the names of PyTorch's modules. Say which array is what, and how it is laid out: "
        '--layers "gru(gru, weight_ih=W, weight_hh=R, bias_ih=b, gates=zrn, reset=before, update=keep), '
        'fc(linear, weight=V, bias=c)"'
    )


def suggestion(tensors: Mapping[str, Array]) -> tuple[str, list[str]]:
    """Return a description in the compact form, in an order in which the sizes fit, and what it does not use."""
    found: list[_Suggested] = []
    unknown: list[str] = []
    for module, parameters in group_by_module(tensors).items():
        try:
            kind = KINDS[module_kind(module, parameters)]
            found.append(_Suggested(module, *kind.sizes(parameters)))
        except DescriptionError:
            found.append(_suggest_ambiguous(module, parameters))
        except UnsupportedError:
            unknown += [module] if module != ROOT else parameters
    text = ", ".join(item.text for item in _ordered(found))
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS].rpartition(', ')[0]}, ...", unknown


def _suggest_ambiguous(module: str, parameters: Mapping[str, Array]) -> _Suggested:
    """Suggest an embedding for a matrix of more rows than columns, as vocabularies have, and else a linear layer."""
    if "weight" not in parameters:
        return _Suggested(module, None, None)
    shape = parameters["weight"].shape
    if len(shape) != 2:
        kinds = [kind.name for kind in KINDS.values() if kind.fits(parameters)]
        return _Suggested(f"{module}({'|'.join(kinds)})", None, None)
    if shape[0] > shape[1]:
        return _Suggested(f"{module}(embedding)", 0, shape[1])
    return _Suggested(f"{module}(linear)", shape[1], shape[0])


def _ordered(items: Sequence[_Suggested]) -> Sequence[_Suggested]:
    """Return the items in the first order in which each reads what the one before it writes; else as they are."""
    if len(items) > MAX_ORDERED:
        return items
    return next((order for order in permutations(items) if all(_fits(*pair) for pair in pairwise(order))), items)


def _fits(before: _Suggested, after: _Suggested) -> bool:
    return None in (before.output_size, after.input_size) or before.output_size == after.input_size
