"""Files that define operators of their own as functions, compared with onnxruntime, which knows them too."""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch_networks
from onnx import AttributeProto, FunctionProto, ModelProto, NodeProto, helper
from onnx_exports import check
from onnx_graphs import (
    HIDDEN,
    INPUT,
    after_gru,
    convert,
    converted_and_checked,
    gru_weights,
    node,
    proto,
)
from torch_networks import NETWORKS, Network

import grurt
from grurt.converters.onnx import functions
from grurt.converters.onnx.convert import network_of_bytes, network_of_proto
from grurt.errors import ConversionError, DesignReason, UnsupportedError

DOMAIN = "own"


def call(op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> NodeProto:
    return node(op, inputs, outputs, domain=DOMAIN, **attributes)


def referring(made: NodeProto, kind: int = AttributeProto.FLOAT, **attributes: str) -> NodeProto:
    """Return the node with attributes that are those of the call."""
    for name, of_call in attributes.items():
        made.attribute.append(AttributeProto(name=name, ref_attr_name=of_call, type=kind))  # type: ignore[arg-type]
    return made


def function(
    name: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    nodes: Sequence[NodeProto],
    *,
    opset: int = 18,
    **options: Any,
) -> FunctionProto:
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(DOMAIN, 1)]
    overload = options.pop("overload", "")
    made = helper.make_function(DOMAIN, name, inputs, outputs, nodes, imports, **options)
    made.overload = overload
    return made


def with_functions(model: ModelProto, *made: FunctionProto) -> ModelProto:
    model.functions.extend(made)
    model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    model.ir_version = 10
    return model


def steps(model: grurt.Model) -> list[str]:
    """Return the kinds of the layers, and in place of activations their functions."""
    return [getattr(getattr(layer, "function", None), "name", layer.kind) for layer in model.layers]


SWISH = function("Swish", ["x"], ["y"], [node("Sigmoid", ["x"], ["s"]), node("Mul", ["x", "s"], ["y"])])
LEAK = function(
    "Leak",
    ["x"],
    ["y"],
    [referring(node("LeakyRelu", ["x"], ["y"]), alpha="slope")],
    attributes=["slope"],
)
LEAK_BY_DEFAULT = function(
    "Leak",
    ["x"],
    ["y"],
    [referring(node("LeakyRelu", ["x"], ["y"]), alpha="slope")],
    attribute_protos=[helper.make_attribute("slope", 0.3)],
)


def test_a_function() -> None:
    model = with_functions(after_gru([call("Swish", ["s"], ["y"])]), SWISH)
    assert steps(converted_and_checked(model)) == ["gru", "sigmoid", "mul"]


def test_calls_of_one_function_do_not_share_their_tensors() -> None:
    model = with_functions(after_gru([call("Swish", ["s"], ["a"]), call("Swish", ["a"], ["y"])]), SWISH)
    assert steps(converted_and_checked(model)) == ["gru", "sigmoid", "mul", "sigmoid", "mul"]


@pytest.mark.parametrize(
    ("leak", "attributes", "slope"),
    [(LEAK, {"slope": 0.2}, 0.2), (LEAK, {}, 0.01), (LEAK_BY_DEFAULT, {}, 0.3), (LEAK_BY_DEFAULT, {"slope": 0.1}, 0.1)],
)
def test_attributes(leak: FunctionProto, attributes: dict[str, float], slope: float) -> None:
    model = with_functions(after_gru([call("Leak", ["s"], ["y"], **attributes)]), leak)
    found = converted_and_checked(model).layers[-1].function  # type: ignore[union-attr]
    assert found.negative_slope == pytest.approx(slope)


def test_attributes_are_handed_on_through_functions() -> None:
    outer = function(
        "Outer",
        ["x"],
        ["y"],
        [referring(call("Leak", ["x"], ["a"]), slope="outer_slope"), call("Swish", ["a"], ["y"])],
        attributes=["outer_slope"],
    )
    model = with_functions(after_gru([call("Outer", ["s"], ["y"], outer_slope=0.4)]), outer, LEAK, SWISH)
    assert steps(converted_and_checked(model)) == ["gru", "leaky_relu", "sigmoid", "mul"]


def test_a_gru_in_a_function() -> None:
    made = function(
        "Layer",
        ["x", "w", "r", "b"],
        ["y", "h"],
        [
            referring(
                node("GRU", ["x", "w", "r", "b"], ["Y", "h"], linear_before_reset=1),
                AttributeProto.INT,
                hidden_size="n",
            ),
            node("Constant", [], ["axes"], value_ints=[1]),
            node("Squeeze", ["Y", "axes"], ["y"]),
        ],
        attributes=["n"],
    )
    weights = {**gru_weights(), **gru_weights(size=HIDDEN, prefix="second.")}
    nodes = [
        call("Layer", ["x", "W", "R", "B"], ["s", ""], n=HIDDEN),
        call("Layer", ["s", "second.W", "second.R", "second.B"], ["y", "hn"], n=HIDDEN),
    ]
    model = proto(nodes, {"x": ("t", "b", INPUT)}, ["y", "hn"], weights)
    assert steps(converted_and_checked(with_functions(model, made))) == ["gru", "gru"]


