"""Functional models whose layers are given what they cannot take, and descriptions of models that are damaged."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import hdf5_files
import numpy as np
import pytest
from keras_files import archive, changed, edited, layer_of

from grurt.converters import convert
from grurt.errors import ConversionError

Change = Callable[[dict[str, Any]], object]


def tensor(layer: str) -> dict[str, Any]:
    """Return what stands for the tensor that a layer returns."""
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [layer, 0, 0]}}


def described(kind: str, *args: Any, module: str = "keras.layers", name: str = "new", **config: Any) -> dict[str, Any]:
    """Return the description of a layer, and of a call of it."""
    nodes = [{"args": list(args), "kwargs": config.pop("kwargs", {})}] if args else []
    return {"class_name": kind, "module": module, "config": {"name": name, **config}, "inbound_nodes": nodes}


def adding(kind: str, *args: Any, **config: Any) -> Change:
    """Return a change that adds a layer to a model, called with these arguments."""
    return lambda model: model["config"]["layers"].append(described(kind, *args, **config))


def calling(layer: str, *args: Any, **named: Any) -> Change:
    """Return a change of what a layer is called with."""
    return lambda model: layer_of(model, layer).update(inbound_nodes=[{"args": list(args), "kwargs": named}])


def nodes(layer: str, found: Any) -> Change:
    """Return a change of the description of a layer's calls."""
    return lambda model: layer_of(model, layer).update(inbound_nodes=found)


def both(*changes: Change) -> Change:
    return lambda model: [change(model) for change in changes]


def shown(layer: str) -> Change:
    """Return a change of what the model returns: one layer's tensor."""
    return lambda model: model["config"].update(output_layers=[[layer, 0, 0]])


def array(value: object) -> dict[str, Any]:
    """Return what stands for an array of numbers."""
    return {"class_name": "__numpy__", "config": {"value": value}}


X, D, G1, G2 = (tensor(name) for name in ("x", "d", "g1", "g2"))
"""Tensors of ``k3_residual``, of 3, 4, 4 and 4 features."""

OPERATIONS = "keras.src.ops.numpy"

