"""Functions of ``keras.ops``, of TensorFlow, and layers, called with what they cannot take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_files import changed, edited, layer_of

from grurt.converters import convert
from grurt.converters.json_text import decode_json
from grurt.errors import ConversionError, UnsupportedError

OPS, LAYERS = "keras.src.ops.numpy", "keras.layers"


def tensor(layer: str) -> dict[str, Any]:
    """Return what stands for the tensor that a layer returns."""
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [layer, 0, 0]}}


def array(value: object) -> dict[str, Any]:
    """Return what stands for an array of numbers."""
    return {"class_name": "__numpy__", "config": {"value": value}}


G = tensor("g1")
"""A sequence of 4 features, of ``k3_residual``."""
V = tensor("ends")
"""Its last timestep."""
ENDS = ("GetItem", [G, [{"class_name": "__slice__", "config": {}}, -1]], {}, {}, OPS)


def described(name: str, kind: str, args: list[Any], config: Any, kwargs: Any, module: str) -> dict[str, Any]:
    nodes = [{"args": args, "kwargs": kwargs}]
    return {"class_name": kind, "module": module, "config": {"name": name, **config}, "inbound_nodes": nodes}


def with_call(folder: Path, kind: str, *args: Any, kwargs: Any = None, module: str = OPS, **config: Any) -> Path:
    """Return a model that returns what a function or a layer makes of these arguments."""

    def change(model: dict[str, Any]) -> None:
        made = [described("ends", *ENDS), described("new", kind, list(args), config, kwargs or {}, module)]
        model["config"]["layers"] += made
        model["config"]["output_layers"] = [["new", 0, 0]]

    return edited(folder, "k3_residual", change)


@pytest.mark.parametrize(
    ("call", "config", "message"),
    [
        (["Roll", G], {"axis": -1, "shift": [1]}, "expected shift to be a whole number, got"),
        (["Take", G, array([[0, 1]])], {"axis": -1}, "got places that are no list of features; give a list of numbers"),
        (["Take", G, [4]], {"axis": -1}, "got places that are no list of features"),
        (["Tile", G], {"repeats": [1, 0.5]}, "expected repeats to be a whole number for each axis"),
        (["Tile", G], {"repeats": [1, 2, 1]}, r"got repeats=\[1, 2, 1\]; only features can be repeated"),
        (["Pad", G], {"mode": "constant", "pad_width": 3}, "expected pad_width to be two numbers for each axis"),
        (
            ["Pad", G],
            {"mode": "constant", "pad_width": [[0, 0], [1, 0], [0, 0]]},
            "got pad_width=.*; only features can be padded",
        ),
        (["Repeat", G], {"axis": -1, "repeats": 1025}, "got 4100 features; at most 4096 can be put in other places"),
        (["Hstack", [G, G]], {}, "got tensors of 3 axes; use concatenate with axis=-1"),
        (["Exp", tensor("stack")], {}, "got a stack of tensors as its input; reduce it along the axis of the stack"),
        (["Sum", tensor("stack")], {"axis": 1}, "a stack can be reduced along the axis that it has made"),
        (["Stack", [G, V]], {"axis": -1}, "got tensors of other shapes together, or very many; stack tensors of one"),
        (["Unstack", G], {"axis": 1}, "got an axis that is not that of the features; use axis=-1"),
        (["Glu", tensor("x")], {"axis": -1}, "expected an even number of features, got 3"),
        (["HardShrink", G], {"threshold": -0.5}, "expected threshold to be a number that is not negative"),
        (["Round", G], {"decimals": 7}, "expected decimals to be a whole number up to 6, got 7"),
        (["Where", G], {}, "got where without what it chooses from; give it two tensors or numbers"),
        (["Select", [G], [G, G]], {}, "got something else than as many choices as truth values; use where"),
        (["Select", [], [], 0.0], {}, "got no truth values; use where"),
        (["FullLike", G, G], {}, "got a tensor to fill with; fill with a number"),
        (["Matmul", array([[1.0]]), G], {}, "got something else than a tensor and a constant matrix; supported is a"),
        (["Matmul", G, array([[1.0]])], {}, r"expected a matrix of 4 rows, got the shape \(1, 1\)"),
        (["Einsum", G, array([[1.0]])], {"subscripts": "btf,gt->bgf"}, "got subscripts='btf,gt->bgf'; supported is a"),
        (["Average", G, array([1.0])], {"axis": -1}, "got weights of its numbers; multiply with them, and sum"),
        (["Norm", G], {"ord": 3, "axis": -1}, "got ord=3; supported are 1 and 2"),
        (["Normalize", G], {"order": 4, "axis": -1}, "got order=4; supported are 1 and 2"),
        (["LayerNorm", G, G], {"axis": -1}, "got weights that are no constants; use constants for each of 4 features"),
        (["LayerNorm", G], {"axis": -1, "rms_scaling": True}, "got rms_scaling=True; use rms_normalization"),
        (["Max", G], {"axis": -1, "initial": 0.0}, "got initial=0.0; reduce the features themselves"),
        (["Reshape", G], {"newshape": [-1, 24]}, "grurt keeps timesteps and features where they are"),
        (
            ["Sort", G],
            {"axis": -1},
            "supported are functions of the numbers or the features of a timestep, see the docs",
        ),
    ],
)
def test_functions_that_are_refused(call: list[Any], config: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = with_call(tmp_path, call[0], *call[1:], **config)
    stack = described("stack", "Stack", [[G, G]], {"axis": 0}, {}, OPS)
    path = changed(path, lambda model: model["config"]["layers"].append(stack))
    with pytest.raises(ConversionError, match=message):
        convert(path, reference=False)


@pytest.mark.parametrize(
    ("kind", "args", "config", "message"),
    [
        ("Dot", [[G, G]], {"axes": -1}, "got sequences as its inputs, whose timesteps it multiplies with each other"),
        ("Dot", [[V, V]], {"axes": 0}, "got axes=0; use axes=-1, of vectors of one size"),
        (
            "UpSampling1D",
            [G],
            {"size": 2},
            "it makes more timesteps of fewer; leave it out",
        ),
        (
            "CategoryEncoding",
            [tensor("x")],
            {"num_tokens": 4},
            "got output_mode='multi_hot', which joins all tokens of a sequence; use output_mode='one_hot'",
        ),
        (
            "CategoryEncoding",
            [tensor("x")],
            {"num_tokens": 4, "output_mode": "one_hot"},
            "a sequence as its input; tokens",
        ),
        ("TFOpLambda", [G], {"function": "math.atan"}, "got TensorFlow's function 'math.atan'; use Keras's own layers"),
        ("TFOpLambda", [G], {"function": "math.reduce_sum"}, "got axis=None; a function can work on the features of a"),
        ("SlicingOpLambda", [G], {"function": "code"}, "got function=code; use an index"),
    ],
)
def test_layers_that_are_refused(
    kind: str, args: list[Any], config: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = with_call(tmp_path, kind, *args, module=LAYERS, **config)
    longer = described("long", "ZeroPadding1D", [G], {"padding": [64, 0]}, {}, LAYERS)
    path = changed(path, lambda model: model["config"]["layers"].append(longer))
    with pytest.raises(ConversionError, match=message):
        convert(path, reference=False)


@pytest.mark.parametrize(
    ("function", "named", "message"),
    [
        ("split", {"num_or_size_splits": [1.0], "axis": -1}, r"expected sizes of parts, got \[1.0\]"),
        (
            "linalg.matmul",
            {"b": [[1.0]], "transpose_b": True},
            "got the argument transpose_b=True of linalg.matmul; call it without",
        ),
    ],
)
def test_calls_of_tensorflow_that_are_refused(
    function: str, named: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = with_call(tmp_path, "TFOpLambda", G, kwargs=named, module=LAYERS, function=function)
    with pytest.raises(ConversionError, match=message):
        convert(path, reference=False)


@pytest.mark.parametrize("by_name", [True, False])
def test_a_layer_normalization_with_a_bias_alone(by_name: bool, tmp_path: Path) -> None:
    """Truth: Keras adds ``beta`` to what it has normalized, and multiplies with ``gamma`` only where it is given."""
    beta = [1.0, -2.0, 3.0, 0.5]
    further, kwargs = ([], {"beta": array(beta)}) if by_name else ([None, array(beta)], {})
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    shifted = convert(with_call(tmp_path, "LayerNorm", G, *further, kwargs=kwargs, axis=-1), reference=False)
    plain = convert(with_call(tmp_path, "LayerNorm", G, axis=-1), reference=False)
    answer, centered = shifted.run(x), plain.run(x)
    np.testing.assert_allclose(answer - centered, np.tile(np.float32(beta), (5, 1)), rtol=0, atol=1e-5)
    np.testing.assert_allclose(centered.mean(-1), 0, atol=1e-5)


def test_a_bias_of_other_axes(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        dense = (item["config"] for item in config["config"]["layers"] if item["class_name"] == "EinsumDense")
        next(values for values in dense if values["bias_axes"]).update(equation="abc,dc->abd")

    with pytest.raises(UnsupportedError, match=r"got a bias of shape \(3,\); use bias_axes of the features"):
        convert(edited(tmp_path, "k3_products", change), reference=False)


def test_a_turned_sequence_has_no_softmax(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        layer_of(config, "activation")["config"]["activation"] = "softmax"

    with pytest.raises(UnsupportedError, match="got features before timesteps as its input; swap them back before it"):
        convert(edited(tmp_path, "k3_arrangement", change), reference=False)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": -Infinity, "b": [Infinity, NaN]}', {"a": "-Infinity", "b": ["Infinity", "NaN"]}),
        (r'["NaN and \\", Infinity, "a \" -Infinity"]', ["NaN and \\", "Infinity", 'a " -Infinity']),
    ],
)
def test_numbers_that_json_has_not_are_texts(text: str, value: object) -> None:
    assert decode_json(text, len(text), "text") == value


@pytest.mark.parametrize("text", ['{"a": "NaN', "[InfinityNaN]", '["NaN" NaN]', "NaNNaN"])
def test_texts_around_such_numbers_may_be_damaged(text: str) -> None:
    with pytest.raises(ConversionError, match="text: expected JSON, got damage"):
        decode_json(text, len(text), "text")
