"""Collects the layers of a network while a Keras model is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from grurt.array_types import Array
from grurt.converters import windows
from grurt.converters.keras.topology import MAX_CALLS, Topology, read_topology, too_many_calls
from grurt.converters.keras.values import EVERYWHERE, NOWHERE, Arguments, Kind, Layer, Tensor
from grurt.converters.layer_builder import LayerBuilder
from grurt.errors import DesignReason, UnsupportedError
from grurt.network import layers
from grurt.network.functions import Affine
from grurt.network.layers import AnyLayer
from grurt.network.vocabulary import Vocabulary

MAX_LAYERS = 1 << 14

TEXT = "string"
"""The dtype of an input of texts."""

NOTHING = 1e-30
"""An epsilon that vanishes beside any variance that float32 numbers are divided by."""

Convert = Callable[[Layer, Arguments, "Builder"], tuple[Tensor, ...]]
"""Converts a call of a layer, to what it returns."""


@dataclass(frozen=True)
class ModelInput:
    """An input of the Keras model: what reads it tells what it is.

    ``tokens`` is the size of the vocabulary, of tokens; ``states`` are the GRUs whose initial state it is; ``timed``
    says that it holds one number for each timestep, ``vector`` that it holds one vector for the whole sequence.
    ``vocabulary`` says what becomes of texts, of which Keras makes the tokens.
    """

    name: str
    size: int
    kind: Kind
    dtype: str
    tokens: int | None = None
    states: tuple[str, ...] = ()
    timed: bool = False
    vector: bool = False
    vocabulary: Vocabulary | None = None

    @property
    def unread(self) -> bool:
        """Whether nothing has said yet what it holds."""
        return self.tokens is None and not (self.states or self.timed or self.vector)

    @property
    def may_be_tokens(self) -> bool:
        return self.unread or self.tokens is not None

    @property
    def may_be_state(self) -> bool:
        return self.unread or bool(self.states)

    @property
    def may_be_numbers(self) -> bool:
        return self.unread or self.timed

    @property
    def may_be_vector(self) -> bool:
        return (self.unread or self.vector) and self.size > 0


class Builder(LayerBuilder):
    """The layers so far, their weights, and the model's inputs.

    Parameters
    ----------
    convert
        Converts the layers that others hold.
    elements
        How many numbers the weights may hold in all: a layer may be called several times.
    """

    used_too_often = "got a layer that is called too often; call it once"

    def __init__(self, convert: Convert, elements: int) -> None:
        super().__init__(elements)
        self.convert = convert
        self.inputs: dict[str, ModelInput] = {}
        self.notes: dict[str, None] = {}
        self._calls = 0
        self._topologies: dict[int, Topology] = {}
        self._per_step: dict[str, bool] = {}

    def count_calls(self, count: int = 1) -> None:
        """Count calls of layers; UnsupportedError if there are too many."""
        self._calls += count
        if self._calls > MAX_CALLS:
            raise too_many_calls()

    def add(self, layer: AnyLayer, weights: Mapping[str, Array] | None = None) -> str:
        if len(self.layers) == MAX_LAYERS:
            raise UnsupportedError(
                f"got a model of more than {MAX_LAYERS} layers; convert a part of it", reason=DesignReason.SIZE
            )
        sources = [self._per_step.get(source, True) for source in layer.inputs]
        self._per_step[layer.name] = layer.begins_sequence or (not layer.selects_timestep and any(sources))
        return super().add(layer, weights)

    def topology(self, model: Layer) -> Topology:
        """Return the topology of a model; it is read once, however often the model is called."""
        described = id(model.config.get("layers"))  # the same list for every call
        if described not in self._topologies:
            self._topologies[described] = read_topology(model)
        return self._topologies[described]

    def add_input(self, model: Layer, name: str, shape: tuple[int | None, ...], dtype: str) -> Tensor:
        """Add an input of the whole model, of this shape behind the batch axis, and return its tensor."""
        if dtype == TEXT:
            return self._add_texts(model, name, shape)
        size = shape[-1]
        kind = Kind.SEQUENCE if len(shape) == 2 else Kind.FLAT
        if kind is Kind.SEQUENCE and size is None:
            raise model.unsupported(
                f"an input {name!r} of an unknown number of features",
                "fix the input's last axis",
                DesignReason.NOT_SAID,
            )
        return self._added(model, ModelInput(name, size or 0, kind, dtype))

    def _add_texts(self, model: Layer, name: str, shape: tuple[int | None, ...]) -> Tensor:
        if len(shape) > 1:
            raise model.unsupported(f"an input {name!r} of texts with {len(shape) + 1} axes", "texts have one or two")
        return replace(self._added(model, ModelInput(name, 0, Kind.FLAT, TEXT)), kind=Kind.TEXTS, size=len(shape))

    def _added(self, model: Layer, found: ModelInput) -> Tensor:
        if found.name in self.inputs:
            raise model.invalid(f"expected inputs with a name each, got two called {found.name!r}")
        self.inputs[found.name] = found
        self.names.take(found.name)
        return Tensor(found.name, found.size, found.kind)

    def texts(self, layer: Layer, name: str, vocabulary: Vocabulary) -> None:
        """Note what becomes of the texts of an input."""
        found = self.inputs[name]
        if found.vocabulary not in (None, vocabulary):
            raise layer.unsupported(
                f"the texts {name!r}, which another layer takes apart in another way", "give each its own input"
            )
        self.inputs[name] = replace(found, vocabulary=vocabulary)
        if vocabulary.split == "none":
            self.note(
                f"each text of the input {name!r} is one token, as Keras is given them: `grurt vocabulary --split "
                "words` has longer ones taken apart"
            )

    def tokens(self, layer: Layer, name: str, vocabulary_size: int) -> None:
        """Note that an input is of tokens."""
        found = self.inputs[name]
        if found.tokens not in (None, vocabulary_size):
            raise layer.unsupported(
                f"the tokens {name!r}, which another layer reads with {found.tokens} of them",
                "use one size of vocabulary",
            )
        self.inputs[name] = replace(found, tokens=vocabulary_size)

    def widened(self, value: str, size: int, found: int) -> str:
        """Return a value of one feature repeated to ``size`` features; others as they are."""
        return value if found == size else self.repeated(value, size)

    def filled(self, layer: Layer, shape: tuple[int, ...], value: float | Array) -> Array:
        """Return an array of one number, or of one row; UnsupportedError where a small file says that it has many."""
        self._check_room(layer.name, math.prod(shape))
        return np.full(shape, value, np.float32)

    def part(self, layer: Layer, tensor: Tensor, start: int, stop: int) -> Tensor:
        """Return the features from ``start`` to ``stop - 1``."""
        made = layers.Slice(name=self.unique(layer.name), inputs=(tensor.value,), start=start, stop=stop)
        return tensor.with_value(self.add(made), stop - start)

    def scale_and_shift(self, layer: Layer, tensor: Tensor, scale: Array, shift: Array) -> Tensor:
        """Return ``scale * x + shift``, with numbers ``()`` or one for each feature."""
        if scale.ndim == 0 and shift.ndim == 0:
            return tensor.with_value(self.function(tensor.value, Affine(float(scale), float(shift))))
        weights = {
            "mean": self.filled(layer, (tensor.size,), 0.0),
            "variance": self.filled(layer, (tensor.size,), 1.0),
            "weight": self.filled(layer, (tensor.size,), scale),
            "bias": self.filled(layer, (tensor.size,), shift),
        }
        return tensor.with_value(self.normalized(layer, tensor, weights, NOTHING))

    def normalized(self, layer: Layer, tensor: Tensor, weights: Mapping[str, Array], epsilon: float) -> str:
        """Add a `BatchNorm` of the tensor."""
        name, size = self.unique(layer.name), tensor.size
        return self.add(layers.BatchNorm(name=name, inputs=(tensor.value,), size=size, epsilon=epsilon), weights)

    def masked(self, value: str, size: int, mask: str) -> str:
        """Return the value, with zeros at the timesteps that the mask skips."""
        inputs = (value, self.widened(mask, size, 1))
        return self.add(layers.Mul(name=self.unique(f"{value}.masked"), inputs=inputs))

    def mask(self, value: str, masked: float, *, tokens: bool) -> str:
        """Return the mask that skips the timesteps at which all features, or the token, equal ``masked``; made once."""

        def make() -> str:
            name = self.unique(f"{value}.mask")
            if tokens:
                return self.add(layers.TokenMask(name=name, inputs=(value,), token=int(masked)))
            return self.add(layers.FeatureMask(name=name, inputs=(value,), mask_value=masked))

        return self.once(("mask", value, masked, tokens), make)

    def timestep(self, tensor: Tensor, *, last: bool = True) -> Tensor:
        """Return the last or first timestep of a sequence, in Keras's order of the timesteps; made once."""
        return Tensor(self.timestep_of(tensor.value, last=last != tensor.backwards), tensor.size, Kind.SINGLE)

    def value(self, layer: Layer, tensor: Tensor, *kinds: Kind, padded: bool = False) -> Tensor:
        """Return the tensor, if it is of one of these kinds; the final state of a GRU becomes a value of its own.

        With ``padded``, the layer knows what to do with zeros before the first timestep.
        """
        if tensor.kind is Kind.FLAT:
            tensor = self._read(tensor, kinds)
        if tensor.kind is Kind.REPEATED and Kind.REPEATED not in kinds and Kind.SEQUENCE in kinds and tensor.repeats:
            tensor = self._as_sequence(tensor)
        if tensor.kind not in kinds:
            wanted = " or ".join(kind.value for kind in kinds)
            raise layer.unsupported(f"{tensor.kind.value} as its input", f"the layer can read {wanted}")
        if tensor.stacked:
            raise layer.unsupported("a stack of tensors as its input", "reduce it along the axis of the stack")
        if tensor.padding and not padded:
            name = f"{tensor.value}.padded"
            return replace(tensor, value=windows.padded(self, tensor.value, tensor.padding, 0, name), padding=0)
        if tensor.state_of is not None and not tensor.value:
            backwards = self.layers[tensor.state_of].final_state_at == "first"
            return self.timestep(Tensor(tensor.state_of, tensor.size, Kind.SEQUENCE, backwards))
        return tensor

    def _as_sequence(self, tensor: Tensor) -> Tensor:
        """Return a vector that is the same at every timestep as a sequence of its own."""
        name = self.unique(f"{tensor.value}.repeated")
        value = self.add(layers.RepeatVector(name=name, inputs=(tensor.value,), n_steps=tensor.repeats))
        return replace(tensor, value=value, kind=Kind.SEQUENCE, repeats=0)

    def _read(self, tensor: Tensor, kinds: Collection[Kind]) -> Tensor:
        """Return an input of two axes as what a layer reads it as: one number a timestep, or one vector in all."""
        found = self.inputs[tensor.value]
        if found.timed and Kind.SEQUENCE in kinds:
            return Tensor(tensor.value, 1, Kind.SEQUENCE)
        if found.may_be_vector and Kind.SINGLE in kinds:
            self.inputs[tensor.value] = replace(found, vector=True)
            return Tensor(tensor.value, found.size, Kind.SINGLE)
        return tensor

    def at_the_end(self, value: str) -> str:
        """Return a vector that a GRU can begin with: what an input gives once is a sequence of one timestep."""
        return self.timestep_of(value, last=True) if self._per_step.get(value, True) else value

    def note(self, text: str) -> None:
        """Keep a remark for the model's ``source.notes``."""
        self.notes[text] = None


