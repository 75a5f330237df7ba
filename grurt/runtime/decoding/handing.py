"""Which of an encoder's outputs and states a decoder begins with, reads, and attends to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from grurt.errors import ModelError
from grurt.escaping import described, listed

if TYPE_CHECKING:
    from grurt.network.network import Network


def handed(
    what: str, given: Mapping[str, str] | None, wanted: Mapping[str, tuple[int, ...]], encoder: Network
) -> dict[str, str]:
    """Return which of the encoder's outputs and states each state, or input, of the decoder is."""
    there: dict[str, tuple[int, ...]] = {**encoder.state_shapes}
    there |= {output.name: (encoder.values[output.value].size,) for output in encoder.outputs}
    if given is None:
        given = {name: name for name, shape in wanted.items() if name in there and _alike(there[name], shape)}
        outputs = [output.name for output in encoder.outputs]
        if not given and len(wanted) == len(outputs) == 1 and _alike(there[outputs[0]], *wanted.values()):
            given = dict.fromkeys(wanted, outputs[0])
        if given.keys() != wanted.keys():
            raise ModelError(
                f"Translator: {what}: expected for each of {_shapes(wanted)} one of the encoder's {_shapes(there)}: "
                f"say which, as {what}={{{next(iter(wanted))!r}: ...}}"
            )
    for name, source in given.items():
        if name not in wanted or source not in there:
            raise ModelError(
                f"Translator: {what}: expected {_shapes(wanted)} of the decoder as {_shapes(there)} of the encoder, "
                f"got {described(name)}: {described(source)}"
            )
        if not _alike(wanted[name], there[source]):
            raise ModelError(
                f"Translator: {what}: {name!r} has the shape {wanted[name]}, and {source!r} {there[source]}"
            )
    if what == "inputs" and given.keys() != wanted.keys():
        raise ModelError(f"Translator: inputs: expected all of {_shapes(wanted)}, got [{listed(given)}]")
    return dict(given)


def _alike(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether two shapes are the same but for axes of size 1."""
    return [size for size in shape if size > 1] == [size for size in other if size > 1]


def handed_contexts(given: Mapping[str, str] | None, decoder: Network, encoder: Network) -> dict[str, str]:
    """Return which of the encoder's outputs each context of the decoder is made of."""
    sizes = {
        port.name: encoder.values[port.value].size for port in encoder.outputs if encoder.values[port.value].per_step
    }
    wanted = decoder.context_shapes
    if given is None:
        given = {name: name for name in wanted if name in sizes}
        if not given and len(wanted) == len(sizes) == 1:
            given = dict(zip(wanted, sizes, strict=True))
    if given.keys() != wanted.keys() or not sizes.keys() >= set(given.values()):
        raise ModelError(
            f"Translator: contexts: expected for each of {_shapes(wanted)} one of the outputs that the encoder gives "
            f"at every timestep, [{listed(sizes)}], got {dict(given)}"
        )
    for name, source in given.items():
        axis, _ = decoder.open_contexts.get(name, (None, None))
        of_a_place = [size for place, size in enumerate(wanted[name]) if place != axis and size > 1]
        if axis is None or of_a_place != [size for size in (sizes[source],) if size > 1]:
            raise ModelError(
                f"Translator: contexts: expected {name!r} {wanted[name]} of vectors of {source!r}, {sizes[source]} "
                "numbers each, and as many as there are: convert the decoder with --context and --size"
            )
    return dict(given)


def attention_output(name: str, contexts: Mapping[str, str], decoder: Network) -> int:
    """Return which output has the weights of attention: one for each place that a context of the decoder has."""
    outputs = {port.name: decoder.values[port.value].size for port in decoder.outputs}
    places = {each: decoder.context_shapes[each][decoder.open_contexts[each][0]] for each in contexts}
    if not places:
        raise ModelError(
            "Translator: attention: expected a decoder that attends to a memory, got one without contexts: convert it "
            "with --context"
        )
    if name not in outputs or outputs[name] not in places.values():
        raise ModelError(
            f"Translator: attention: expected an output with a weight for each place of {_sizes(places)}, got "
            f"{described(name)} of a decoder with the outputs {_sizes(outputs)}: export the weights, softmax and all, "
            "as an output of the step"
        )
    return [*outputs].index(name)


def _sizes(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name!r} ({size},)" for name, size in sizes.items())


def _shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name!r} {shape}" for name, shape in shapes.items()) or "nothing"
