"""What a description leaves out of a state dict: an error, unless it says so, and then a note in the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from grurt.array_types import Array
from grurt.converters.torch.assembly.modules import ROOT, group_by_module, names_of
from grurt.converters.torch.assembly.readings import item_of
from grurt.converters.torch.checkpoint.state_dict import Beside, StateDict
from grurt.errors import DescriptionError

_UNUSED_BUFFER = "num_batches_tracked"
"""Counts the training's batches: no layer needs it."""

_MAX_NAMED = 20


def unused(tensors: Iterable[str], used: set[str]) -> list[str]:
    """Return the tensors that no layer uses, without those that no answer can depend on."""
    return [name for name in tensors if name not in used and not name.endswith(_UNUSED_BUFFER)]


def check_all_used(
    tensors: Mapping[str, Array], beside: Iterable[str], used: set[str], ignore: Iterable[str], prefix: str
) -> None:
    """Raise DescriptionError for tensors that no layer uses, and for an ``ignore`` that names none."""
    patterns = {pattern.removeprefix(prefix): pattern for pattern in ignore}
    met = (
        {around for name in (*tensors, *beside) for around in _names_around(name)} & patterns.keys() if patterns else {}
    )
    for name, pattern in patterns.items():
        if name not in met:
            raise DescriptionError(f"ignore({pattern}): expected a tensor or module, got none of that name")
    left = [name for name in unused(tensors, used) if patterns.keys().isdisjoint(_names_around(name))]
    if left:
        raise DescriptionError(
            f"layers: expected every tensor in a layer, got {len(left)} that none uses: "
            f"{', '.join(left[:_MAX_NAMED])}{', ...' if len(left) > _MAX_NAMED else ''}; describe their layers"
            f"{_example(tensors, left)}, or say that no answer depends on them: ignore({left[0]})"
        )


def _example(tensors: Mapping[str, Array], left: Iterable[str]) -> str:
    """Return how the first module of those that are left over is described, if it is understood."""
    names = set(left)
    for module, parameters in group_by_module(tensors).items():
        whole = names.issuperset(parameters if module == ROOT else (f"{module}.{name}" for name in parameters))
        if whole and (item := item_of(module, parameters)) is not None:
            return f", such as {item.text(item.readings)}"
    return ""


def notes_on_what_is_left(ignore: Iterable[str], beside: Beside, used: set[str]) -> Iterator[str]:
    """Yield remarks on what a description leaves out, and on what lies beside the weights and no layer uses."""
    if ignore := tuple(ignore):
        yield f"left out, as the description says: {names_of(ignore)}"
    if left := [name for name in beside if name not in used]:
        yield f"beside the weights, and not used: {names_of(shapes_of(beside, left))}"


def notes_on_the_rest(state_dict: StateDict) -> Iterator[str]:
    """Yield remarks on what else a checkpoint holds."""
    if state_dict.others:
        yield f"left out, the other state dicts of the checkpoint: {names_of(state_dict.others)}"
    if state_dict.unread:
        yield f"left out of the state dict, for they hold no numbers: {names_of(state_dict.unread)}"


def shapes_of(beside: Beside, names: Iterable[str]) -> list[str]:
    """Return names with their shapes: arrays before numbers, the outermost first."""
    ordered = sorted(names, key=lambda name: (not beside.shapes[name], name.count(".")))
    return [f"{name} {beside.shapes[name] or ''}".rstrip() for name in ordered]


def _names_around(name: str) -> set[str]:
    """Return the names under which a tensor can be ignored: its own, and those of the modules that it is in."""
    return {name} | {name[:position] for position, character in enumerate(name) if character == "."}