def same_time(layer: Layer, tensors: Iterable[Tensor]) -> None:
    """Raise UnsupportedError if some of the tensors run backwards in time, and others do not."""
    if len({tensor.backwards for tensor in tensors if tensor.kind is not Kind.SINGLE}) > 1:
        raise UnsupportedError(
            f"{layer.where}: got a sequence that go_backwards=True has reversed beside one in order; "
            "use Bidirectional, which reverses it back"
        )


def masked_as_called(layer: Layer, args: Arguments, tensor: Tensor) -> Tensor:
    """Return the sequence that a layer reads with a mask, with the mask that its call names, if it names one."""
    explicit = args.named.get("mask")
    if isinstance(explicit, Tensor):
        if explicit.kind is not Kind.MASK or explicit.value == NOWHERE:
            raise layer.unsupported("a mask that is not made by Masking or mask_zero", "use one of these layers")
        tensor = replace(tensor, mask=None if explicit.value == EVERYWHERE else explicit.value)
    check_mask_order(layer, tensor)
    return tensor


def check_mask_order(layer: Layer, tensor: Tensor) -> None:
    """Raise UnsupportedError for a masked sequence in reverse order: Keras leaves its mask in order."""
    if tensor.backwards and tensor.mask is not None:
        raise layer.unsupported(
            "a masked sequence that go_backwards=True has reversed, with a mask that Keras leaves in order",
            "use Bidirectional, which reverses the sequence back",
            DesignReason.FAULTY_SOURCE,
        )
