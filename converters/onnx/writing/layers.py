"""What each layer is in ONNX.

A value is ``(time, batch, features)`` on the way, a grid ``(time, batch, positions, features)``, tokens are ``(time,
batch)``; what is known once a sequence has one timestep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from grurt.array_types import Array
from grurt.converters.onnx.writing.attention import write_attention, write_attention_step
from grurt.converters.onnx.writing.functions import BINARY, COMPARISONS, write_function
from grurt.converters.onnx.writing.graph import GraphWriter
from grurt.converters.onnx.writing.gru import Scanned, valid_steps, write_gru
from grurt.converters.onnx.writing.pooling import write_pooling, write_pooling_step
from grurt.converters.onnx.writing.programs import write_program
from grurt.converters.onnx.writing.windows import write_unfold
from grurt.errors import ConversionError
from grurt.network import layers as ly
from grurt.network.network import Network
from grurt.network.represented import represented

_REDUCE = {
    "sum": "ReduceSum",
    "mean": "ReduceMean",
    "prod": "ReduceProd",
    "max": "ReduceMax",
    "min": "ReduceMin",
    "l1": "ReduceL1",
    "l2": "ReduceL2",
    "log_sum_exp": "ReduceLogSumExp",
    "argmax": "ArgMax",
    "argmin": "ArgMin",
}


@dataclass
class LayerWriter:
    """Adds a network's layers to a graph, one method for each kind, of its name."""

    graph: GraphWriter
    network: Network
    values: dict[str, str]
    """The values so far, by name: those of the inputs at first."""
    states: Mapping[str, str]
    """The state before the first timestep of those layers where it is given: of a GRU ``(1, rows, hidden_size)``, of a
    Conv1d ``(history, batch, input_size)``."""
    lengths: str | None
    """The valid timesteps of each sequence, int32 ``(batch,)``."""
    is_step: bool
    """Whether there is one timestep, with states that are given."""
    final_states: dict[str, str] = field(default_factory=dict)
    """The states after the last timestep, like `states`."""

    def write(self) -> None:
        """Add all layers."""
        for layer in self.network.layers:
            sources = [self.values[name] for name in layer.inputs]
            name = "slice_" if layer.kind == "slice" else layer.kind
            self.values[layer.name] = getattr(self, name)(layer, *sources)

    def _weights(self, layer: ly.Layer) -> dict[str, Array]:
        """Return a layer's weights as float32: those in fewer bits as the numbers that they stand for."""
        return {name: array.astype(np.float32) for name, array in represented(layer, self.network.weights).items()}

    def _is_grid(self, name: str) -> bool:
        return self.network.values[name].positions > 1

    def gru(self, layer: ly.GRU, x: str, *others: str) -> str:
        graph, weights = self.graph, self._weights(layer)
        rows, restored = self._rows(layer, x)
        beside = [self._rows(layer, self._along(layer, each, x))[0] for each in others]
        mask = beside[0] if layer.masked else None
        factor = beside[layer.masked] if layer.scaled_state else None
        handed = others[-1] if layer.initial_state == "value" else None
        given = Scanned(rows, self._initial(layer, weights, rows, x, handed), mask, factor)
        lengths = self._lengths_of(layer) if layer.scans_time and self.network.signature.packs else None
        if lengths is not None and self._is_grid(layer.name):
            positions = self.network.values[layer.name].positions
            lengths = graph.reshape(graph.op("Expand", graph.unsqueeze(lengths, 1), graph.integers(1, positions)), -1)
        outputs, final = write_gru(
            graph, layer, weights, given, lengths, single=self.is_step and layer.scans_time and self.lengths is None
        )
        if layer.scans_time:
            self.final_states[layer.name] = final
        return restored(outputs)

    def program(self, layer: ly.Program, *inputs: str) -> str:
        if not self.is_step:
            raise ConversionError(
                f"ONNX: layer {layer.name!r} is a step program, which is written as a single timestep: step=True"
            )
        states = {name: self.states[name] for name in (*layer.state_shapes(), *layer.context_shapes())}
        value, final = write_program(self.graph, layer, self._weights(layer), inputs, states)
        self.final_states |= final
        return value

    def _rows(self, layer: ly.GRU, x: str) -> tuple[str, Callable[[str], str]]:
        """Return a value ``(steps, rows, features)`` as a GRU scans it, and what brings its output back."""
        graph, positions = self.graph, self.network.values[layer.name].positions
        hidden = layer.hidden_size
        if layer.scans_time and positions == 1:
            return x, lambda outputs: outputs
        if layer.scans_time:
            merged = graph.reshape(x, graph.sizes(x, 0, 1), -1, graph.sizes(x, 3, 4))
            return merged, lambda outputs: graph.reshape(outputs, 0, -1, positions, hidden)
        if positions == 1:
            x = graph.unsqueeze(x, 2)
        lead = graph.sizes(x, 0, 2)
        moved = graph.reshape(graph.transpose(x, 2, 0, 1, 3), positions, -1, graph.sizes(x, 3, 4))

        def restored(outputs: str) -> str:
            found = graph.transpose(graph.reshape(outputs, positions, lead, hidden), 1, 2, 0, 3)
            return graph.squeeze(found, 2) if positions == 1 else found

        return moved, restored

    def _initial(self, layer: ly.GRU, weights: Mapping[str, Array], rows: str, x: str, handed: str | None) -> str:
        graph = self.graph
        if layer.name in self.states:
            return self.states[layer.name]
        if handed is not None and not self._is_grid(layer.name):
            return handed
        n_rows = graph.sizes(rows, 1, 2)
        if handed is not None:
            positions = self.network.values[layer.name].positions
            repeated = graph.op("Expand", graph.unsqueeze(handed, 2), graph.integers(1, 1, positions, 1))
            return graph.reshape(repeated, 1, -1, layer.hidden_size)
        start = weights.get("initial_state", np.zeros(layer.hidden_size, np.float32))
        return graph.op("Expand", graph.constant(start[None, None]), graph.join(1, n_rows, layer.hidden_size))

    def _along(self, layer: ly.Layer, value: str, sequence: str) -> str:
        """Repeat a vector at every timestep of a sequence, if it is one."""
        name = next(name for name in layer.inputs if self.values[name] == value)
        if self.network.values[name].per_step or not self.network.values[layer.name].per_step:
            return value
        ones = [1] * (3 if self._is_grid(name) else 2)
        return self.graph.op("Expand", value, self.graph.join(self.graph.sizes(sequence, 0, 1), *ones))

    def conv1d(self, layer: ly.Conv1d, x: str) -> str:
        graph, weights = self.graph, self._weights(layer)
        history = (layer.kernel_size - 1) * layer.dilation
        if history and layer.name in self.states:
            x = graph.op("Concat", self.states[layer.name], x, axis=0)
            self.final_states[layer.name] = graph.slice(x, 0, -history, np.iinfo(np.int64).max)
        padding = 0 if layer.name in self.states else history
        biases = [graph.constant(weights["bias"], name=f"{layer.name}.bias")] if layer.bias else []
        ys = graph.op(
            "Conv",
            graph.transpose(x, 1, 2, 0),
            graph.constant(weights["weight"], name=f"{layer.name}.weight"),
            *biases,
            kernel_shape=[layer.kernel_size],
            dilations=[layer.dilation],
            group=layer.groups,
            pads=[padding, 0],
        )
        return graph.transpose(ys, 2, 0, 1)

    def linear(self, layer: ly.Linear, x: str) -> str:
        weights = self._weights(layer)
        y = self.graph.op("MatMul", x, self.graph.constant(weights["weight"].T, name=f"{layer.name}.weight"))
        if not layer.bias:
            return y
        return self.graph.op("Add", y, self.graph.constant(weights["bias"], name=f"{layer.name}.bias"))

    def embedding(self, layer: ly.Embedding, tokens: str) -> str:
        weight = self.graph.constant(self._weights(layer)["weight"], name=f"{layer.name}.weight")
        return self.graph.op("Gather", weight, tokens)

    def layer_norm(self, layer: ly.LayerNorm, x: str) -> str:
        weights = self._weights(layer)
        weight = weights.get("weight", np.ones(layer.size, np.float32))
        given = [self.graph.constant(weight), *([self.graph.constant(weights["bias"])] if layer.bias else [])]
        return self.graph.op("LayerNormalization", x, *given, axis=-1, epsilon=layer.epsilon)

    def rms_norm(self, layer: ly.RMSNorm, x: str) -> str:
        graph = self.graph
        mean = graph.op("ReduceMean", graph.op("Mul", x, x), graph.integers(-1))
        root = graph.op("Sqrt", graph.op("Add", mean, graph.constant(layer.epsilon)))
        y = graph.op("Div", x, root)
        return graph.op("Mul", y, graph.constant(self._weights(layer)["weight"])) if layer.weight else y

    def batch_norm(self, layer: ly.BatchNorm, x: str) -> str:
        graph, weights = self.graph, self._weights(layer)
        centred = graph.op("Sub", x, graph.constant(weights["mean"]))
        scaled = graph.op("Mul", centred, graph.constant(layer.factor(weights["weight"], weights["variance"])))
        return graph.op("Add", scaled, graph.constant(weights["bias"]))

    def add(self, layer: ly.Add, *sources: str) -> str:
        return self._from_left_to_right("Add", sources)

    def mul(self, layer: ly.Mul, *sources: str) -> str:
        return self._from_left_to_right("Mul", sources)

    def _from_left_to_right(self, op: str, sources: Sequence[str]) -> str:
        total = sources[0]
        for source in sources[1:]:
            total = self.graph.op(op, total, source)
        return total

    def binary(self, layer: ly.Binary, *sources: str) -> str:
        found = self._from_left_to_right(BINARY[layer.operation], sources)
        return self.graph.cast(found, "float32") if layer.operation in COMPARISONS else found

    def where(self, layer: ly.Where, condition: str, then: str, otherwise: str) -> str:
        is_zero = self.graph.op("Equal", condition, self.graph.constant(0.0))
        return self.graph.op("Where", is_zero, otherwise, then)

    def constant(self, layer: ly.Constant, x: str) -> str:
        shape = self.graph.join(self.graph.sizes(x, 0, -1), layer.size)
        return self.graph.op("Expand", self.graph.constant(self._weights(layer)["weight"]), shape)

    def reduce(self, layer: ly.Reduce, x: str) -> str:
        op = _REDUCE[layer.operation]
        if op.startswith("Arg"):
            return self.graph.cast(self.graph.op(op, x, axis=-1), "float32")
        return self.graph.op(op, x, self.graph.integers(-1))

    def concat(self, layer: ly.Concat, *sources: str) -> str:
        sequences = [
            source for name, source in zip(layer.inputs, sources, strict=True) if self.network.values[name].per_step
        ]
        parts = [self._along(layer, source, sequences[0]) for source in sources] if sequences else sources
        return self.graph.op("Concat", *parts, axis=-1)

    def slice_(self, layer: ly.Slice, x: str) -> str:
        return self.graph.slice(x, -1, layer.start, layer.stop)

    def unfold(self, layer: ly.Unfold, x: str) -> str:
        return write_unfold(self.graph, layer, x)

    def repeat_vector(self, layer: ly.RepeatVector, x: str, *like: str) -> str:
        n_steps: str | int = self.graph.sizes(like[0], 0, 1) if like else layer.n_steps
        return self.graph.op("Tile", x, self.graph.join(n_steps, 1, 1))

    def unflatten(self, layer: ly.Unflatten, x: str) -> str:
        return self.graph.reshape(x, 0, 0, layer.positions, -1) if layer.positions > 1 else x

    def flatten(self, layer: ly.Flatten, x: str) -> str:
        return self.graph.reshape(x, 0, 0, -1) if self._is_grid(layer.inputs[0]) else x

    def feature_mask(self, layer: ly.FeatureMask, x: str) -> str:
        graph = self.graph
        differs = graph.op("Not", graph.op("Equal", x, graph.constant(layer.mask_value)))
        return graph.op("ReduceMax", graph.cast(differs, "float32"), graph.integers(-1))

    def token_mask(self, layer: ly.TokenMask, tokens: str) -> str:
        graph = self.graph
        differs = graph.op("Not", graph.op("Equal", tokens, graph.constant(layer.token, "int64")))
        return graph.unsqueeze(graph.cast(differs, "float32"), 2)

    def past_end(self, layer: ly.PastEnd, x: str) -> str:
        lengths = self._lengths_of(layer)
        if lengths is None:
            return x
        valid = valid_steps(self.graph, x, lengths)
        valid = self.graph.unsqueeze(valid, 3) if self._is_grid(layer.name) else valid
        return self.graph.op("Where", self.graph.cast(valid, "bool"), x, self.graph.constant(layer.value))

    def _lengths_of(self, layer: ly.Layer) -> str | None:
        """Return the lengths of the sequences that a layer reads; None if all are whole."""
        return None if self.network.values[layer.inputs[0]].stage else self.lengths

    def activation(self, layer: ly.Activation, x: str) -> str:
        return write_function(self.graph, layer.function, x)

    def prelu(self, layer: ly.PRelu, x: str) -> str:
        return self.graph.op("PRelu", x, self.graph.constant(self._weights(layer)["weight"]))

    def first_step(self, layer: ly.FirstStep, x: str) -> str:
        return self.graph.op("Gather", x, self.graph.integers(0), axis=0)

    def last_step(self, layer: ly.LastStep, x: str) -> str:
        if self.is_step:
            return x
        lengths = self._lengths_of(layer)
        if lengths is None or not (layer.by_length or self.network.signature.packs):
            return self.graph.op("Gather", x, self.graph.integers(-1), axis=0)
        return self._at_ends(x, lengths)

    def time_pooling(self, layer: ly.TimePooling, *sources: str) -> str:
        if self.is_step:
            states = {name: self.states[name] for name in layer.state_shapes()}
            value, final = write_pooling_step(self.graph, layer, sources, states)
            self.final_states |= final
            return value
        mask = sources[-1] if layer.masked else None
        lengths = self._lengths_of(layer) if self.network.signature.packs else None
        if lengths is not None:
            valid = valid_steps(self.graph, sources[0], lengths)
            mask = valid if mask is None else self.graph.op("Mul", mask, valid)
        return write_pooling(self.graph, layer, sources[0], sources[1] if layer.has_scores else None, mask)

    def attention(self, layer: ly.Attention, *sources: str) -> str:
        weight = self._weights(layer)["weight"] if layer.score == "additive" else None
        if self.is_step:
            states = {name: self.states[name] for name in layer.state_shapes()}
            value, final = write_attention_step(self.graph, layer, weight, sources, states)
            self.final_states |= final
            return value
        lengths = self._lengths_of(layer) if self.network.signature.packs else None
        valid = None if lengths is None else valid_steps(self.graph, sources[1], lengths)
        return write_attention(self.graph, layer, weight, sources, valid)

    def _at_ends(self, x: str, lengths: str) -> str:
        """Return the last valid timestep of each sequence."""
        graph = self.graph
        last = graph.op("Sub", graph.cast(lengths, "int64"), graph.constant(1, "int64"))
        last = graph.op("Max", last, graph.constant(0, "int64"))
        by_sequence = graph.op("Transpose", x, perm=[1, 0, 2])
        return graph.unsqueeze(graph.op("GatherND", by_sequence, graph.unsqueeze(last, 1), batch_dims=1), 0)
