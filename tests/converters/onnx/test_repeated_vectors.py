"""A decoder that reads nothing but an encoder's end, at as many timesteps as a number says, or as a sequence has."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import grurt
from grurt.converters.onnx.convert import network_of_bytes
from grurt.errors import UnsupportedError

RNG = np.random.default_rng(70)
COUNTS = {
    "of a number": [],
    "of a sequence": [("Shape", ["x"], "count", {"start": 0, "end": 1})],
    "of half a sequence": [("Shape", ["x"], "all", {"start": 0, "end": 1}), ("Div", ["all", "two"], "count", {})],
}


def graph(how: str, *, tokens: bool = False) -> bytes:
    """Return a graph with an encoder, whose end is tiled along the axis of time, and a decoder."""
    weights = {
        "we": RNG.normal(size=(1, 24, 5)),
        "re": RNG.normal(size=(1, 24, 8)),
        "wd": RNG.normal(size=(1, 12, 8)),
        "rd": RNG.normal(size=(1, 12, 4)),
        "table": RNG.normal(size=(9, 5)),
    }
    numbers = {"two": [2], "ones": [1, 1], "count": [7]} | ({} if how == "of a number" else {"count": None})
    constants = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
    constants += [numpy_helper.from_array(np.array(n, np.int64), name) for name, n in numbers.items() if n is not None]
    nodes = [helper.make_node(op, read, [written], **options) for op, read, written, options in COUNTS[how]]
    if tokens:
        nodes.append(helper.make_node("Gather", ["table", "x"], ["read"]))
    nodes += [
        helper.make_node("GRU", ["read" if tokens else "x", "we", "re"], ["", "end"], hidden_size=8),
        helper.make_node("Concat", ["count", "ones"], ["repeats"], axis=0),
        helper.make_node("Tile", ["end", "repeats"], ["repeated"]),
        helper.make_node("GRU", ["repeated", "wd", "rd"], ["states", ""], hidden_size=4),
        helper.make_node("Squeeze", ["states", "axis"], ["y"]),
    ]
    constants.append(numpy_helper.from_array(np.array([1], np.int64), "axis"))
    kind, shape = (TensorProto.INT64, ["time", "batch"]) if tokens else (TensorProto.FLOAT, ["time", "batch", 5])
    read = {name for node in nodes for name in node.input}
    made = helper.make_graph(
        nodes,
        "repeated",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["steps", "batch", 4])],
        [constant for constant in constants if constant.name in read],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def converted(content: bytes) -> grurt.Model:
    return grurt.Model.from_network(network_of_bytes(content, source=grurt.Source(format="onnx"), reference=False))


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize(("how", "n_steps"), [("of a number", 7), ("of a sequence", 0)])
def test_answers_are_those_of_onnxruntime(how: str, n_steps: int, tokens: bool) -> None:
    content = graph(how, tokens=tokens)
    session = onnxruntime.InferenceSession(content)
    model = converted(content)
    assert [layer.n_steps for layer in model.layers if isinstance(layer, grurt.RepeatVector)] == [n_steps]
    for time, batch in ((3, 1), (11, 5)):
        x = RNG.integers(0, 9, (time, batch)) if tokens else RNG.normal(size=(time, batch, 5)).astype(np.float32)
        (expected,) = session.run(None, {"x": x})
        found = model.run({"x": x})["y"]
        assert found.shape == expected.shape == (n_steps or time, batch, 4)
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


def test_as_often_as_half_a_sequence_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="the graph computes something that depends on how many timesteps or"):
        converted(graph("of half a sequence"))
