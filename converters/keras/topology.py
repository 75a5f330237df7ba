"""Reads which layers a Keras model has, and how they are called: Sequential and functional models of Keras 1 to 3."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from grurt.converters.keras.values import Layer
from grurt.converters.keras.weights import object_keys
from grurt.errors import ConversionError, DesignReason, UnsupportedError

MODELS = ("Sequential", "Functional", "Model")

_MAX_CLASS = 100
_CONSTANT = "_CONSTANT_VALUE"
"""Stands for a layer where a function of TensorFlow is called with a number before a tensor."""

MAX_CALLS = 1 << 14
"""How many calls of layers a model may consist of, with those inside of models that are called several times."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One of the tensors that a call of a layer returns: the layer's name, the call's number, the tensor's."""

    layer: str
    call: int
    index: int


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a layer, with references in place of tensors."""

    layer: str
    number: int
    positional: tuple[Any, ...]
    named: Mapping[str, Any]


@dataclass(frozen=True)
class Topology:
    """A model's layers as they are described, by name and in order; their calls; its inputs and outputs."""

    layers: Mapping[str, Mapping[str, Any]]
    calls: tuple[Call, ...]
    inputs: tuple[Reference, ...]
    outputs: tuple[Reference, ...]

    @cached_property
    def keys(self) -> Mapping[str, str]:
        """The names under which a file in Keras 3's layout has the layers' weights, by those of the layers."""
        classes = (
            str(item.get("class_name"))[:_MAX_CLASS] if ".ops." not in str(item.get("module")) else ""
            for item in self.layers.values()
        )
        return dict(zip(self.layers, object_keys(classes), strict=True))

    @cached_property
    def ordered(self) -> tuple[tuple[Call, ...], Call | None]:
        """The calls, each after those that give its arguments, and the first that nothing gives its arguments to.

        That is the order in which they are found by going through the list again and again.
        """
        makers = {(call.layer, call.number): position for position, call in enumerate(self.calls)}
        given = {(source.layer, source.call) for source in self.inputs}
        needed = [self._makers(call, makers, given) for call in self.calls]
        readers: list[list[int]] = [[] for _ in self.calls]
        for position, sources in enumerate(needed):
            for source in sources:
                if source >= 0:
                    readers[source].append(position)
        missing = [len(sources) for sources in needed]
        turns = [0] * len(self.calls)
        ready = [position for position, count in enumerate(missing) if count == 0]
        for position in ready:  # grows while it is read
            for reader in readers[position]:
                turns[reader] = max(turns[reader], turns[position] + (position > reader))
                missing[reader] -= 1
                if missing[reader] == 0:
                    ready.append(reader)
        order = sorted(ready, key=lambda position: (turns[position], position))
        blocked = next((call for call, count in zip(self.calls, missing, strict=True) if count > 0), None)
        return tuple(self.calls[position] for position in order), blocked

    @staticmethod
    def _makers(call: Call, makers: Mapping[tuple[str, int], int], given: set[tuple[str, int]]) -> set[int]:
        """Return the positions of the calls that a call waits for; -1 among them if it waits for ever."""
        sources = {(source.layer, source.call) for source in references([call.positional, call.named])}
        return {makers.get(source, -1) for source in sources - given}


def read_topology(model: Layer) -> Topology:
    """Return the topology of a model.

    Raises
    ------
    ConversionError
        If its configuration is damaged.
    UnsupportedError
        If it is a subclass of ``keras.Model``, whose layers are code.
    """
    if model.kind not in MODELS:
        raise UnsupportedError(
            f"{model.where}: got a model of one's own, which is code; build it with keras.Sequential or the "
            "functional API, set its weights, and save that",
            reason=DesignReason.OWN_CODE,
        )
    if "layers" not in model.config:
        raise model.unsupported(
            "no layers in its configuration, as of a subclassed model", "save a functional model", DesignReason.OWN_CODE
        )
    described = model.config.get("layers")
    if not isinstance(described, list) or not described:
        raise model.invalid("expected a list of layers, got none")
    layers: dict[str, Mapping[str, Any]] = {}
    for item in described:
        name = _name(item)
        if name is None or name in layers:
            raise model.invalid(f"expected layers with a name each, got {str(item)[:100]}")
        layers[name] = item
    model.config.skip("build_input_shape")
    if model.kind == "Sequential":
        return _sequential(layers)
    found = (call for name, item in layers.items() for call in _calls(model, name, item))
    calls = tuple(itertools.islice(found, MAX_CALLS + 1))
    if len(calls) > MAX_CALLS:
        raise too_many_calls()
    inputs = _endpoints(model, model.config.get("input_layers"))
    outputs = _endpoints(model, model.config.get("output_layers"))
    return _renumbered(model, Topology(layers, calls, inputs, outputs))


