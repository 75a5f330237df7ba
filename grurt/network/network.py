"""A network: layers and weights, checked against each other, immutable. Everything that computes is above it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, wraps
from types import MappingProxyType
from typing import TYPE_CHECKING, Self, TypeVar
from weakref import ref

import msgspec
import numpy as np

from grurt.errors import ModelError
from grurt.escaping import listed
from grurt.network.costs import Costs, Limits, costs
from grurt.network.frozen import FrozenArrays, frozen, place
from grurt.network.inputs import AnyInput, Output
from grurt.network.reference_run import ReferenceRun, check_reference_run
from grurt.network.signature import Signature, StatePort, default_signature
from grurt.network.signature_checks import check_signature
from grurt.network.stages import check_handed_states, check_lengths, check_memories
from grurt.network.text import printable
from grurt.network.value import Value
from grurt.network.values import (
    check_weights,
    connect,
    context_shapes,
    infer_values,
    state_shapes,
    typed,
    typed_layers,
    unstreamable_reason,
    weight_dtypes,
)
from grurt.network.vocabulary import Vocabulary

if TYPE_CHECKING:
    from typing import TypedDict, Unpack

    from numpy.typing import ArrayLike

    from grurt.array_types import Array
    from grurt.errors import DesignReason
    from grurt.network.layers import AnyLayer
    from grurt.network.layers.base import Shape

    class Parts(TypedDict, total=False):
        """What a network is made of: the arguments of `Network`."""

        layers: Iterable[AnyLayer]
        weights: Mapping[str, ArrayLike]
        inputs: Iterable[AnyInput]
        outputs: Iterable[Output]
        signature: Signature | None
        source: Source | None
        reference_run: ReferenceRun | None
        limits: Limits | None
        vocabularies: Mapping[str, Vocabulary]


T = TypeVar("T")


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a model came from: kept in its file, and shown by ``grurt inspect``.

    ``format`` is for example ``"onnx"``, ``producer`` what the file says wrote it, ``file`` its name without folders,
    ``notes`` what the converter changed or repaired. Characters that are not printable are replaced.
    """

    format: str
    producer: str = ""
    file: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("format", "producer", "file"):
            msgspec.structs.force_setattr(self, name, printable(getattr(self, name)))
        msgspec.structs.force_setattr(self, "notes", tuple(printable(note) for note in self.notes))


