"""Builds a network from a state dict and the description of its layers."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from grurt.array_types import Array
from grurt.converters.arrays.conventions import as_pytorch
from grurt.converters.arrays.gathering import gather
from grurt.converters.compact import KEYWORDS
from grurt.converters.description import Description, LayerDescription
from grurt.converters.kinds import KINDS, Kind, Module, Options
from grurt.converters.layer_builder import Names
from grurt.converters.torch.assembly.left_over import (
    check_all_used,
    notes_on_the_rest,
    notes_on_what_is_left,
    unused,
)
from grurt.converters.torch.assembly.modules import ROOT, group_by_module, module_kind, names_by_module, names_of
from grurt.converters.torch.assembly.suggestion import no_description
from grurt.converters.torch.checkpoint.state_dict import Beside, StateDict, Together
from grurt.errors import DescriptionError, ModelError
from grurt.network.inputs import Input, Output
from grurt.network.layers import GRU, Activation, AnyLayer, Concat, FirstStep, LastStep, Slice, Unfold
from grurt.network.network import Network, Source

_USES, _ALWAYS = 4, 1 << 20
"""How many times the numbers of the file the weights of the layers may have, and how many in any case."""


def network_of_state_dict(state_dict: StateDict, description: Description | None, file: str) -> Network:
    """Return the network of a state dict that was read from a file of that name; what is left out is noted."""
    source = Source(format=state_dict.format, file=file, notes=tuple(notes_on_the_rest(state_dict)))
    return network_of_weights(state_dict, description, source, prefix=state_dict.prefix, beside=state_dict.beside)


def network_of_weights(
    tensors: Mapping[str, Array],
    description: Description | None,
    source: Source,
    *,
    prefix: str = "",
    beside: Beside | None = None,
) -> Network:
    """Return the network of the described layers with the state dict's weights.

    Parameters
    ----------
    tensors
        The state dict.
    description
        Its layers; None raises the error that shows how to write one.
    source
        Where the tensors came from.
    prefix
        What was taken off the tensors' names: the description may still have it on its modules' names.
    beside
        Arrays that are no part of the state dict, but that the description may name.

    Raises
    ------
    DescriptionError
        If the description does not fit the tensors, or leaves some of them over.
    """
    beside = beside or Beside()
    if description is None:
        raise no_description(tensors, beside, lambda trial: _left_over(tensors, trial))
    builder = _built(tensors, description, prefix, beside)
    check_all_used(tensors, beside, builder.used, description.ignore, prefix)
    builder.notes |= dict.fromkeys(notes_on_what_is_left(description.ignore, beside, builder.used))
    return builder.network(description, source)


def _built(tensors: Mapping[str, Array], description: Description, prefix: str, beside: Beside) -> _Builder:
    builder = _Builder(tensors, prefix, [port.name for port in description.inputs] or ["x"], beside)
    builder.sizes |= {port.name: port.size for port in description.inputs}
    for layer in description.layers:
        builder.add(layer)
    return builder


def _left_over(tensors: Mapping[str, Array], description: Description) -> list[str]:
    """Return the tensors that a description does not use; raise DescriptionError if it does not fit the others."""
    builder = _built(tensors, description, "", Beside())
    builder.network(description, Source(format="trial"))
    return unused(tensors, builder.used)


class _Builder:
    """The layers so far, and the names that descriptions know their values by."""

    def __init__(self, tensors: Mapping[str, Array], prefix: str, inputs: list[str], beside: Beside) -> None:
        self.tensors = tensors
        self.arrays = Together(tensors, beside)
        self.beside = names_by_module(beside)
        self.prefix = prefix
        self.modules = group_by_module(tensors)
        self.names = Names(inputs)
        self.layers: list[AnyLayer] = []
        self.by_name: dict[str, AnyLayer] = {}
        self.module_of: dict[str, str] = {}
        self.weights: dict[str, Array] = {}
        self.values = {name: name for name in inputs}
        self.previous = inputs[0]
        self.room = _ALWAYS + _USES * sum(array.size for array in tensors.values())
        self.sizes: dict[str, int] = {}
        self.used: set[str] = set()
        self.notes: dict[str, None] = {}

    def add(self, item: LayerDescription) -> None:
        """Append the layers of one description."""
        path = item.module.removeprefix(self.prefix)
        kind = item.kind or self.infer_kind(path, item)
        _check_options(item, kind, f"layer {path or kind!r}")
        name = item.name or path
        if not item.name and (path not in self.modules or path == ROOT):
            name = self.names.unique(path.strip(ROOT) or kind)
        self.names.take(name)
        inputs = tuple(self.value(source) for source in item.inputs) or (self.previous,)
        if kind == "final_state":
            self.add_final_state(name, inputs[0])
        elif kind == "final_states":
            self.add_final_states(name, inputs[0])
        elif KINDS[kind].parameters:
            self.add_module(kind, path, name, inputs, item)
        elif kind == "activation" and not item.functions:
            raise DescriptionError(f"layer {name!r}: expected functions, got none; write for example :relu")
        else:
            self.convert(KINDS[kind], Module(path, name, inputs, item, {}, input_size=self.sizes.get(inputs[0])))
        for position, function in enumerate(item.functions):
            alone = kind == "activation" and position == 0
            activation = name if alone else self.names.unique(f"{name}.{function.name}")
            sources = inputs if alone else (self.previous,)
            self.append(Activation(name=activation, inputs=sources, function=function))
        self.values[name] = self.previous

    def append(self, layer: AnyLayer) -> None:
        self.names.take(layer.name)
        self.layers.append(layer)
        self.by_name[layer.name] = layer
        self.previous = layer.name
        if (size := _output_size(layer, self.sizes)) is not None:
            self.sizes[layer.name] = size

    def convert(self, kind: Kind, module: Module) -> None:
        """Append the layers of a module."""
        for layer, weights in kind.convert(module):
            self.append(layer)
            self.module_of[layer.name] = module.name
            self.room -= sum(array.size for array in weights.values())
            if self.room < 0:
                raise DescriptionError(
                    f"layer {module.name!r}: expected each module about once, got them so often that their weights are "
                    f"{_USES} times those of the file; leave layers out"
                )
            self.weights |= {f"{layer.name}.{parameter}": array for parameter, array in weights.items()}
        self.notes |= dict.fromkeys(module.notes)

    def infer_kind(self, path: str, item: LayerDescription) -> str:
        if item.arrays:
            raise DescriptionError(
                f"layer {path!r}: expected its kind beside the names of its arrays, got none; "
                f"write for example {path or 'fc'}(linear, weight=..., bias=...)"
            )
        if path in self.modules or (path in self.beside and path not in KEYWORDS):
            return module_kind(path, self.tensors_of(path))
        if path in KEYWORDS:
            return KEYWORDS[path]
        raise DescriptionError(
            f"layer {path!r}: expected a module, got none of that name among {names_of(self.modules)}"
        )

    def add_module(self, kind: str, path: str, name: str, inputs: tuple[str, ...], item: LayerDescription) -> None:
        if path not in self.modules and not item.arrays and path not in self.beside:
            raise DescriptionError(f"layer {path!r}: expected a module, got none among {names_of(self.modules)}")
        where = f"layer {path or name!r}"
        given, used = (
            gather(kind, item, self.arrays, self.prefix, where) if item.arrays else (self.tensors_of(path), set())
        )
        state = None if item.initial_state is None else self.initial_state(item.initial_state)
        tensors = as_pytorch(kind, given, item, where)
        inferred, followed = item.kind is None, bool(item.functions)
        module = Module(path or name, name, inputs, item, tensors, state, inferred=inferred, followed=followed)
        self.convert(KINDS[kind], module)
        taken_apart = given.keys() & set(KINDS[kind].parameters) if item.joined else set()
        own = set() if item.arrays else module.used | taken_apart
        self.used |= used | {parameter if path == ROOT else f"{path}.{parameter}" for parameter in own}

    def tensors_of(self, path: str) -> Mapping[str, Array]:
        """Return the tensors of a module, or the arrays that lie under its name beside the weights."""
        if path in self.modules:
            return self.modules[path]
        return {name.rpartition(".")[2]: self.arrays[name] for name in self.beside[path]}

    def initial_state(self, name: str) -> Array | str:
        """Return a tensor; or, if there is none of that name, the value of an earlier description."""
        name = name.removeprefix(self.prefix)
        if name in self.arrays:
            self.used.add(name)
            return self.arrays[name]
        if name not in self.values:
            raise DescriptionError(f"initial_state: expected a tensor or an earlier layer, got none called {name!r}")
        return self.values[name]

    def add_final_state(self, name: str, source: str) -> None:
        """Append the last hidden state of a GRU: of a reverse one, that is its value at the first timestep."""
        directions = self._directions(source)
        steps: list[str] = []
        for gru in directions:
            if gru is None or gru.final_state_at is None:
                raise DescriptionError(f"layer {name!r}: expected the final state of a GRU, but {source!r} is none")
            step, direction = (LastStep, "forward") if gru.final_state_at == "last" else (FirstStep, "reverse")
            steps.append(f"{name}.{direction}" if len(directions) > 1 else name)
            self.append(step(name=steps[-1], inputs=(gru.name,)))
        if len(steps) > 1:
            self.append(Concat(name=name, inputs=tuple(steps)))

    def add_final_states(self, name: str, source: str) -> None:
        """Append the last hidden states of all layers of a GRU, side by side."""
        stack = [source]
        while (gru := self._directions(stack[-1])[0]) is not None:
            if not isinstance(gru, GRU) or self.module_of.get(gru.inputs[0]) != self.module_of[source]:
                break
            stack.append(gru.inputs[0])
        names = [f"{name}.l{level}" for level in range(len(stack))] if len(stack) > 1 else [name]
        for each, layer in zip(names, reversed(stack), strict=True):
            self.add_final_state(each, layer)
        if len(names) > 1:
            self.append(Concat(name=name, inputs=tuple(names)))

    def _directions(self, source: str) -> list[AnyLayer | None]:
        """Return the layers that give a value: a GRU, or its two directions, where they are side by side in it."""
        layer = self.by_name.get(source)
        return [self.by_name.get(part) for part in layer.inputs] if isinstance(layer, Concat) else [layer]

    def unfolded_input(self) -> list[Input]:
        """Return the input of a model that begins with windows of it: the layers that read these say its size."""
        if not self.layers or not isinstance(unfold := self.layers[0], Unfold):
            return []
        readers = [layer for layer in self.layers if layer.inputs[0] == unfold.name]
        sizes = [layer.stop for layer in readers if isinstance(layer, Slice)]
        sizes += [first.size for layer in readers if (first := layer.first_input("")) is not None]
        return [Input(unfold.inputs[0], max(sizes) // unfold.kernel_size)] if sizes else []

    def value(self, name: str) -> str:
        """Return the value of the description or model input of that name."""
        if name.removeprefix(self.prefix) not in self.values:
            raise DescriptionError(
                f"expected the name of an earlier layer, got {name!r}; there are {names_of(self.values)}"
            )
        return self.values[name.removeprefix(self.prefix)]

    def network(self, description: Description, source: Source) -> Network:
        """Return the layers and weights as a network."""
        try:
            return Network(
                layers=self.layers,
                weights=self.weights,
                inputs=description.inputs or self.unfolded_input(),
                outputs=[Output(output.name, self.value(output.value)) for output in description.outputs],
                source=msgspec.structs.replace(source, notes=(*source.notes, *self.notes)),
            )
        except ModelError as error:
            raise DescriptionError(
                f"layers: expected a description that fits the weights, got one that does not: {error}; "
                "check which layers there are, and in which order"
            ) from error


def _output_size(layer: AnyLayer, sizes: Mapping[str, int]) -> int | None:
    """Return how many features a layer gives, from those of other values; None where that does not follow."""
    first = layer.first_input(layer.inputs[0])
    given = [sizes.get(name) for name in layer.inputs]
    if given[0] is None and first is not None:
        given[0] = first.size
    known = tuple(size for size in given if size is not None)
    try:
        return layer.value_size(known) if len(known) == len(given) else None
    except ModelError:  # of which the network says more, when it is whole
        return None


def _check_options(item: LayerDescription, kind: str, where: str) -> None:
    """Raise DescriptionError for an option that the kind does not have."""
    for option in Options.__struct_fields__:
        if getattr(item, option) is None or (kind in KINDS and option in KINDS[kind].options):
            continue
        *others, last = [other.name for other in KINDS.values() if option in other.options]
        having = f"{', '.join(others)} and {last}" if others else last
        raise DescriptionError(f"{where}: {option} is an option of {having}, not {kind}")
