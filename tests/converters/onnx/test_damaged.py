"""ONNX files that contradict the format: refused by the name of the tensor or node that does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import AttributeProto, ModelProto, SparseTensorProto, TensorProto, TypeProto, helper, numpy_helper
from onnx_graphs import INPUT, after_gru, convert, gru_weights, node, proto, random, written

import grurt
from grurt.converters import convert_onnx
from grurt.converters.onnx.convert import network_of_bytes
from grurt.errors import ConversionError

X = {"x": (4, 2, INPUT)}


def gru() -> ModelProto:
    """Return a graph of one GRU."""
    return proto(written("Y = GRU(x, W, R, B)"), X, ["Y"], gru_weights())


def refused(model: ModelProto, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(model)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\0" * 100, "expected an ONNX model, got bytes that are none: the file is damaged"),
        (b"", "expected an ONNX model, got one without any node: the file is damaged"),
    ],
)
def test_no_model(data: bytes, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        network_of_bytes(data, source=grurt.Source(format="onnx"))


def test_more_nodes_than_any_network_has() -> None:
    model = gru()
    model.graph.node.extend([node("Identity", ["Y"], ["z"])] * 200_000)
    refused(model, "the graph has 200001 nodes; at most 200000 are supported")


@pytest.mark.parametrize("is_sparse", [False, True])
def test_two_weights_of_one_name(is_sparse: bool) -> None:
    model = gru()
    if is_sparse:
        model.graph.sparse_initializer.append(sparse([1.0], [0], [1]))
        model.graph.sparse_initializer[0].values.name = "W"
    else:
        model.graph.initializer.append(model.graph.initializer[0])
    refused(model, "tensor 'W': the file holds two weights of this name: it is damaged")


def test_an_output_without_a_type() -> None:
    model = gru()
    model.graph.output[0].ClearField("type")
    refused(model, "'Y' in the graph's inputs and outputs: the file does not say of what type it is; export")


def sparse(values: list[float], places: list[int] | list[list[int]], shape: list[int]) -> SparseTensorProto:
    positions = np.array(places, np.int64)
    return helper.make_sparse_tensor(
        numpy_helper.from_array(np.array(values, np.float32), "p"), numpy_helper.from_array(positions, "i"), shape
    )


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (sparse([1], [3], [3]), r"its values and their positions do not fit its shape \(3,\): it is damaged"),
        (sparse([1], [-1], [3]), "do not fit its shape"),
        (sparse([1, 2], [1], [3]), "do not fit its shape"),
        (sparse([1], [[1]], [3, 3]), "do not fit its shape"),
        (sparse([1], [[1, 3]], [3, 3]), "do not fit its shape"),
        (sparse([1], [[[1, 1]]], [3, 3]), "do not fit its shape"),
        (sparse([1], [1], [1] * 17), "sparse tensor 'p': expected at most 16 axes, none of negative size"),
        (sparse([1], [1], []), "expected at most 16 axes"),
        (sparse([1], [1], [1 << 40]), r"its shape \(1099511627776,\) holds more than 64 times what is stored of it"),
    ],
)
def test_sparse_tensors(made: SparseTensorProto, message: str) -> None:
    model = gru()
    model.graph.sparse_initializer.append(made)
    refused(model, message)


def test_no_version_of_the_operators() -> None:
    model = gru()
    del model.opset_import[:]
    refused(model, "the file does not say which version of the ONNX operators it uses: it is damaged")


def test_an_input_that_is_a_sequence() -> None:
    model = gru()
    model.graph.input.append(helper.make_tensor_sequence_value_info("several", TensorProto.FLOAT, [2]))
    refused(model, "'several' in the graph's inputs and outputs: expected a tensor, got a sequence, map or optional")


def test_an_input_of_too_many_axes() -> None:
    model = proto(written("Y = GRU(x, W, R, B)"), {"x": (1,) * 17}, ["Y"], gru_weights())
    refused(model, r"'x' in the graph's inputs and outputs: expected at most 16 axes, got 17$")


def test_an_attribute_of_a_kind_that_no_operator_has() -> None:
    model = gru()
    model.graph.node[0].attribute.append(AttributeProto(name="made_of", type=AttributeProto.TYPE_PROTO, tp=TypeProto()))
    refused(model, r"node 'Y' \(GRU\): its attribute 'made_of' is of a kind that is not supported")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dims": [3, -15, 1]}, r"tensor 'W': expected at most 16 axes, none of negative size, got \(3, -15, 1\)"),
        (
            {"dims": [1, 15, 4]},
            r"tensor 'W': its shape \(1, 15, 4\) needs 60 elements, the file holds 45: it is damaged",
        ),
        ({"raw_data": b"12345"}, "tensor 'W': 5 bytes are no multiple of 4: the file is damaged"),
    ],
)
def test_weights(change: dict[str, object], message: str) -> None:
    model = gru()
    weight = model.graph.initializer[0]
    for name in change:
        weight.ClearField(name)
    weight.MergeFrom(TensorProto(**change))
    refused(model, message)


def test_weights_in_a_file_whose_name_no_file_can_have(tmp_path: Path) -> None:
    model = gru()
    weight = model.graph.initializer[0]
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="w" * 5000)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ConversionError, match=r"tensor 'W': its data file 'w{200}' cannot be found"):
        convert_onnx(tmp_path / "model.onnx")


def test_answers_of_onnxruntime_that_are_not_finite() -> None:
    nodes = written("a = MatMul(s, M); b = Mul(a, big); y = Mul(b, big)")
    model = after_gru(nodes, {"M": random(5, 2), "big": np.array(1e30, np.float32)})
    assert convert(model, reference=True).source.notes == (
        "no reference run: onnxruntime gave answers that are not finite",
    )


def test_more_timesteps_than_a_test_can_run() -> None:
    model = proto(written("Y = GRU(x, W, R, B)"), {"x": (2**27, 1, INPUT)}, ["Y"], gru_weights())
    assert convert(model, reference=True).source.notes == (
        "no reference run: the file fixes its inputs to 134217728 timesteps, too many for a test",
    )