STATE = described("InputLayer", name="h", batch_shape=[None, 4])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (calling("g1", 5), "got arguments that are no tensors; only tensors can be given to a layer"),
        (calling("d", X, X), r"layer 'd' \(Dense\): got 2 inputs; the layer takes one"),
        (
            calling("g1", D, mask=X),
            "got a mask that is not made by Masking or mask_zero; use one of these layers",
        ),
        (
            both(
                lambda model: model["config"]["layers"].append(STATE),
                lambda model: model["config"].update(input_layers=[["x", 0, 0], ["h", 0, 0]]),
                calling("g1", D, initial_state=tensor("h")),
                calling("g2", tensor("joined"), initial_state=tensor("h")),
            ),
            "got the input 'h' as the initial state of 2 GRUs; give each a state of its own",
        ),
        (calling("g2", tensor("joined"), initial_state=[G1, G1]), "got 2 initial states; the layer takes 1"),
        (
            adding("Add", [X, G1]),
            r"layer 'new' \(Add\): expected tensors of one size, got \[3, 4\]; the file is damaged",
        ),
        (adding("Subtract", [D, G1, G2]), r"layer 'new' \(Subtract\): expected two tensors, got 3"),
        (adding("Merge", [D, G1], mode="max"), "got mode='max'; supported are sum, mul, ave, concat of tensors"),
        (
            adding("PReLU", G1),
            r"layer 'new' \(PReLU\): expected 1 weights \(alpha\), got 0; the weights do not belong to",
        ),
        (adding("ReLU", G1, max_value=-1.0), "expected max_value to be positive, got -1.0"),
        (
            adding("TimeDistributed", G1, layer=5),
            "layer new.*: expected a description with a class_name, got 5; the file",
        ),
        (adding("GetItem", G1, module=OPERATIONS), "got an index that is no constant; supported are "),
        (
            adding("Add", G1, "text", module=OPERATIONS),
            "got arithmetic of something else than tensors and a number; supported are sums, differences and products",
        ),
        (
            both(
                adding("Sum", G1, module=OPERATIONS, name="total", axis=-1),
                adding("Dense", tensor("total"), units=2),
            ),
            r"layer 'new' \(Dense\): got one number for each timestep as its input; the layer can read a sequence",
        ),
        (adding("Squeeze", G1, module=OPERATIONS, axis=-1), "expected one feature, got 4; the file is damaged"),
        (
            adding("Normalization", G1, mean=[0.0] * 4),
            r"layer 'new' \(Normalization\): expected a mean and a variance, or neither, got one of them; the file",
        ),
        (adding("Normalization", G1, mean=None, variance=1.0), "expected a mean and a variance, or neither, got one"),
        (
            both(adding("TrueDivide", G1, array([[1e-45, 1, 1, 1]]), module=OPERATIONS), shown("new")),
            r"weight new\.weight: expected finite numbers, got NaN, infinity or a number beyond float32",
        ),
        (
            both(adding("TrueDivide", G1, 5e-324, module=OPERATIONS), shown("new")),
            r"layer 'g1\.affine': function\.scale must be a finite float32, got inf",
        ),
        (
            both(
                *(adding("Concatenate", [tensor(f"c{i}" if i else "d")] * 64, name=f"c{i + 1}") for i in range(4)),
                adding(
                    "Multiply",
                    tensor("c4"),
                    array([[2.0]]),
                    module=OPERATIONS,
                ),
                adding("Sum", tensor("new"), name="total", module=OPERATIONS),
            ),
            "layer 'total': got a layer that is called too often; call it once",
        ),
        (
            both(
                *(adding("Concatenate", [tensor(f"c{i}" if i else "d")] * 64, name=f"c{i + 1}") for i in range(4)),
                adding("Rescaling", tensor("c4"), scale=[2.0]),
            ),
            "layer 'new': got a layer that is called too often; call it once",
        ),
        (
            adding("Matmul", X, X, module=OPERATIONS),
            "got a product of two tensors, as attention computes; supported is a product of features with a constant",
        ),
        (
            adding("NotEqual", X, "text", module=OPERATIONS),
            "got something else than tensors and numbers; supported are tensors, numbers and arrays",
        ),
        (
            both(
                adding("NotEqual", X, 0.0, module=OPERATIONS, name="mask"),
                adding("Any", tensor("mask"), module=OPERATIONS, name="any", axis=-1, keepdims=False),
                adding("LogicalAnd", tensor("any"), tensor("any"), module=OPERATIONS),
            ),
            "got a function of truth values; masks are made by Masking and mask_zero only",
        ),
        (
            both(
                adding("GetItem", G1, [{"class_name": "__slice__", "config": {}}, -1], module=OPERATIONS, name="last"),
                adding("Add", [G1, tensor("last")]),
            ),
            "got sequences and single vectors together; merge tensors of the same axes",
        ),
        (
            both(adding("Masking", G1, name="masking"), adding("Softmax", tensor("masking"))),
            r"got a masked sequence as its input; use Activation\('softmax'\), which ignores the mask",
        ),
        (
            adding(
                "TimeDistributed",
                G1,
                layer={
                    "class_name": "Functional",
                    "config": {
                        "name": "two",
                        "layers": [
                            described("InputLayer", name="v", batch_shape=[None, 4]),
                            described("Activation", tensor("v"), name="a", activation="relu"),
                        ],
                        "input_layers": ["v", 0, 0],
                        "output_layers": [["a", 0, 0], ["a", 0, 0]],
                    },
                },
            ),
            "got Functional inside of it; supported inside of it are layers that work on each timestep by itself",
        ),
    ],
)
def test_calls(change: Change, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(edited(tmp_path, "k3_residual", change), reference=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda model: model["config"].update(input_layers=[["x", 0, 0], ["x", 0, 0]]),
            "expected inputs with a name each, got two called 'x'; the file is damaged, or its weights are of another",
        ),
        (
            lambda model: model["config"].update(input_layers=["d", 0, 0]),
            "expected an InputLayer 'd', got none",
        ),
        (
            lambda model: model["config"].update(output_layers=["o", 0, 3]),
            "expected a tensor 3 of the layer 'o', got none; the file is damaged",
        ),
        (nodes("g1", "d"), "expected the calls of 'g1' in a list, got str"),
        (nodes("g1", [{"args": "d"}]), "expected arguments of 'g1', got {'args': 'd'}"),
        (nodes("g1", [5]), "expected the inputs of 'g1', got 5"),
        (nodes("g1", [[["d", 0]]]), r"got the input \['d', 0\] of 'g1'; only tensors can be given to a layer"),
        (
            lambda model: layer_of(model, "g1").update(name="g1", config="text"),
            r"layer 'g1' \(GRU\): expected a configuration, got str; the file is damaged",
        ),
    ],
)
def test_descriptions(change: Change, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(edited(tmp_path, "k3_residual", change), reference=False)


def test_a_stack_of_no_cells(tmp_path: Path) -> None:
    def change(model: dict[str, Any]) -> None:
        layer_of(model, "rnn")["config"]["cell"]["config"]["cells"] = []

    with pytest.raises(ConversionError, match="expected cells, got none"):
        convert(edited(tmp_path, "k3_cells", change), reference=False)


def functional(folder: Path, layers: list[dict[str, Any]], output: str, weights: Mapping[str, Any]) -> Path:
    """Write a model whose first layer is its input."""
    config = {"layers": layers, "input_layers": [layers[0]["config"]["name"], 0, 0], "output_layers": [output, 0, 0]}
    return archive(
        folder,
        {
            "config.json": json.dumps({"class_name": "Functional", "config": {"name": "model", **config}}).encode(),
            "metadata.json": b'{"keras_version": "3.15.1"}',
            "model.weights.h5": hdf5_files.written({"layers": weights}),
        },
    )


def test_a_vector_that_meets_no_end_of_a_sequence(tmp_path: Path) -> None:
    layers = [
        described("InputLayer", name="x", batch_shape=[None, None, 2]),
        described("InputLayer", name="v", batch_shape=[None, 3]),
        described("Activation", tensor("x"), name="a", activation="tanh"),
        described("Activation", tensor("v"), name="b", activation="tanh"),
    ]
    path = functional(tmp_path, layers, "a", {})

    def both_ends(config: dict[str, Any]) -> None:
        ends = {"input_layers": [["x", 0, 0], ["v", 0, 0]], "output_layers": [["a", 0, 0], ["b", 0, 0]]}
        config["config"].update(ends)

    with pytest.raises(
        ConversionError,
        match="input 'v': got a vector that meets no end of the sequence 'x'; join it with the last time",
    ):
        convert(changed(path, both_ends), reference=False)


def test_a_vector_that_is_a_state_too(tmp_path: Path) -> None:
    def change(model: dict[str, Any]) -> None:
        model["config"]["layers"] += [STATE, described("Activation", tensor("h"), activation="tanh")]
        model["config"].update(input_layers=[["x", 0, 0], ["h", 0, 0]])
        model["config"]["output_layers"].append(["new", 0, 0])
        calling("g1", D, initial_state=tensor("h"))(model)

    with pytest.raises(
        ConversionError, match=r"got (the input 'h' as its initial state|an input of two axes as its input)"
    ):
        convert(edited(tmp_path, "k3_residual", change), reference=False)


def test_tokens_of_two_vocabularies(tmp_path: Path) -> None:
    layers = [
        described("InputLayer", name="t", batch_shape=[None, None], dtype="int32"),
        described("Embedding", tensor("t"), name="a", input_dim=7, output_dim=2),
        described("Embedding", tensor("t"), name="b", input_dim=9, output_dim=2),
    ]
    weights = {"embedding": {"vars": {"0": np.ones((7, 2))}}, "embedding_1": {"vars": {"0": np.ones((9, 2))}}}
    with pytest.raises(
        ConversionError, match="the tokens 't', which another layer reads with 7 of them; use one size of vocabulary"
    ):
        convert(functional(tmp_path, layers, "b", weights))


def test_slopes_of_every_timestep(tmp_path: Path) -> None:
    layers = [
        described("InputLayer", name="x", batch_shape=[None, 6, 3]),
        described("PReLU", tensor("x"), name="slopes"),
    ]
    with pytest.raises(
        ConversionError, match=r"got slopes of shape \(6, 3\); use shared_axes=\[1\], so that all timest"
    ):
        convert(functional(tmp_path, layers, "slopes", {"p_re_lu": {"vars": {"0": np.ones((6, 3))}}}))


def test_an_architecture_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "weights.h5").write_bytes(hdf5_files.written({"layers": {}}))
    (tmp_path / "model.json").write_bytes(b" " * ((64 << 20) + 1))
    with pytest.raises(
        ConversionError,
        match=r"model\.json: expected at most 67108864 bytes, got 67108865; give what model\.to_json\(\) ret",
    ):
        convert(tmp_path / "weights.h5", layers=str(tmp_path / "model.json"))
