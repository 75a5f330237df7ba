"""What stands for a tensor, a layer and its arguments while a Keras model is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from grurt.converters.keras.config import Config, Version
from grurt.converters.keras.weights import Weights
from grurt.errors import ConversionError, DesignReason, UnsupportedError

MAX_NESTING = 16
MAX_NAME = 200

NOWHERE, EVERYWHERE = "\0nowhere", "\0everywhere"
"""Stand for the values of masks that are false, or true, at every timestep."""


class Kind(Enum):
    """What the axes of a tensor are."""

    SEQUENCE = "a sequence"
    """``(batch, time, features)``."""
    SINGLE = "a single vector"
    """``(batch, features)``."""
    NUMBERS = "one number for each timestep"
    """``(batch, time)``."""
    NUMBER = "a single number"
    """``(batch,)``."""
    TEXTS = "texts"
    """``(batch,)`` or ``(batch, n)``, an input: its size is the number of axes behind the first."""
    FLAT = "an input of two axes"
    """``(batch, n)``, an input that nothing has read yet: tokens, a state, a vector, or numbers."""
    MASK = "a mask"
    """``(batch, time)``, truth values."""
    TURNED = "features before timesteps"
    """``(batch, features, time)``."""
    REPEATED = "a vector repeated at every timestep"
    """``(batch, time, features)``, of a single vector."""


VECTORS = (Kind.SEQUENCE, Kind.SINGLE, Kind.REPEATED)
"""What layers read that do the same to each vector."""

ANY = (*VECTORS, Kind.NUMBERS, Kind.NUMBER, Kind.TURNED)
"""What functions read that do the same to each number."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of the Keras model, which stands for a value of the grurt model.

    ``backwards`` says that it holds the timesteps from the last to the first, as ``go_backwards`` makes them. ``mask``
    names the value that is 0 at timesteps to skip. ``state_of`` names the GRU whose final state this is; ``value`` is
    empty then, until someone needs the state as a value. ``padding`` is how many timesteps of zeros the Keras model has
    put before the first one, which the value has not. ``repeats`` is how many timesteps a repeated vector has.
    ``stacked`` are values along an axis of their own, the number ``stack_axis``, in place of one. ``truth`` is what a
    mask is for each number.
    """

    value: str
    size: int
    kind: Kind
    backwards: bool = False
    mask: str | None = None
    state_of: str | None = None
    padding: int = 0
    repeats: int = 0
    stacked: tuple[str, ...] = ()
    stack_axis: int = 0
    truth: Tensor | None = None

    @property
    def once(self) -> Tensor:
        """A vector that is repeated once, as what it is without the axis of the copies; any other tensor as it is."""
        return replace(self, kind=Kind.SINGLE, repeats=0) if self.repeats == 1 else self

    @property
    def rank(self) -> int:
        """How many axes it has in Keras."""
        return {Kind.SEQUENCE: 3, Kind.TURNED: 3, Kind.REPEATED: 3, Kind.NUMBER: 1}.get(self.kind, 2)

    def is_last_axis(self, axis: object) -> bool:
        """Say whether an axis, counted from the first or the last one, is that of the features."""
        return type(axis) is int and self.kind in VECTORS and axis in (-1, self.rank - 1)

    def with_value(self, value: str, size: int | None = None) -> Tensor:
        """Return the tensor that a layer makes of this one at each timestep by itself."""
        return replace(self, value=value, size=self.size if size is None else size, state_of=None)


@dataclass(frozen=True)
class Layer:
    """A layer to be converted: its class, name, configuration and weights.

    ``name`` is what it is called in the grurt model, and in errors; layers inside of others carry both names.
    """

    kind: str
    module: str
    name: str
    config: Config
    weights: Weights
    version: Version
    depth: int = 0

    @property
    def where(self) -> str:
        return self.config.where

    @property
    def is_operation(self) -> bool:
        """Whether this is a function of ``keras.ops`` in a functional model, and no layer."""
        return ".ops." in self.module

    def inner(self, described: object, part: str, name: str = "") -> Layer:
        """Return a layer that this one holds: described by ``class_name`` and ``config``, its weights at ``part``."""
        return make_layer(described, self.weights.child(part), self.version, f"{self.name}.", self.depth + 1, name)

    def unsupported(self, found: str, advice: str, reason: DesignReason | None = None) -> UnsupportedError:
        return self.config.unsupported(found, advice, reason)

    def invalid(self, message: str) -> ConversionError:
        return ConversionError(f"{self.where}: {message}; the file is damaged, or its weights are of another model")


def make_layer(
    described: object, weights: Weights, version: Version, prefix: str = "", depth: int = 0, name: str = ""
) -> Layer:
    """Return a layer from its description in JSON."""
    if not isinstance(described, Mapping) or not isinstance(described.get("class_name"), str):
        raise ConversionError(
            f"layer {prefix}...: expected a description with a class_name, got {str(described)[:100]}; "
            "the file is damaged"
        )
    if depth > MAX_NESTING:
        raise UnsupportedError(
            f"layer {prefix[:100]}...: got layers inside of more than {MAX_NESTING} others", reason=DesignReason.SIZE
        )
    kind = str(described["class_name"])[:100]
    values = described.get("config")
    if kind == "Sequential" and isinstance(values, list):  # of Keras 1 and early Keras 2
        values = {"layers": values}
    names = (name, values.get("name") if isinstance(values, Mapping) else None, described.get("name"), kind)
    own = next((item for item in names if isinstance(item, str) and item), "")
    full = f"{prefix}{own[:MAX_NAME]}"
    where = f"layer {full[:200]!r} ({kind})"
    registered = described.get("registered_name")
    if isinstance(registered, str) and ">" in registered:
        raise UnsupportedError(
            f"{where}: got a layer of one's own, {registered[:100]!r}; only Keras's own layers can be converted",
            reason=DesignReason.OWN_CODE,
        )
    module = described.get("module")
    return Layer(kind, module if isinstance(module, str) else "", full, Config(where, values), weights, version, depth)


@dataclass(frozen=True)
class Arguments:
    """What a layer is called with: tensors and other values, and those given by name."""

    positional: tuple[Any, ...]
    named: Mapping[str, Any]

    def tensors(self, layer: Layer) -> list[Tensor]:
        """Return the tensors, also from a list of them, as merging layers take it."""
        found = [item for value in self.positional for item in (value if isinstance(value, list) else [value])]
        if not found or not all(isinstance(item, Tensor) for item in found):
            raise layer.unsupported("arguments that are no tensors", "only tensors can be given to a layer")
        return found

    def only(self, layer: Layer) -> Tensor:
        """Return the only tensor."""
        tensors = self.tensors(layer)
        if len(tensors) != 1:
            raise layer.unsupported(f"{len(tensors)} inputs", "the layer takes one")
        return tensors[0]

    def check_named(self, layer: Layer, *known: str) -> None:
        """Raise UnsupportedError for an argument by name that is set, and that the layer does not read."""
        for name, value in self.named.items():
            if name not in (*known, "training", "mask") and value is not None:
                raise layer.unsupported(f"the call argument {name[:100]!r}", "call the layer without it")
        if self.named.get("training"):
            raise layer.unsupported("a call with training=True", "build the model for inference", DesignReason.TRAINING)