def test_a_function_has_its_own_version_of_the_operators() -> None:
    """Before version 13, Softmax worked on all axes from its own on."""
    made = function("Normalized", ["x"], ["y"], [node("Softmax", ["x"], ["y"])], opset=11)
    model = with_functions(after_gru([call("Normalized", ["h"], ["y"])]), made)
    assert steps(convert(model)) == ["gru", "last_step", "softmax"]
    with pytest.raises(UnsupportedError, match="its axis 1 of 3 is not that of the features of one timestep"):
        convert(with_functions(after_gru([call("Normalized", ["s"], ["y"])]), made))


def test_a_function_of_a_version_that_is_too_old() -> None:
    made = function("Normalized", ["x"], ["y"], [node("Softmax", ["x"], ["y"])], opset=6)
    with pytest.raises(UnsupportedError, match="the file uses version 6 of the ONNX operators"):
        convert(with_functions(after_gru([call("Normalized", ["s"], ["y"])]), made))


def test_a_function_may_leave_the_version_to_the_model() -> None:
    made = function("Swish", ["x"], ["y"], SWISH.node)
    del made.opset_import[:]
    assert steps(convert(with_functions(after_gru([call("Swish", ["s"], ["y"])]), made))) == ["gru", "sigmoid", "mul"]


def test_overloads() -> None:
    relu = function("Act", ["x"], ["y"], [node("Relu", ["x"], ["y"])], overload="relu")
    tanh = function("Act", ["x"], ["y"], [node("Tanh", ["x"], ["y"])], overload="tanh")
    nodes = [call("Act", ["s"], ["a"], overload="tanh"), call("Act", ["a"], ["y"], overload="relu")]
    assert steps(converted_and_checked(with_functions(after_gru(nodes), relu, tanh))) == ["gru", "tanh", "relu"]


def test_inputs_that_are_left_out_and_handed_through() -> None:
    """An optional input, an output that is an input, and one that stands twice."""
    made = function("Parts", ["x", "low", "high"], ["x", "y", "y"], [node("Clip", ["x", "low", "high"], ["y"])])
    nodes = [call("Parts", ["s", "", "top"], ["a", "b", "c"]), node("Sum", ["a", "b", "c"], ["y"])]
    model = with_functions(after_gru(nodes, {"top": np.array(0.1, np.float32)}), made)
    assert steps(convert(model)) == ["gru", "clip", "add"]


def test_a_function_in_place_of_an_operator() -> None:
    """What the file says of an operator counts, though its name be known."""
    made = helper.make_function(
        "com.microsoft", "FastGelu", ["x"], ["y"], [node("Relu", ["x"], ["y"])], [helper.make_opsetid("", 18)]
    )
    model = after_gru([node("FastGelu", ["s"], ["y"], domain="com.microsoft")])
    model.functions.append(made)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert steps(convert(model)) == ["gru", "relu"]


def test_faults_of_exporters_are_found_in_functions() -> None:
    made = function("Layer", ["x", "w", "r", "b"], ["y"], [node("GRU", ["x", "w", "r", "b"], ["y"])])
    model = proto(
        [call("Layer", ["x", "W", "R", "B"], ["y"])], {"x": (4, 2, INPUT)}, ["y"], gru_weights(), producer="pytorch"
    )
    model = with_functions(model, made)
    with pytest.raises(UnsupportedError, match="PyTorch wrote it with linear_before_reset=0"):
        convert(model)
    network = network_of_proto(model, folder=None, source=grurt.Source(format="onnx"), repair=True)
    assert network.layers[0].linear_before_reset  # type: ignore[union-attr]


def test_a_function_that_calls_itself() -> None:
    one = function("One", ["x"], ["y"], [call("Other", ["x"], ["y"])])
    other = function("Other", ["x"], ["y"], [call("One", ["x"], ["y"])])
    with pytest.raises(ConversionError, match=r"node 'y' \(own.One\): the function that it calls calls itself"):
        convert(with_functions(after_gru([call("One", ["s"], ["y"])]), one, other))


def test_a_function_that_is_defined_twice() -> None:
    with pytest.raises(ConversionError, match=r"the file defines the function 'own\.Swish' twice: it is damaged"):
        convert(with_functions(after_gru([call("Swish", ["s"], ["y"])]), SWISH, SWISH))


def doubling(count: int) -> list[FunctionProto]:
    """Return functions of which each calls the next one twice."""
    nodes = [[call(f"F{i + 1}", ["x"], ["a"]), call(f"F{i + 1}", ["a"], ["y"])] for i in range(count)]
    return [function(f"F{i}", ["x"], ["y"], each) for i, each in enumerate([*nodes, [node("Relu", ["x"], ["y"])]])]