def _renumbered(model: Layer, topology: Topology) -> Topology:
    """Return the topology with calls numbered from 0, also those of nested models.

    Such a model counts its own making as call 0. Keras 1 and 2 write the numbers of its calls like that, from 1 on;
    Keras 3 does so only where it names the outputs of the outer model.
    """
    classes = {name: str(item.get("class_name")) for name, item in topology.layers.items()}
    if model.version.major >= 3:
        outputs = (
            replace(source, call=source.call - 1) if classes.get(source.layer) == "Functional" else source
            for source in topology.outputs
        )
        return replace(topology, outputs=tuple(outputs))
    first: dict[str, int] = {}
    for source in (*references([(call.positional, call.named) for call in topology.calls]), *topology.outputs):
        if classes.get(source.layer) in MODELS:
            first[source.layer] = min(source.call, first.get(source.layer, source.call))
    calls = (replace(call, number=call.number + first.get(call.layer, 0)) for call in topology.calls)
    return replace(topology, calls=tuple(calls))


def references(value: Any) -> Iterator[Reference]:
    """Yield the references in the arguments of calls, in no order."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, Reference):
            yield item
        elif isinstance(item, Mapping):
            stack += item.values()
        elif isinstance(item, list | tuple):
            stack += item


def too_many_calls() -> UnsupportedError:
    """Return the error for a model of too many calls."""
    return UnsupportedError(
        f"got a model of more than {MAX_CALLS} calls of layers; convert a part of it", reason=DesignReason.SIZE
    )


def _name(item: Any) -> str | None:
    config = item.get("config") if isinstance(item, Mapping) else None
    for found in (config.get("name") if isinstance(config, Mapping) else None, item.get("name") if config else None):
        if isinstance(found, str):
            return found
    return None


def _sequential(layers: Mapping[str, Mapping[str, Any]]) -> Topology:
    names = list(layers)
    if layers[names[0]].get("class_name") != "InputLayer":
        layers = {"": {"class_name": "InputLayer", "config": {}}, **layers}
        names.insert(0, "")
    calls = tuple(Call(name, 0, (Reference(before, 0, 0),), {}) for before, name in itertools.pairwise(names))
    return Topology(layers, calls, (Reference(names[0], 0, 0),), (Reference(names[-1], 0, 0),))


def _calls(model: Layer, name: str, item: Mapping[str, Any]) -> Iterator[Call]:
    nodes = item.get("inbound_nodes", [])
    if not isinstance(nodes, list):
        raise model.invalid(f"expected the calls of {name!r} in a list, got {type(nodes).__name__}")
    for number, node in enumerate(nodes):
        if isinstance(node, Mapping):
            named = node.get("kwargs") or {}
            if not isinstance(node.get("args"), list) or not isinstance(named, Mapping):
                raise model.invalid(f"expected arguments of {name!r}, got {str(node)[:100]}")
            yield Call(name, number, tuple(map(_resolved, node["args"])), {k: _resolved(v) for k, v in named.items()})
        else:
            yield _old_call(model, name, number, node)


def _resolved(value: Any) -> Any:
    """Return an argument of Keras 3 with references in place of tensors."""
    if isinstance(value, list):
        return [_resolved(item) for item in value]
    if isinstance(value, Mapping) and value.get("class_name") == "__keras_tensor__":
        config = value.get("config")
        return _reference(config.get("keras_history") if isinstance(config, Mapping) else None)
    return value


def _old_call(model: Layer, name: str, number: int, node: Any) -> Call:
    """Return a call of Keras 1 or 2: a list of ``[layer, call, tensor]``, maybe with arguments by name as a fourth."""
    if not isinstance(node, list) or not node:
        raise model.invalid(f"expected the inputs of {name!r}, got {str(node)[:100]}")
    items = [node] if isinstance(node[0], str) else node
    references: list[Any] = []
    named: dict[str, Any] = {}
    for item in items:
        if (
            not isinstance(item, list)
            or len(item) not in (3, 4)
            or (len(item) == 4 and not isinstance(item[3], Mapping))
        ):
            raise model.unsupported(f"the input {str(item)[:100]} of {name!r}", "only tensors can be given to a layer")
        references.append(item[2] if item[:2] == [_CONSTANT, -1] else _reference(item[:3]))
        named |= {key: _old_argument(value) for key, value in (item[3] if len(item) == 4 else {}).items()}
    return Call(name, number, (references,) if len(references) > 1 else tuple(references), named)


def _old_argument(value: Any) -> Any:
    if isinstance(value, list):
        if len(value) == 3 and isinstance(value[0], str) and isinstance(value[1], int):
            return _reference(value)
        return [_old_argument(item) for item in value]
    return value


def _reference(history: Any) -> Reference:
    if isinstance(history, list) and len(history) == 3 and isinstance(history[0], str):
        call, index = history[1:]
        if isinstance(call, int) and isinstance(index, int) and call >= 0 and index >= 0:
            return Reference(history[0], call, index)
    raise ConversionError(f"expected a tensor as [layer, call, index], got {str(history)[:100]}; the file is damaged")


def _endpoints(model: Layer, value: Any) -> tuple[Reference, ...]:
    """Return the inputs or outputs of a functional model: one, a list, or a dict, which Keras goes through by name."""
    if isinstance(value, Mapping):
        value = [value[name] for name in sorted(value)]
    if not isinstance(value, list) or not value:
        raise model.invalid(f"expected inputs and outputs, got {str(value)[:100]}")
    return tuple(_reference(item) for item in ([value] if isinstance(value[0], str) else value))
