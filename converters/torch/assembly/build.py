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
from grurt.converters.torch.assembly.modules import ROOT, group_by_module, module_kind, names_of
from grurt.converters.torch.assembly.suggestion import no_description
from grurt.errors import DescriptionError, ModelError
from grurt.network.inputs import Input, Output
from grurt.network.layers import Activation, AnyLayer, Concat, FirstStep, LastStep, Slice, Unfold
from grurt.network.network import Network, Source

_UNUSED_BUFFER = "num_batches_tracked"
"""Counts the training's batches: no layer needs it."""

_USES, _ALWAYS = 4, 1 << 20
"""How many times the numbers of the file the weights of the layers may have, and how many in any case."""


def network_of_weights(
    tensors: Mapping[str, Array], description: Description | None, source: Source, *, prefix: str = ""
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

    Raises
    ------
    DescriptionError
        If the description does not fit the tensors, or leaves some of them over.
    """
    if description is None:
        raise no_description(tensors)
    builder = _Builder(tensors, prefix, [port.name for port in description.inputs] or ["x"])
    builder.sizes |= {port.name: port.size for port in description.inputs}
    for layer in description.layers:
        builder.add(layer)
    builder.check_all_used(description.ignore)
    if description.ignore:
        builder.notes[f"left out, as the description says: {names_of(description.ignore)}"] = None
    try:
        return Network(
            layers=builder.layers,
            weights=builder.weights,
            inputs=description.inputs or builder.unfolded_input(),
            outputs=[Output(output.name, builder.value(output.value)) for output in description.outputs],
            source=msgspec.structs.replace(source, notes=(*source.notes, *builder.notes)),
        )
    except ModelError as error:
        raise DescriptionError(
            f"layers: expected a description that fits the weights, got one that does not: {error}; "
            "check which layers there are, and in which order"
        ) from error


class _Builder:
    """The layers so far, and the names that descriptions know their values by."""

    def __init__(self, tensors: Mapping[str, Array], prefix: str, inputs: list[str]) -> None:
        self.tensors = tensors
        self.prefix = prefix
        self.modules = group_by_module(tensors)
        self.names = Names(inputs)
        self.layers: list[AnyLayer] = []
        self.by_name: dict[str, AnyLayer] = {}
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
        if path in self.modules:
            return module_kind(path, self.modules[path])
        if path in KEYWORDS:
            return KEYWORDS[path]
        raise DescriptionError(
            f"layer {path!r}: expected a module, got none of that name among {names_of(self.modules)}"
        )

    def add_module(self, kind: str, path: str, name: str, inputs: tuple[str, ...], item: LayerDescription) -> None:
        if path not in self.modules and not item.arrays:
            raise DescriptionError(f"layer {path!r}: expected a module, got none among {names_of(self.modules)}")
        where = f"layer {path or name!r}"
        given, used = (
            gather(kind, item, self.tensors, self.prefix, where) if item.arrays else (self.modules[path], set())
        )
        state = None if item.initial_state is None else self.initial_state(item.initial_state)
        tensors = as_pytorch(kind, given, item, where)
        module = Module(path or name, name, inputs, item, tensors, state, inferred=item.kind is None)
        self.convert(KINDS[kind], module)
        own = set() if item.arrays else module.used
        self.used |= used | {parameter if path == ROOT else f"{path}.{parameter}" for parameter in own}

    def initial_state(self, name: str) -> Array | str:
        """Return a tensor; or, if there is none of that name, the value of an earlier description."""
        name = name.removeprefix(self.prefix)
        if name in self.tensors:
            self.used.add(name)
            return self.tensors[name]
        if name not in self.values:
            raise DescriptionError(f"initial_state: expected a tensor or an earlier layer, got none called {name!r}")
        return self.values[name]

    def add_final_state(self, name: str, source: str) -> None:
        """Append the last hidden state of a GRU: of a reverse one, that is its value at the first timestep."""
        layer = self.by_name.get(source)
        directions = [self.by_name.get(part) for part in layer.inputs] if isinstance(layer, Concat) else [layer]
        steps: list[str] = []
        for gru in directions:
            if gru is None or gru.final_state_at is None:
                raise DescriptionError(f"layer {name!r}: expected the final state of a GRU, but {source!r} is none")
            step, direction = (LastStep, "forward") if gru.final_state_at == "last" else (FirstStep, "reverse")
            steps.append(f"{name}.{direction}" if len(directions) > 1 else name)
            self.append(step(name=steps[-1], inputs=(gru.name,)))
        if len(steps) > 1:
            self.append(Concat(name=name, inputs=tuple(steps)))

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

    def check_all_used(self, ignore: tuple[str, ...]) -> None:
        """Raise DescriptionError for tensors that no layer uses, and for an ``ignore`` that names none."""
        patterns = {pattern.removeprefix(self.prefix): pattern for pattern in ignore}
        ignored = {name: patterns.keys() & _names_around(name) for name in self.tensors} if patterns else {}
        met = {pattern for found in ignored.values() for pattern in found}
        for name, pattern in patterns.items():
            if name not in met:
                raise DescriptionError(f"ignore({pattern}): expected a tensor or module, got none of that name")
        unused = [
            name
            for name in self.tensors
            if name not in self.used and not name.endswith(_UNUSED_BUFFER) and not ignored.get(name)
        ]
        if unused:
            raise DescriptionError(
                f"layers: expected every tensor in a layer, got {len(unused)} that none uses: "
                f"{', '.join(unused[:20])}{', ...' if len(unused) > 20 else ''}; describe their layers, "
                f"or say that they are not needed: ignore({unused[0]})"
            )


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


def _names_around(name: str) -> set[str]:
    """Return the names under which a tensor can be ignored: its own, and those of the modules that it is in."""
    return {name} | {name[:position] for position, character in enumerate(name) if character == "."}


def _check_options(item: LayerDescription, kind: str, where: str) -> None:
    """Raise DescriptionError for an option that the kind does not have."""
    for option in Options.__struct_fields__:
        if getattr(item, option) is None or (kind in KINDS and option in KINDS[kind].options):
            continue
        kinds = [other.name for other in KINDS.values() if option in other.options]
        raise DescriptionError(f"{where}: {option} is an option of {' and '.join(kinds)}, not {kind}")