@pytest.mark.parametrize("count", [4, 40])
def test_functions_that_call_functions_twice(count: int) -> None:
    model = with_functions(after_gru([call("F0", ["s"], ["y"])]), *doubling(count))
    if count < 10:
        assert steps(convert(model)) == ["gru"] + ["relu"] * 2**count
        return
    with pytest.raises(
        UnsupportedError, match="call each other so often that they write out more than 131072"
    ) as error:
        convert(model)
    assert error.value.reason is DesignReason.SIZE


def test_functions_may_write_out_as_much_as_is_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "SPARE_PARTS", 0)
    model = with_functions(after_gru([call("F0", ["s"], ["y"])]), *doubling(3))
    assert steps(convert(model)) == ["gru"] + ["relu"] * 8


def test_a_long_chain_of_functions() -> None:
    """No deeper than the file is long, and without a Python call for each."""
    bodies = [[call(f"F{i + 1}", ["x"], ["y"])] for i in range(1500)]
    made = [function(f"F{i}", ["x"], ["y"], each) for i, each in enumerate([*bodies, [node("Relu", ["x"], ["y"])]])]
    assert steps(convert(with_functions(after_gru([call("F0", ["s"], ["y"])]), *made))) == ["gru", "relu"]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (call("Swish", ["s", "s"], ["y"]), "it has more inputs or outputs than the function that it calls"),
        (call("Swish", ["s"], ["y"], beta=1.0), "its attribute 'beta' is not understood"),
        (
            call("Unknown", ["s"], ["y"]),
            "an operator of the domain 'own', and the file does not say what it computes; export the model with",
        ),
    ],
)
def test_calls_that_fit_no_function(made: NodeProto, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(with_functions(after_gru([made]), SWISH))


def test_a_loop_in_a_function() -> None:
    """Its body reads names of the function."""
    body = helper.make_graph([node("Identity", ["w"], ["v"])], "body", [], [])
    made = function(
        "Looped", ["x"], ["y"], [node("Sigmoid", ["x"], ["w"]), node("Loop", ["", "", "w"], ["y"], body=body)]
    )
    with pytest.raises(
        UnsupportedError, match="the function that it calls holds a loop or a branch; export the"
    ) as error:
        convert(with_functions(after_gru([call("Looped", ["s"], ["y"])]), made))
    assert error.value.reason is DesignReason.DATA_DEPENDENT


def test_new_names_are_none_that_the_file_has() -> None:
    model = with_functions(after_gru([call("Swish", ["s"], ["y"])], {"s_1": np.array([1])}), SWISH)
    assert steps(converted_and_checked(model)) == ["gru", "sigmoid", "mul"]


def test_an_operator_of_a_domain_that_nobody_knows_is_no_missing_gru() -> None:
    model = proto([call("Recurrent", ["x"], ["y"])], {"x": (4, 2, INPUT)}, ["y"], {})
    model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    with pytest.raises(
        UnsupportedError, match="export the model with operators of ONNX, or with a function for"
    ) as error:
        convert(model)
    assert error.value.reason is DesignReason.OWN_CODE


EXPORTED = ["softmax", "unbatched_with_states", "cells", "layer_norms", "convolution"]


TWO_LINEAR_LAYERS = Network(
    torch_networks.Net(
        lambda net, x: net.second(net.gru(net.first(x))[0]),
        first=torch.nn.Linear(4, 4),
        gru=torch_networks.gru(),
        second=torch.nn.Linear(8, 8),
    ).eval(),
    (torch.randn(2, 5, 4),),
    {},
)


def modules_as_functions(network: Network) -> bytes:
    buffer = io.BytesIO()
    names = [f"input_{index}" for index in range(len(network.inputs))]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            copy.deepcopy(network.module),  # the exporter leaves hooks in it
            network.inputs,
            buffer,
            input_names=names,
            opset_version=17,
            dynamo=False,
            export_modules_as_functions=True,
        )
    return buffer.getvalue()


@pytest.mark.slow
def test_layers_have_the_names_of_the_modules_that_are_called() -> None:
    """And not of the first one that was exported as the function that they share."""
    network = network_of_bytes(modules_as_functions(TWO_LINEAR_LAYERS), source=grurt.Source(format="onnx"))
    assert [layer.name for layer in network.layers] == ["first", "gru", "second"]


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTED)
def test_modules_that_pytorch_exported_as_functions(name: str) -> None:
    network = network_of_bytes(modules_as_functions(NETWORKS[name]), source=grurt.Source(format="onnx"), reference=True)
    model = grurt.Model.from_network(network)
    check(model, NETWORKS[name], NETWORKS[name].inputs)
    assert model.verify().same_bits