class Network:
    """Layers in order, and their weights: data that never change. `grurt.Model` adds what can be done with them.

    Parameters, errors and what is copied: see `grurt.Model`.

    Examples
    --------
    >>> import numpy as np
    >>> import grurt
    >>> layer = grurt.GRU(name="gru", input_size=2, hidden_size=4, bias=False)
    >>> network = grurt.Network(
    ...     layers=[layer], weights={"gru.weight_ih": np.ones((12, 2)), "gru.weight_hh": np.ones((12, 4))}
    ... )
    >>> network.values["gru"].size, network.state_shapes
    (4, mappingproxy({'gru': (4,)}))
    """

    inputs: tuple[AnyInput, ...]
    layers: tuple[AnyLayer, ...]
    outputs: tuple[Output, ...]
    weights: Mapping[str, Array]
    """Read-only arrays; at each access another object over the same memory, whose shape is nobody else's."""
    signature: Signature
    source: Source
    reference_run: ReferenceRun | None
    values: Mapping[str, Value]
    """Every value of the model by name, with its size."""
    state_shapes: Mapping[str, tuple[int, ...]]
    """Shapes of the states that its layers carry between timesteps, by name: the layer's, unless it has several."""
    context_shapes: Mapping[str, tuple[int, ...]]
    """Shapes of what a stream is given once, by name: see `grurt.StreamContext`."""
    costs: Costs
    """What it takes to run it."""
    limits: Limits
    """What that was allowed to be."""
    vocabularies: Mapping[str, Vocabulary]
    """What the tokens of its inputs stand for, by the inputs' names."""

    def __init__(
        self,
        *,
        layers: Iterable[AnyLayer],
        weights: Mapping[str, ArrayLike],
        inputs: Iterable[AnyInput] = (),
        outputs: Iterable[Output] = (),
        signature: Signature | None = None,
        source: Source | None = None,
        reference_run: ReferenceRun | None = None,
        limits: Limits | None = None,
        vocabularies: Mapping[str, Vocabulary] = MappingProxyType({}),
    ) -> None:
        parts: Parts = {
            "layers": layers,
            "weights": weights,
            "inputs": inputs,
            "outputs": outputs,
            "signature": signature,
            "source": source,
            "reference_run": reference_run,
            "limits": limits,
            "vocabularies": vocabularies,
        }
        self._take(parts, checked=())

    def replaced(self, **changes: Unpack[Parts]) -> Self:
        """Return the same with other layers, weights and so on.

        Parameters
        ----------
        changes
            Arguments of the constructor, to be used in place of what this network has. Arrays among the weights that
            are this network's own are shared, under whatever name: they are neither copied nor looked through again,
            unless a layer asks for another dtype. A signature and a reference run that do not fit the new layers,
            inputs or outputs have to be replaced with them; None is the default signature, and no reference run. What
            a source answered says nothing of other weights.

        Raises
        ------
        ModelError
            As the constructor.
        TypeError
            If the constructor has no such argument.

        Examples
        --------
        >>> import numpy as np
        >>> import grurt
        >>> from grurt.demo import load_model
        >>> model = load_model()
        >>> shown = model.replaced(outputs=[grurt.Output("state", "gru")], signature=None, reference_run=None)
        >>> shown.values["gru"].size, np.shares_memory(shown.weights["gru.weight_hh"], model.weights["gru.weight_hh"])
        (32, True)
        """
        parts: Parts = {
            "layers": self.layers,
            "weights": self.weights,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "signature": self.signature,
            "source": self.source,
            "reference_run": self.reference_run,
            "limits": self.limits,
            "vocabularies": self.vocabularies,
        }
        if unknown := sorted(changes.keys() - parts.keys()):
            raise TypeError(f"replaced: expected some of {', '.join(parts)}, got {', '.join(unknown)}")
        new = object.__new__(type(self))
        new._take(parts | changes, checked=self.weights.values())
        return new

    def _take(self, parts: Parts, checked: Iterable[Array]) -> None:
        """Become a network of these parts; arrays that are checked already are taken as they are."""
        layers = typed_layers(tuple(parts["layers"]))
        inputs = tuple(typed("inputs", tuple(parts["inputs"]), tuple[AnyInput, ...])) or _default_inputs(layers)
        layers = connect(inputs, layers)
        outputs = tuple(typed("outputs", tuple(parts["outputs"]), tuple[Output, ...]))
        outputs = outputs or tuple(Output("y", layer.name) for layer in layers[-1:])
        values = infer_values(inputs, layers, outputs)
        states = state_shapes(layers, values)
        contexts = context_shapes(layers, states)
        signature = parts["signature"] or default_signature(inputs, outputs, values, contexts)
        signature = typed("signature", signature, Signature)
        check_signature(signature, inputs, outputs, values, states, contexts)
        check_handed_states(signature, layers)
        check_lengths(signature, layers)
        check_memories(signature, layers)
        cost = costs(layers, values, states | contexts, outputs, signature)
        limits = parts["limits"] or Limits()
        limits.check(cost)
        if (run := parts["reference_run"]) is not None:
            opened = {name: axis for layer in layers for name, (axis, _) in layer.open_contexts().items()}
            check_reference_run(run, signature, outputs, values, states | contexts, dict.fromkeys(contexts) | opened)
        dtypes = weight_dtypes(layers)
        arrays = {name: _frozen(given, dtypes.get(name, "float32")) for name, given in parts["weights"].items()}
        check_weights(layers, arrays, {place(array) for array in checked})
        vocabularies = typed("vocabularies", dict(parts["vocabularies"]), dict[str, Vocabulary])
        for name, vocabulary in vocabularies.items():
            vocabulary.check_for(name, next((port for port in inputs if port.name == name), None))
        self.__dict__.update(
            inputs=inputs,
            layers=layers,
            outputs=outputs,
            weights=FrozenArrays(arrays),
            signature=signature,
            source=typed("source", parts["source"] or Source(format="grurt"), Source),
            reference_run=run,
            values=MappingProxyType(values),
            state_shapes=MappingProxyType(states),
            context_shapes=MappingProxyType(contexts),
            costs=cost,
            limits=limits,
            vocabularies=MappingProxyType(vocabularies),
        )

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a {type(self).__name__} is immutable: {name!r} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a {type(self).__name__} is immutable: {name!r} cannot be deleted")

    def __repr__(self) -> str:
        kinds = listed(layer.kind for layer in self.layers)
        return f"<grurt.{type(self).__name__} {kinds}: {self.parameter_count} parameters>"

    @cached_property
    def open_contexts(self) -> Mapping[str, tuple[int, str | None]]:
        """Axes along which contexts may be shorter than `context_shapes` says, and names of masks, by their names."""
        return {name: opened for layer in self.layers for name, opened in layer.open_contexts().items()}

    @cached_property
    def initial_shapes(self) -> Mapping[str, Shape]:
        """Shapes of what a sequence begins with, by name: states, and contexts, which every timestep reads."""
        return {**self.state_shapes, **self.context_shapes}

    @cached_property
    def reads_whole_sequences(self) -> bool:
        """Whether whole sequences are run at once, and not in blocks: layers read all timesteps together."""
        return any(layer.reads_whole_sequences for layer in self.layers)

    @cached_property
    def most_steps(self) -> int | None:
        """How many timesteps a stream of the model may have since its last reset; None: any number."""
        return min((layer.most_steps for layer in self.layers if layer.most_steps is not None), default=None)

    @property
    def parameter_count(self) -> int:
        """How many numbers the weights stand for: those of the float32 model, whatever they are kept in."""
        return sum(layer.parameter_count for layer in self.layers)

    @cached_property
    def unstreamable_reason(self) -> str | None:
        """Why the model cannot run one timestep at a time; None if it can."""
        return unstreamable_reason(self.layers, self.values) or self._feedback_fault

    @property
    def unstreamable_by_design(self) -> DesignReason | None:
        """By which of the reasons of design the model cannot run one timestep at a time; None if by none of them."""
        from grurt.errors import DesignReason

        if any(layer.unstreamable_reason for layer in self.layers):
            return DesignReason.WHOLE_SEQUENCE
        return DesignReason.FED_BACK_STATE if self.unstreamable_reason and self._feedback_fault else None

    @cached_property
    def _feedback_fault(self) -> str | None:
        if not any(isinstance(port, StatePort) for port in self.signature.inputs):
            return None
        from grurt.network.feedback import feedback_fault

        return feedback_fault(self.signature, self.layers, self.values, self.state_shapes, self.outputs)

    @cached_property
    def kept_inputs(self) -> frozenset[str]:
        """Names of the states that are inputs of the model as they were: finite where the inputs are."""
        inputs = {port.name for port in self.inputs}
        return self._states_of(layer for layer in self.layers if layer.keeps_input and layer.inputs[0] in inputs)

    @cached_property
    def unbounded_states(self) -> frozenset[str]:
        """Names of the states that can become infinite, or NaN, by what layers compute of finite inputs."""
        behind_poles: set[str] = set()
        for layer in self.layers:
            if layer.has_poles or not behind_poles.isdisjoint(layer.inputs):
                behind_poles.add(layer.name)
        unbounded = (
            layer
            for layer in self.layers
            if layer.has_unbounded_state or layer.keeps_input or layer.name in behind_poles
        )
        return self._states_of(unbounded) - self.kept_inputs

    def states_of(self, layer: AnyLayer) -> Mapping[str, Shape]:
        """Return the shapes of a layer's own states, by name."""
        return layer.state_shapes(self.values[layer.name].positions)

    def _states_of(self, layers: Iterable[AnyLayer]) -> frozenset[str]:
        return frozenset(name for layer in layers for name in self.states_of(layer))

    @property
    def vocabulary(self) -> Vocabulary:
        """What the tokens of its only input with a vocabulary stand for.

        Raises
        ------
        ModelError
            If there is none, or there are several: see `vocabularies`.
        """
        if len(self.vocabularies) != 1:
            raise ModelError(
                f"expected a model with one vocabulary, got {len(self.vocabularies)}: `grurt vocabulary`, or "
                "`Model.replaced(vocabularies=...)`, gives it one"
            )
        return next(iter(self.vocabularies.values()))

    @cached_property
    def fingerprint(self) -> bytes:
        """16 bytes that identify what the model computes: its inputs, layers, outputs and weights."""
        from grurt.network.fingerprint import fingerprint

        return fingerprint((*self.inputs, *self.layers, *self.outputs), self.weights)


N = TypeVar("N", bound=Network)


def once_per_network(function: Callable[[N], T]) -> Callable[[N], T]:
    """Have a function's results kept, one for each network, for as long as the network lives.

    A result must not hold the network itself. Threads that ask for one at the same time may all make it, and all get
    the same one.
    """
    kept: dict[int, tuple[ref[Network], T]] = {}

    @wraps(function)
    def of_network(network: N) -> T:
        key = id(network)
        entry = kept.get(key)
        if entry is None:
            result = function(network)
            entry = kept.setdefault(key, (ref(network, lambda _: kept.pop(key, None)), result))
        return entry[1]

    return of_network


def _default_inputs(layers: tuple[AnyLayer, ...]) -> tuple[AnyInput, ...]:
    first = layers[0].first_input("x") if layers else None
    if first is None:
        raise ModelError("the first layer does not say its input size: give the model's inputs")
    return (first,)


def _frozen(array: ArrayLike, dtype: str) -> Array:
    """Return a read-only array in a floating-point dtype; integers have to be integers, which is checked by name."""
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and is refused by name
        return frozen(array, dtype if dtype.startswith("float") else None)
