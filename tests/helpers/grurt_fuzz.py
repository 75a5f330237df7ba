"""Random ``.grurt`` files that are valid, or nearly: small, with much of what is costly, shared, grouped, reordered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import models
import msgspec
import numpy as np
from grurt_files import rewritten
from step_programs import random_step_program

import grurt
from grurt.container.header import Header, ReferenceRunHeader
from grurt.container.tensors import arranged, entries
from grurt.container.writing import container, encode
from grurt.network import functions
from grurt.network.axes import tensor_shape
from grurt.network.inputs import AnyInput
from grurt.network.layers import AnyLayer
from grurt.network.signature import Port, ValuePort, default_signature
from grurt.network.value import Value
from grurt.network.values import infer_values, state_shapes
from grurt.network.versions import file_version

MAX_WEIGHTS = 1 << 16
"""Bytes of a layer's weights, most of the time."""

_SIZES = (1, 1, 2, 3, 15, 16, 17, 48, 49, 64, 1 << 10, 1 << 14, 1 << 18, 1 << 20)
_COUNTS = (1, 1, 1, 2, 3, 20, 300)


class HostileFile:
    """A file whose description fits together, drawn from a generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.layers: list[AnyLayer] = []
        self.values: dict[str, Value] = {}
        self.states: dict[str, tuple[int, ...]] = {}
        self.inputs: list[AnyInput] = []
        for number in range(self._pick(_COUNTS[:5])):
            kind = grurt.TokenInput if rng.integers(4) == 0 else grurt.Input
            self.inputs.append(kind(f"x{number}", self._pick(_SIZES)))
        for _ in range(self._pick((1, 2, 3, 5, 8, 40))):
            self._add()
        if not self.layers:
            self.inputs = [grurt.Input("x", self._pick(_SIZES))]
            self.layers = [grurt.LastStep(name="l", inputs=("x",))]

    def _pick(self, choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def _coin(self) -> bool:
        return bool(self.rng.integers(2))

    def _add(self) -> None:
        """Add a layer, unless it does not fit or its weights would be large."""
        known = list(self.values) or [port.name for port in self.inputs]
        layer = self._layer(f"l{len(self.layers)}", [self._pick(known) for _ in range(self._pick((2, 3, 64)))])
        outputs = [grurt.Output("y", layer.name)]
        try:
            values = infer_values(self.inputs, [*self.layers, layer], outputs)
        except grurt.ModelError:
            if self.rng.integers(50):
                return
        else:
            self.values = values
        if _weight_bytes(layer) <= MAX_WEIGHTS or (self.rng.integers(50) == 0 and _weight_bytes(layer) < 1 << 20):
            self.layers.append(layer)

    def _layer(self, name: str, sources: list[str]) -> AnyLayer:
        inputs = (sources[0],)
        source = self.values.get(sources[0])
        size = source.size if source else next(port.size for port in self.inputs if port.name == sources[0])
        of = {"name": name, "inputs": inputs}
        other = self._pick(_SIZES)
        match int(self.rng.integers(18)):
            case 0 | 1:
                return self._gru(name, inputs, size)
            case 2 | 3:
                weights = self._pick(("float32", "float16", "int8"))
                return grurt.Linear(input_size=size, output_size=other, bias=self._coin(), weight_format=weights, **of)
            case 4:
                return grurt.LayerNorm(size=size, weight=self._coin(), bias=self._coin(), **of)
            case 5:
                return grurt.RMSNorm(size=size, weight=self._coin(), **of)
            case 6:
                return grurt.BatchNorm(size=size, **of)
            case 7 | 8:
                return self._conv1d(name, inputs, size)
            case 9:
                return self._pick((grurt.Add, grurt.Mul))(name=name, inputs=(sources[0],) * len(sources))
            case 10:
                return grurt.Concat(name=name, inputs=tuple(sources))
            case 11:
                start = int(self.rng.integers(size))
                return grurt.Slice(start=start, stop=size, **of)
            case 12:
                return grurt.Unflatten(positions=self._pick((1, 2, 16, size)), **of)
            case 13:
                return grurt.Flatten(**of)
            case 14:
                return self._pick((grurt.LastStep, grurt.FirstStep, grurt.FeatureMask, grurt.TokenMask))(**of)
            case 15:
                return grurt.PRelu(size=size, **of)
            case 16:
                return grurt.Embedding(vocabulary_size=size, size=other, **of)
        return grurt.Activation(function=self._pick(models.ALL_FUNCTIONS), **of)

    def _gru(self, name: str, inputs: tuple[str, ...], size: int) -> grurt.GRU:
        return grurt.GRU(
            name=name,
            inputs=inputs,
            input_size=size,
            hidden_size=self._pick((1, 1, 2, 16, 17, 60)),
            direction=self._pick(("forward", "forward", "reverse")),
            linear_before_reset=self._coin(),
            bias=self._coin(),
            initial_state=self._pick(("zeros", "learned")),
            scan=self._pick(("time", "positions")),
            gate_activation=self._pick((functions.Sigmoid(), functions.HardSigmoid(0.2, 0.5))),
            weight_format=self._pick(("float32", "float16", "int8", "int4")),
        )

    def _conv1d(self, name: str, inputs: tuple[str, ...], size: int) -> grurt.Conv1d:
        groups = self._pick((1, 1, size, max(1, size // 2)))
        return grurt.Conv1d(
            name=name,
            inputs=inputs,
            input_size=size,
            output_size=groups * self._pick((1, 1, 2, 17)),
            kernel_size=self._pick((1, 1, 2, 3, 100)),
            dilation=self._pick((1, 2, 1000, 1 << 18)),
            groups=groups,
            bias=self._coin(),
            weight_format=self._pick(("float32", "float32", "float16", "int8")),
        )

    def encoded(self) -> bytes:
        """Return the file, at times with its parts reordered, its description damaged, or without a digest."""
        outputs = self._outputs()
        try:
            values = infer_values(self.inputs, self.layers, outputs)
            self.states = state_shapes(self.layers, values)
            signature = default_signature(self.inputs, outputs, values, {})
            signature = msgspec.structs.replace(signature, outputs=self._ports(signature.outputs))
            if self._coin():
                signature = self._of_a_timestep(signature, values)
            arrays = self._reference_run(signature, outputs, values) if self.rng.integers(4) == 0 else {}
        except (grurt.ModelError, KeyError):
            signature, arrays = grurt.Signature((), ()), {}
        header = Header(
            version=file_version(self.layers, self.inputs, signature),
            inputs=tuple(self.inputs),
            layers=tuple(self.layers),
            outputs=outputs,
            signature=signature,
            source=grurt.Source(format="hostile", notes=("",) * self._pick(_COUNTS)),
            reference_run=ReferenceRunHeader("a stranger") if arrays else None,
        )
        description = msgspec.to_builtins(header)
        for _ in range(int(self.rng.integers(-4, 3))):
            damage(self.rng, description)
        tensors = {f"weights.{name}": array for name, array in self._weights().items()} | arrays
        text = json.dumps(description)
        return container(text, tensors) if self._coin() else self._without_digest(text, tensors)

    def _weights(self) -> dict[str, Any]:
        weights: dict[str, Any] = {}
        for layer in self.layers:
            dtypes = layer.weight_dtypes()
            for name, shape in layer.weight_shapes().items():
                weights[f"{layer.name}.{name}"] = np.full(shape, 1, dtypes.get(name, "float32"))
        return weights

    def _outputs(self) -> tuple[grurt.Output, ...]:
        """Return outputs, of which many may show the same value."""
        names = [layer.name for layer in self.layers]
        count = self._pick(_COUNTS)
        shown = self._pick(names)
        return tuple(grurt.Output(f"y{i}", shown if self._coin() else self._pick(names)) for i in range(count))

    def _ports(self, ports: tuple[Port, ...]) -> tuple[Port, ...]:
        """Return ports, of which many may show the same output."""
        more = [msgspec.structs.replace(self._pick(ports), name=f"port{i}") for i in range(self._pick(_COUNTS) - 1)]
        states = [
            grurt.StatePort(name=f"state{i}", states=(layer.name,), dtype="float64", axes=("batch", "feature"))
            for i, layer in enumerate(self.layers)
            if len(self.states.get(layer.name, ())) == 1 and isinstance(layer, grurt.GRU) and self._coin()
        ]
        return (*ports, *more, *states)

    def _of_a_timestep(self, signature: grurt.Signature, values: Mapping[str, Value]) -> grurt.Signature:
        """Return a signature whose inputs of features are tensors of static shapes, of which some do not fit."""
        ports = []
        for port in signature.inputs:
            if isinstance(port, ValuePort) and not values[port.value].tokens:
                shape = (1,) * self._pick((0, 1, 30)) + self._pick(((values[port.value].size,), (1 << 20, 1 << 20), ()))
                port = msgspec.structs.replace(port, axes=("index",) * len(shape), shape=shape)
            ports.append(port)
        return msgspec.structs.replace(signature, inputs=tuple(ports))

    def _reference_run(
        self, signature: grurt.Signature, outputs: tuple[grurt.Output, ...], values: Mapping[str, Value]
    ) -> dict[str, Any]:
        sizes = {"batch": self._pick((1, 2, 5, 30)), "time": self._pick((1, 2, 5, 100))}
        shown = {output.name: values[output.value] for output in outputs}
        arrays = {}
        for side, ports, known in (("inputs", signature.inputs, values), ("outputs", signature.outputs[:1], shown)):
            for port in ports:
                assert isinstance(port, ValuePort)
                shape = tensor_shape(port, known, self.states, **sizes)
                if np.prod(shape) > MAX_WEIGHTS:
                    return {}
                arrays[f"reference.{side}.{port.name}"] = np.zeros(shape, port.dtype)
        return arrays

    def _without_digest(self, text: str, tensors: dict[str, Any]) -> bytes:
        """Return a file as an older release, or somebody by hand, writes it: its entries in any order."""
        ordered = arranged(tensors)
        described = msgspec.to_builtins(entries(ordered))
        items = list(described.items())
        self.rng.shuffle(items)
        header = json.dumps({"__metadata__": {"grurt": text}, **dict(items)}).encode()
        data = b"".join(array.tobytes() for array in ordered.values())
        return len(header).to_bytes(8, "little") + header + data


def _weight_bytes(layer: AnyLayer) -> int:
    return 4 * sum(int(np.prod([float(size) for size in shape])) for shape in layer.weight_shapes().values())


def damage(rng: np.random.Generator, description: Any) -> None:
    """Put something else in the place of a random part of a description."""

    def pick(choices: Any) -> Any:
        return choices[int(rng.integers(len(choices)))]

    node: Any = description
    while True:
        key = pick(list(node) if isinstance(node, dict) else range(len(node)))
        if not isinstance(node[key], dict | list) or not node[key] or rng.integers(6) == 0:
            break
        node = node[key]
    if isinstance(node, list) and rng.integers(2):
        node *= pick((0, 2, 100))
    elif isinstance(node, list) and rng.integers(2):
        rng.shuffle(node)
    elif isinstance(node[key], int) and rng.integers(2):
        node[key] += pick((-1, 1))
    else:
        node[key] = pick([0, -1, 1, 2, 1 << 20, 1 << 63, 10**25, 1e300, 1e-46, None, True, "", "x0", "l0", [], {}])


def hostile_file(seed: int) -> bytes:
    """Return the file of a number: of layers of all kinds."""
    return HostileFile(np.random.default_rng(seed)).encoded()


def hostile_program(seed: int) -> bytes:
    """Return the file of a number: of a step program, most of them damaged."""
    rng = np.random.default_rng(seed)
    model = random_step_program(seed, n_operators=int(rng.integers(1, 30)))

    def edit(description: dict[str, Any]) -> None:
        program = description["layers"][0]
        for _ in range(int(rng.integers(-2, 3))):
            part = (description, program, program.get("operators"))[min(2, int(rng.integers(4)))]
            damage(rng, part if part and isinstance(part, dict | list) else description)

    return rewritten(encode(model), edit)
