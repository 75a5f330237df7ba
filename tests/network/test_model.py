"""Model: what it refuses, and that it never changes."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import models
import msgspec
import numpy as np
import pytest

import grurt
from grurt.errors import ModelError
from grurt.network import values as graph
from grurt.network.ranges import MAX_SIZE

RNG = np.random.default_rng(1)
SIZE = 4


def linear(name: str = "fc", **options: Any) -> grurt.Linear:
    return grurt.Linear(**({"name": name, "input_size": SIZE, "output_size": SIZE} | options))


def gru(name: str = "gru", **options: Any) -> grurt.GRU:
    return grurt.GRU(**({"name": name, "input_size": SIZE, "hidden_size": SIZE} | options))


def model(*layers: Any, **options: Any) -> grurt.Model:
    """Return a model of the layers; their weights are zero unless given."""
    zeros = {
        f"{layer.name}.{name}": np.zeros(shape) for layer in layers for name, shape in layer.weight_shapes().items()
    }
    return grurt.Model(layers=layers, **({"weights": zeros} | options))


def with_weight(name: str, value: Any) -> grurt.Model:
    return with_weights({name: value})


def with_weights(weights: dict[str, Any]) -> grurt.Model:
    layers = (gru(), grurt.BatchNorm(name="norm", size=SIZE))
    return model(*layers, weights=models.random_weights(layers, RNG) | weights)


def with_signature(*, inputs: Any = None, outputs: Any = None) -> grurt.Model:
    layers = (
        grurt.Embedding(name="embed", vocabulary_size=9, size=SIZE),
        gru("a"),
        gru("b"),
        grurt.LastStep(name="last"),
    )
    plain = model(*layers).signature
    return model(*layers, signature=grurt.Signature(inputs or plain.inputs, outputs or plain.outputs))


def value_port(**options: Any) -> grurt.ValuePort:
    return grurt.ValuePort(**({"name": "ids", "value": "x", "dtype": "int64", "axes": ("batch", "time")} | options))


def answer_port(**options: Any) -> grurt.ValuePort:
    return value_port(**({"name": "y", "value": "y", "dtype": "float32", "axes": ("batch", "feature")} | options))


def state_port(**options: Any) -> grurt.StatePort:
    axes = ("state", "batch", "feature")
    return grurt.StatePort(**({"name": "h0", "states": ("a", "b"), "dtype": "float32", "axes": axes} | options))


def handed_over() -> tuple[Any, ...]:
    """Return the layers of an encoder and a decoder, which read ``x`` and ``z``."""
    decoder = gru("decoder", initial_state="value", inputs=("z", "last"))
    return gru("encoder"), grurt.LastStep(name="last"), decoder


X = grurt.Input("x", SIZE)

REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "no layers": (
        lambda: grurt.Model(layers=[], weights={}, inputs=[X]),
        "a model needs at least one input, one layer and one output",
    ),
    "no layers and no inputs": (
        lambda: grurt.Model(layers=[], weights={}),
        "the first layer does not say its input size: give the model's inputs",
    ),
    "unknown input size": (
        lambda: model(grurt.LastStep(name="last")),
        "the first layer does not say its input size: give the model's inputs",
    ),
    "too many layers": (
        lambda: model(*(grurt.LastStep(name=f"l{i}") for i in range(graph.MAX_LAYERS + 1)), inputs=[X]),
        "a model may have 4096 layers, got 4097",
    ),
    "too much memory": (
        lambda: model(
            *(grurt.Activation(name=f"{i}", function=grurt.Relu()) for i in range(16)),
            inputs=[grurt.Input("x", MAX_SIZE)],
        ),
        "bytes of memory, expected at most 268,435,456: allow more with max_bytes=",
    ),
    "too much memory for a grid": (
        lambda: model(
            grurt.Unflatten(name="g", positions=1 << 18),
            grurt.GRU(name="gru", input_size=1, hidden_size=1),
            inputs=[grurt.Input("x", 1 << 18)],
            outputs=[grurt.Output("y", "x")],
        ),
        "bytes of memory, expected at most 268,435,648: allow more with max_bytes=",
    ),
    "a wrong type": (lambda: model(linear(bias=1)), "layers[0].bias: expected true or false, got 1"),
    "a wrong word": (
        lambda: model(gru(direction="backward")),
        "layers[0].direction: expected one of forward, reverse, got 'backward'",
    ),
    "softmax in a gate": (
        lambda: model(gru(gate_activation=grurt.Softmax())),
        "layers[0].gate_activation.function: expected one of relu,",
    ),
    "not a layer": (
        lambda: grurt.Model(layers=[object()], weights={}),  # type: ignore[list-item]
        "layers: expected plain data, got object",
    ),
    "input of size 0": (
        lambda: model(linear(), inputs=[grurt.Input("x", 0)]),
        "input 'x': size must be in [1, 1048576]",
    ),
    "hidden size 0": (lambda: model(gru(hidden_size=0)), "layer 'gru': hidden_size must be in [1, 1048576], got 0"),
    "negative size": (
        lambda: grurt.Model(layers=[linear(output_size=-1)], weights={}),
        "layer 'fc': output_size must be in [1, 1048576], got -1",
    ),
    "a size of more digits than Python writes": (
        lambda: grurt.Model(layers=[linear(output_size=10**5000)], weights={}),
        "layer 'fc': output_size must be in [1, 1048576], got an int of 16,610 bits",
    ),
    "concatenated too far": (
        lambda: model(grurt.Concat(name="cat", inputs=("x", "x")), inputs=[grurt.Input("x", MAX_SIZE)]),
        "layer 'cat': size must be in [1, 1048576], got 2097152",
    ),
    "epsilon 0": (
        lambda: model(grurt.LayerNorm(name="n", size=3, epsilon=0.0)),
        "'n': epsilon must be positive in float32, got 0.0",
    ),
    "negative clip": (lambda: model(gru(clip=-1.0)), "layer 'gru': clip must be positive in float32, got -1.0"),
    "infinite clip": (lambda: model(gru(clip=float("inf"))), "layer 'gru': clip must be a finite float32, got inf"),
    "function parameter": (
        lambda: model(gru(candidate_activation=grurt.Affine(1e39, 0.0))),
        "layer 'gru': candidate_activation.scale must be a finite float32, got 1e+39",
    ),
    "clip upside down": (
        lambda: model(grurt.Activation(name="c", function=grurt.Clip(1.0, 0.0)), inputs=[X]),
        "layer 'c': function: minimum 1.0 is above maximum 0.0",
    ),
    "groups": (
        lambda: model(grurt.Conv1d(name="c", input_size=4, output_size=6, kernel_size=2, groups=3)),
        "layer 'c': groups=3 must divide input_size=4 and output_size=6",
    ),
    "too long a history": (
        lambda: model(grurt.Conv1d(name="c", input_size=4, output_size=6, kernel_size=2, dilation=1 << 19)),
        "layer 'c': length of the state must be in [1, 1048576], got 2097152",
    ),
    "input size": (lambda: model(linear(output_size=3), linear("b")), "layer 'b': expected an input of size 4, got 3"),
    "sizes of add": (
        lambda: model(linear(output_size=3), grurt.Add(name="add", inputs=("x", "fc"))),
        "layer 'add': expected an input of size 4, got 3",
    ),
    "one input to add": (lambda: model(linear(), grurt.Add(name="add")), "'add': expected 2 to 64 inputs, got 1"),
    "two inputs to linear": (lambda: model(linear(inputs=("x", "x"))), "layer 'fc': expected 1 input, got 2"),
    "unknown value": (
        lambda: model(linear(inputs=("z",)), inputs=[X]),
        "layer 'fc': its input 'z' is neither a model input nor an earlier layer",
    ),
    "later value": (
        lambda: model(linear("a", inputs=("b",)), linear("b", inputs=("x",))),
        "layer 'a': its input 'b' is neither a model input nor an earlier layer",
    ),
    "features to embed": (
        lambda: model(grurt.Embedding(name="e", vocabulary_size=4, size=2), inputs=[X]),
        "layer 'e': expected tokens, but 'x' holds something else",
    ),
    "tokens to a linear": (
        lambda: model(linear(), inputs=[grurt.TokenInput("x", 4)]),
        "layer 'fc': expected features, but 'x' holds something else",
    ),
    "vocabulary": (
        lambda: model(grurt.Embedding(name="e", vocabulary_size=4, size=2), inputs=[grurt.TokenInput("x", 5)]),
        "layer 'e': expected a vocabulary of 4 tokens, but 'x' has 5",
    ),
    "sequences and vectors": (
        lambda: model(linear(), grurt.LastStep(name="last"), grurt.Add(name="add", inputs=("fc", "last"))),
        "layer 'add': it reads a vector that is known only at the end of its own sequence",
    ),
    "slice to nowhere": (
        lambda: model(linear(), grurt.Slice(name="s", start=2, stop=5)),
        "layer 's': expected start < stop <= 4, the size of its input, got start=2, stop=5",
    ),
    "empty slice": (
        lambda: model(linear(), grurt.Slice(name="s", start=2, stop=2)),
        "layer 's': expected start < stop <= 4, the size of its input, got start=2, stop=2",
    ),
    "negative start": (
        lambda: model(linear(), grurt.Slice(name="s", start=-1, stop=2)),
        "layer 's': start must be in [0, 1048576], got -1",
    ),
    "positions that do not divide": (
        lambda: model(linear(), grurt.Unflatten(name="g", positions=3)),
        "layer 'g': positions=3 must divide the input's size, 4",
    ),
    "a grid of grids": (
        lambda: model(linear(), grurt.Unflatten(name="g", positions=2), grurt.Unflatten(name="h", positions=2)),
        "layer 'h': expected single vectors, got 2 positions: Flatten first",
    ),
    "grids of different positions": (
        lambda: model(
            linear(),
            grurt.Unflatten(name="g", positions=2),
            grurt.Unflatten(name="h", positions=4, inputs=("fc",)),
            grurt.Add(name="add", inputs=("g", "h")),
        ),
        "layer 'add': expected an input of 2 positions, got 4",
    ),
    "a grid as output": (
        lambda: model(linear(), grurt.Unflatten(name="g", positions=2)),
        "output 'y': expected a value of single vectors, but 'g' is a grid of 2 positions: Flatten it first",
    ),
    "convolution of a grid": (
        lambda: model(
            linear(),
            grurt.Unflatten(name="g", positions=2),
            grurt.Conv1d(name="c", input_size=2, output_size=2, kernel_size=2),
        ),
        "layer 'c': a Conv1d reads single vectors, got 2 positions: Flatten first",
    ),
    "windows of a grid": (
        lambda: model(linear(), grurt.Unflatten(name="g", positions=2), grurt.Unfold(name="u")),
        "layer 'u': an Unfold reads single vectors, got 2 positions: Flatten first",
    ),
    "windows of a vector": (
        lambda: model(linear(), grurt.LastStep(name="last"), grurt.Unfold(name="u")),
        "layer 'u': expected a sequence, got a single vector from 'last'",
    ),
    "much padding": (
        lambda: model(linear(), grurt.Unfold(name="u", padding=(0, 1 << 21))),
        "layer 'u': padding must be in [-1048576, 1048576], got 2097152",
    ),
    "windows over much": (
        lambda: model(linear(), grurt.Unfold(name="u", kernel_size=3, dilation=1 << 20)),
        "layer 'u': expected a window over at most 1048576 timesteps, got 2097153",
    ),
    "padding of a kind": (
        lambda: model(linear(), grurt.Unfold(name="u", padding="valid")),  # type: ignore[arg-type]
        "layers[1].padding: expected one of same, same_lower, got 'valid'",
    ),
    "sequences of different lengths": (
        lambda: model(linear(), grurt.Unfold(name="u", padding=(0, 1)), grurt.Add(name="add", inputs=("fc", "u"))),
        "layer 'add': expected inputs of one number of timesteps, got sequences that Unfold or RepeatVector la",
    ),
    "a vector repeated beside a sequence": (
        lambda: model(
            linear(),
            grurt.LastStep(name="last"),
            grurt.RepeatVector(name="r", n_steps=4),
            grurt.Add(name="add", inputs=("r", "fc")),
        ),
        "layer 'r': it reads a vector that is known only at the end of its own sequence",
    ),
    "vectors repeated not as often": (
        lambda: model(
            linear(),
            grurt.LastStep(name="last"),
            grurt.RepeatVector(name="r", n_steps=4),
            grurt.RepeatVector(name="s", inputs=("last",), n_steps=5),
            grurt.Add(name="add", inputs=("r", "s")),
        ),
        "layer 'add': expected inputs of one number of timesteps, got sequences that Unfold or RepeatVector la",
    ),
    "a repeated sequence": (
        lambda: model(linear(), grurt.RepeatVector(name="r", n_steps=4)),
        "layer 'r': expected a single vector, got the sequence 'fc'",
    ),
    "a vector repeated as often as there is one": (
        lambda: model(
            linear(),
            grurt.LastStep(name="last"),
            grurt.RepeatVector(name="r", inputs=("last", "last"), n_steps=0),
        ),
        "layer 'r': expected a sequence to have as many timesteps as, got the single vector 'last'",
    ),
    "a vector that is repeated never": (
        lambda: model(linear(), grurt.LastStep(name="last"), grurt.RepeatVector(name="r", n_steps=0)),
        "layer 'r': expected 2 inputs, got 1",
    ),
    "a vector that is repeated too often": (
        lambda: model(linear(), grurt.LastStep(name="last"), grurt.RepeatVector(name="r", n_steps=2**20 + 1)),
        "layer 'r': n_steps must be in [0, 1048576], got 1048577",
    ),
    "a window of more than there is": (
        lambda: model(
            linear(),
            grurt.LastStep(name="last"),
            grurt.RepeatVector(name="r", n_steps=2),
            grurt.Unfold(name="u", kernel_size=3),
        ),
        "layer 'u': expected at least 3 timesteps, got 2 in all",
    ),
    "many windows": (
        lambda: model(linear(), *(grurt.Unfold(name=f"u{i}", stride=2) for i in range(64))),
        "layer 'u63': expected at most 64 stages",
    ),
    "windows of sequences with lengths": (
        lambda: model(
            linear(),
            grurt.Unfold(name="u", padding=(1, 1)),
            signature=grurt.Signature(
                (
                    value_port(name="x", dtype="float32", axes=("batch", "time", "feature")),
                    grurt.LengthsPort(name="lengths", dtype="int64", axes=("batch",)),
                ),
                (answer_port(axes=("batch", "time", "feature")),),
            ),
        ),
        "layer 'u': expected sequences of which the source does not take the lengths",
    ),
    "mask of many features": (
        lambda: model(linear(), gru(masked=True, inputs=("fc", "fc"))),
        "layer 'gru': expected a mask of size 1, got 4",
    ),
    "no mask": (lambda: model(linear(), gru(masked=True)), "layer 'gru': expected 2 inputs, got 1"),
    "masked token beyond the vocabulary": (
        lambda: model(grurt.TokenMask(name="m", token=4), inputs=[grurt.TokenInput("x", 4)]),
        "layer 'm': expected a token of the vocabulary of 4, got 4",
    ),
    "a sequence as initial state": (
        lambda: model(linear(), gru(initial_state="value", inputs=("x", "fc"))),
        "layer 'gru': expected an initial state behind LastStep or FirstStep, got the sequence 'fc'",
    ),
    "size of an initial state": (
        lambda: model(
            linear(output_size=3),
            grurt.LastStep(name="last"),
            gru(initial_state="value", inputs=("z", "last")),
            inputs=[X, grurt.Input("z", SIZE)],
        ),
        "layer 'gru': expected an initial state of size 4, got 3",
    ),
    "a state for a scan of positions": (
        lambda: model(
            linear(),
            grurt.LastStep(name="last"),
            gru(initial_state="value", scan="positions", inputs=("z", "last")),
            inputs=[X, grurt.Input("z", SIZE)],
        ),
        "initial_state='value' is for a GRU that scans the time of single vectors, got scan='positions' over 1 pos",
    ),
    "a state from the end of the same sequence": (
        lambda: model(linear(), grurt.LastStep(name="last"), gru(initial_state="value", inputs=("x", "last"))),
        "layer 'gru': it reads a vector that is known only at the end of its own sequence",
    ),
    "ends of sequences of different stages": (
        lambda: model(
            *handed_over(),
            grurt.LastStep(name="end"),
            grurt.Concat(name="both", inputs=("last", "end")),
            inputs=[X, grurt.Input("z", SIZE)],
        ),
        "layer 'both': it joins the ends of sequences that run one after the other",
    ),
    "too many stages": (
        lambda: model(
            *(
                layer
                for i in range(18)
                for layer in (
                    grurt.Add(name=f"sum{i}", inputs=(f"x{i}", f"last{i - 1}" if i else "x0")),
                    grurt.LastStep(name=f"last{i}"),
                )
            ),
            inputs=[grurt.Input(f"x{i}", SIZE) for i in range(18)],
        ),
        "layer 'sum17': expected at most 16 sequences one after the other",
    ),
    "a grid handed over": (
        lambda: model(
            linear(),
            grurt.Unflatten(name="g", positions=2),
            grurt.LastStep(name="last"),
            grurt.Unflatten(name="h", positions=2, inputs=("z",)),
            grurt.Add(name="add", inputs=("h", "last")),
            grurt.Flatten(name="f"),
            inputs=[X, grurt.Input("z", SIZE)],
        ),
        "layer 'add': expected single vectors from another stage, but 'last' is a grid: Flatten it first",
    ),
    "a state port of a GRU that is handed its state": (
        lambda: model(
            *handed_over(),
            inputs=[X, grurt.Input("z", SIZE)],
            signature=grurt.Signature(
                (
                    value_port(name="x", dtype="float32", axes=("time", "feature")),
                    value_port(name="z", value="z", dtype="float32", axes=("time", "feature")),
                    state_port(states=("decoder",), axes=("feature",)),
                ),
                (answer_port(axes=("time", "feature")),),
            ),
        ),
        "port 'h0': the GRU 'decoder' takes its initial state from 'last', not an input",
    ),
    "a gru of a vector": (
        lambda: model(linear(), grurt.LastStep(name="last"), gru()),
        "layer 'gru': expected a sequence, got a single vector from 'last'",
    ),
    "no name": (lambda: model(linear("")), "expected a name of 1 to 200 printable characters, got ''"),
    "long name": (lambda: model(linear("n" * 201)), "expected a name of 1 to 200 printable characters, got 'nnn"),
    "escape in a name": (lambda: model(linear("\x1b[2J")), "a name of 1 to 200 printable characters, got '\\x1b[2J'"),
    "half a character": (lambda: model(linear("\ud800")), "a name of 1 to 200 printable characters, got '\\ud800'"),
    "name twice": (lambda: model(linear(), linear()), "the name 'fc' is used twice"),
    "a layer called as the input": (lambda: model(linear("x")), "the name 'x' is used twice"),
    "output name": (lambda: model(linear(), outputs=[grurt.Output("\n", "fc")]), "printable characters, got '\\n'"),
    "output twice": (
        lambda: model(linear(), outputs=[grurt.Output("y", "fc"), grurt.Output("y", "x")]),
        "two outputs have the name 'y'",
    ),
    "unknown output": (lambda: model(linear(), outputs=[grurt.Output("y", "z")]), "output 'y': there is no value 'z'"),
    "tokens as output": (
        lambda: model(grurt.Embedding(name="e", vocabulary_size=4, size=2), outputs=[grurt.Output("y", "x")]),
        "output 'y': the value 'x' holds tokens, not features",
    ),
    "missing weights": (lambda: model(linear(), weights={}), "weights are missing: fc.bias, fc.weight"),
    "unused weights": (lambda: with_weight("gru.extra", 1.0), "weights that no layer uses: gru.extra"),
    "weight shape": (
        lambda: with_weight("gru.weight_ih", np.zeros((4, 12))),
        "weight gru.weight_ih: expected shape (12, 4), got (4, 12)",
    ),
    "NaN in a weight": (
        lambda: with_weight("gru.bias_hh", [np.nan] * 12),
        "weight gru.bias_hh: expected finite numbers, got NaN, infinity or a number beyond float32",
    ),
    "weight beyond float32": (
        lambda: with_weight("norm.mean", [1e39] * 4),
        "weight norm.mean: expected finite numbers",
    ),
    "negative variance": (
        lambda: with_weight("norm.variance", [-1.0] * 4),
        "weight norm.variance: a variance must not be negative",
    ),
    "biases whose sum is no float32": (
        lambda: with_weights({f"gru.bias_{part}": [3e38] * 12 for part in ("ih", "hh")}),
        "layer 'gru': a sum of two biases is too large for float32",
    ),
    "a normalization whose factor is no float32": (
        lambda: with_weights({"norm.weight": [3e38] * 4, "norm.variance": [0.0] * 4}),
        "layer 'norm': a quotient of weight and deviation is too large for float32",
    ),
    "port name": (lambda: with_signature(inputs=(value_port(name="\x9b"),)), "printable characters, got '\\x9b'"),
    "two input ports of one name": (
        lambda: with_signature(inputs=(value_port(), state_port(name="ids"))),
        "signature: two inputs have the same name: ids",
    ),
    "two output ports of one name": (
        lambda: with_signature(outputs=(answer_port(), state_port(name="y"))),
        "signature: two outputs have the same name: y",
    ),
    "input without a port": (
        lambda: with_signature(inputs=(state_port(),)),
        "signature: expected each model input once, got none",
    ),
    "a state in two ports": (
        lambda: with_signature(inputs=(value_port(), state_port(), state_port(name="again"))),
        "signature: expected each state in one input at most, got a, b twice",
    ),
    "port without a value": (
        lambda: with_signature(outputs=(answer_port(value="z"),)),
        "port 'y': the model has no such input or output: 'z'",
    ),
    "an output port of an input": (
        lambda: with_signature(outputs=(value_port(),)),
        "port 'ids': the model has no such input or output: 'x'",
    ),
    "axis twice": (
        lambda: with_signature(inputs=(value_port(axes=("batch", "batch")),)),
        "port 'ids': the axes ('batch', 'batch') do not fit the value 'x'",
    ),
    "no feature axis": (
        lambda: with_signature(outputs=(answer_port(axes=("batch",)),)),
        "port 'y': the axes ('batch',) do not fit the value 'y'",
    ),
    "time axis of one vector": (
        lambda: with_signature(outputs=(answer_port(axes=("time", "feature")),)),
        "port 'y': the axes ('time', 'feature') do not fit the value 'y'",
    ),
    "unknown axis": (
        lambda: with_signature(outputs=(answer_port(axes=("frequency", "feature")),)),
        "signature: outputs[0].axes[0]: expected one of batch,",
    ),
    "tokens as float": (
        lambda: with_signature(inputs=(value_port(dtype="float32"),)),
        "port 'ids': the dtype float32 does not fit the value 'x'",
    ),
    "state of no GRU": (
        lambda: with_signature(outputs=(state_port(states=("a", "embed")),)),
        "port 'h0': expected GRU layers of one hidden size, got a, embed",
    ),
    "axes of states": (
        lambda: with_signature(outputs=(state_port(axes=("batch", "feature")),)),
        "port 'h0': the axes ('batch', 'feature') do not fit 2 states",
    ),
    "state as int": (
        lambda: with_signature(outputs=(state_port(dtype="int32"),)),
        "port 'h0': a state is of floating point, got int32",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_contradicts_itself_is_refused(name: str) -> None:
    build, message = REFUSED[name]
    with pytest.raises(ModelError, match=re.escape(message)):
        build()


def reference_run_of(inputs: dict[str, Any], outputs: dict[str, Any]) -> grurt.Model:
    """Return a model with inputs ``x`` (features), ``ids`` (tokens) and ``h0`` (states), and the given run."""
    layers = (
        grurt.Embedding(name="embed", vocabulary_size=9, size=SIZE, inputs=("ids",)),
        grurt.Add(name="add", inputs=("x", "embed")),
        gru("a"),
        gru("b"),
    )
    signature = grurt.Signature(
        (
            value_port(value="ids"),
            value_port(name="x", dtype="float32", axes=("batch", "time", "feature")),
            state_port(),
        ),
        (answer_port(axes=("batch", "time", "feature")), state_port(name="hn")),
    )
    run = grurt.ReferenceRun(inputs, outputs, "tests")
    return model(*layers, inputs=[X, grurt.TokenInput("ids", 9)], signature=signature, reference_run=run)


def float32(*shape: int, fill: float = 0.5) -> Any:
    return np.full(shape, fill, np.float32)


IDS = np.zeros((2, 5), np.int64)
GIVEN = {"ids": IDS, "x": float32(2, 5, SIZE), "h0": float32(2, 2, SIZE)}
ANSWERS = {"y": float32(2, 5, SIZE), "hn": float32(2, 2, SIZE)}

REFUSED_RUNS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "missing input": ({"ids": IDS}, ANSWERS, "reference run: inputs are missing: x"),
    "no outputs": (GIVEN, {}, "reference run: expected at least one output, got none"),
    "unknown input": (GIVEN | {"z": IDS}, ANSWERS, "reference run: the signature has no such inputs or outputs: z"),
    "unknown output": (GIVEN, {"z": IDS}, "reference run: the signature has no such inputs or outputs: z"),
    "dtype": (
        GIVEN | {"x": np.zeros((2, 5, SIZE))},
        ANSWERS,
        "reference run: input 'x': expected dtype float32, got float64",
    ),
    "axes": (
        GIVEN | {"x": float32(5, SIZE)},
        ANSWERS,
        "input 'x': expected the axes ('batch', 'time', 'feature'), got shape (5, 4)",
    ),
    "features": (GIVEN | {"x": float32(2, 5, 3)}, ANSWERS, "input 'x': expected 4 along its feature axis, got 3"),
    "states": (GIVEN | {"h0": float32(1, 2, SIZE)}, ANSWERS, "input 'h0': expected 2 along its state axis, got 1"),
    "state size": (GIVEN, {"hn": float32(2, 2, 5)}, "output 'hn': expected 4 along its feature axis, got 5"),
    "batches": (GIVEN, {"y": float32(3, 5, SIZE)}, "reference run: output 'y': expected 2 along its batch axis, got 3"),
    "times": (GIVEN, {"y": float32(2, 6, SIZE)}, "output 'y': expected 5 along its time axis, got 6"),
    "no timestep": ({"ids": IDS[:, :0], "x": float32(2, 0, SIZE)}, ANSWERS, "expected at least 1 along its time axis"),
    "NaN": (GIVEN, {"y": float32(2, 5, SIZE, fill=np.nan)}, "output 'y': expected finite numbers, got a NaN or"),
    "token": (GIVEN | {"ids": IDS + 9}, ANSWERS, "input 'ids': expected tokens in [0, 9), got others"),
    "negative token": (GIVEN | {"ids": IDS - 1}, ANSWERS, "input 'ids': expected tokens in [0, 9), got others"),
}


@pytest.mark.parametrize("name", REFUSED_RUNS)
def test_a_reference_run_that_does_not_fit_is_refused(name: str) -> None:
    given, answers, message = REFUSED_RUNS[name]
    with pytest.raises(ModelError, match=re.escape(message)):
        reference_run_of(given, answers)


def test_a_reference_run_is_copied_and_read_only() -> None:
    ids = IDS.copy()
    run = reference_run_of(GIVEN | {"ids": ids}, {"hn": ANSWERS["hn"]}).reference_run
    assert run is not None
    ids[:] = 7
    np.testing.assert_array_equal(run.inputs["ids"], IDS)
    with pytest.raises(ValueError, match="read-only"):
        run.inputs["ids"][:] = 0
    with pytest.raises(TypeError, match="does not support item assignment"):
        run.inputs["ids"] = IDS  # type: ignore[index]


def test_layers_read_the_one_before_and_the_model_names_its_ends() -> None:
    built = model(linear("a", output_size=3), linear("b", input_size=3), grurt.LastStep(name="last"))
    assert [layer.inputs for layer in built.layers] == [("x",), ("a",), ("b",)]
    assert built.inputs == (X,)
    assert built.outputs == (grurt.Output("y", "last"),)
    assert built.values["b"] == graph.Value(size=4, tokens=False, per_step=True)
    assert built.values["last"] == graph.Value(size=4, tokens=False, per_step=False)
    embedding = model(grurt.Embedding(name="e", vocabulary_size=7, size=2))
    assert embedding.inputs == (grurt.TokenInput("x", 7),)


def test_the_default_signature_is_batch_first() -> None:
    signature = with_signature().signature
    assert signature.inputs == (value_port(name="x"),)
    assert signature.outputs == (answer_port(),)


def test_a_port_may_have_meaningless_axes_and_lack_a_feature_axis_of_size_1() -> None:
    port = answer_port(axes=("time", "one", "batch", "one"))
    signature = grurt.Signature((value_port(dtype="float32", axes=("feature",)),), (port,))
    assert model(linear(output_size=1), signature=signature).signature == signature


def test_numpy_scalars_in_layers_become_plain_numbers() -> None:
    built = model(linear(input_size=np.int64(4)), grurt.LayerNorm(name="n", size=np.int32(4), epsilon=np.float32(0.5)))
    assert [type(built.layers[0].input_size), type(built.layers[1].epsilon)] == [int, float]
    msgspec.json.encode(built.layers)


def test_weights_are_copied_as_read_only_float32() -> None:
    weight = np.ones((SIZE, SIZE))
    built = model(linear(bias=False), weights={"fc.weight": weight})
    weight[:] = 2
    np.testing.assert_array_equal(built.weights["fc.weight"], np.ones((SIZE, SIZE), np.float32), strict=True)
    with pytest.raises(ValueError, match="read-only"):
        built.weights["fc.weight"][:] = 0
    with pytest.raises(TypeError, match="does not support item assignment"):
        built.weights["fc.weight"] = weight  # type: ignore[index]
    with pytest.raises(AttributeError, match="a Model is immutable: 'layers' cannot be set"):
        built.layers = ()
    with pytest.raises(AttributeError, match="immutable type"):
        built.layers[0].name = "other"  # type: ignore[misc]


def test_a_source_holds_only_printable_text() -> None:
    source = grurt.Source(format="onnx", producer="a\x1b[2Jb", notes=("\ud800",))
    assert source == grurt.Source(format="onnx", producer="a\ufffd[2Jb", notes=("\ufffd",))


def test_the_fingerprint_says_what_a_model_computes() -> None:
    rng = np.random.default_rng(2)
    layers = (gru(initial_state="learned"), linear())
    weights = models.random_weights(layers, rng)
    built = grurt.Model(layers=layers, weights=weights)
    assert len(built.fingerprint) == 16
    again = grurt.Model(layers=layers, weights=copy.deepcopy(weights), source=grurt.Source(format="onnx"))
    assert again.fingerprint == built.fingerprint
    for name in weights:
        other = copy.deepcopy(weights)
        other[name].flat[-1] += 1
        assert grurt.Model(layers=layers, weights=other).fingerprint != built.fingerprint
    renamed = grurt.Model(layers=layers, weights=weights, outputs=[grurt.Output("z", "fc")])
    assert renamed.fingerprint != built.fingerprint


def test_repr_and_parameter_count() -> None:
    built = model(gru(), linear(bias=False))
    assert repr(built) == "<grurt.Model gru, linear: 136 parameters>"
    assert built.parameter_count == 136


def test_what_cannot_stream_says_why() -> None:
    assert model(gru(), grurt.LastStep(name="last")).unstreamable_reason is None
    assert model(gru(direction="reverse")).unstreamable_reason == (
        "layer 'gru' is a GRU in reverse direction: its first output depends on the last timestep"
    )
    assert model(gru(), grurt.FirstStep(name="first")).unstreamable_reason == (
        "layer 'first' reads the first timestep of the finished sequence"
    )
