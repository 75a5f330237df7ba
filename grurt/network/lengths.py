"""How many timesteps values have: of n timesteps at the inputs of a sequence, what is behind an `Unfold` has others.

A number of timesteps is ``(n + surplus) // stride + 1`` with the surplus and the stride of a `Length`, also behind
several `Unfold` layers one after the other. Behind a `RepeatVector` it is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from grurt.errors import ModelError

if TYPE_CHECKING:
    from grurt.network.layers import AnyLayer
    from grurt.network.layers.windows import Unfold
    from grurt.network.value import Value


class Length(msgspec.Struct, frozen=True, order=True):
    """How many timesteps a value has.

    Parameters
    ----------
    depth
        How many lengths are known before this one: those of the values that it follows from come first.
    stride, surplus
        ``(n + surplus) // stride + 1`` timesteps, of n at the inputs.
    fixed
        The number of timesteps, where it does not depend on n; else 0.
    """

    depth: int = 0
    stride: int = 1
    surplus: int = -1
    fixed: int = 0

    def unfolded(self, layer: Unfold) -> Length:
        """Return the length of what a layer unfolds."""
        if self.fixed:
            if self.fixed < layer.least_steps:
                raise ModelError(
                    f"layer {layer.name!r}: expected at least {layer.least_steps} timesteps, got {self.fixed} in all"
                )
            return Length(self.depth + 1, fixed=layer.window_count(self.fixed))
        surplus = self.surplus + self.stride * (1 + layer.surplus)
        return Length(self.depth + 1, self.stride * layer.stride, surplus)

    def may_equal(self, other: Length) -> bool:
        """Say whether two lengths are the same, for some n at least."""
        if self.fixed or other.fixed:
            return self.fixed == other.fixed
        return self.stride == other.stride and abs(self.surplus - other.surplus) < self.stride

    def inputs_for(self, n_steps: int) -> int:
        """Return the fewest timesteps of the inputs of which there are so many."""
        return max(1, (n_steps - 1) * self.stride - self.surplus)

    @property
    def most_added(self) -> int:
        """The most timesteps by which it exceeds n."""
        return self.fixed or max(0, self.surplus + 1)


def find_lengths(layers: Iterable[AnyLayer], values: Mapping[str, Value]) -> dict[str, Length]:
    """Return the lengths of all values by name; those of single vectors are of the sequences that these end.

    Raises
    ------
    ModelError
        If a layer reads sequences side by side that never have one length.
    """
    lengths = {name: Length() for name in values}
    for layer in layers:
        read_per_step = values[layer.name].per_step or layer.joins_sequences
        read = [lengths[name] for name in layer.inputs if values[name].per_step == read_per_step]
        if layer.begins_sequence:
            n_steps = layer.n_steps  # type: ignore[attr-defined]
            lengths[layer.name] = Length(fixed=n_steps) if n_steps else lengths[layer.inputs[1]]
        elif layer.resamples:
            lengths[layer.name] = lengths[layer.inputs[0]].unfolded(layer)  # type: ignore[arg-type]
        elif read_per_step:
            lengths[layer.name] = _side_by_side(layer, read)
        else:
            lengths[layer.name] = max(lengths[name] for name in layer.inputs)
    return lengths


def _side_by_side(layer: AnyLayer, read: list[Length]) -> Length:
    """Return the length of what reads sequences of these lengths at every timestep."""
    first, depth = read[0], max(length.depth for length in read)
    if any(not first.may_equal(length) for length in read):
        raise ModelError(
            f"layer {layer.name!r}: expected inputs of one number of timesteps, got sequences that Unfold or "
            "RepeatVector layers have made of different lengths"
        )
    same = all(replace(length, depth=0) == replace(first, depth=0) for length in read)
    return replace(first, depth=depth if same else depth + 1)
