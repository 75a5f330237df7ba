"""Files that leave the number of features open, which their weights tell; compared with onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import NodeProto
from onnx_graphs import HIDDEN, INPUT, TOLERANCE, convert, gru_weights, node, proto, random

from grurt.converters import convert_onnx
from grurt.errors import ConversionError

GRU = node("GRU", ["z", "W", "R", "B"], ["Y"], hidden_size=HIDDEN)
FIRST = {
    "the GRU's": node("Relu", ["x"], ["z"]),
    "a matrix's": node("MatMul", ["x", "M"], ["z"]),
    "a scale's": node("Mul", ["x", "g"], ["z"]),
    "of the transposed": node("Transpose", ["x"], ["z"], perm=[1, 0, 2]),
}
WEIGHTS = {**gru_weights(), "M": random(INPUT, INPUT), "g": random(INPUT)}


@pytest.mark.parametrize("names", [("a", "b", "c"), ("a", "b", None), (None, None, None), (5, 2, "c")])
@pytest.mark.parametrize("first", FIRST.values(), ids=FIRST)
def test_the_number_of_features_is_that_of_the_weights(
    first: NodeProto, names: tuple[str | int | None, ...], tmp_path: Path
) -> None:
    read = {*first.input, *GRU.input}
    graph = proto([first, GRU], {"x": names}, ["Y"], {name: array for name, array in WEIGHTS.items() if name in read})
    path = tmp_path / "model.onnx"
    path.write_bytes(graph.SerializeToString())
    model = convert_onnx(path)
    assert model.inputs[0].size == INPUT
    xs = np.random.default_rng(0).standard_normal((5, 2, INPUT)).astype(np.float32)
    (expected,) = onnxruntime.InferenceSession(path).run(None, {"x": xs})
    found = model.run({"x": xs})
    assert isinstance(found, dict)
    np.testing.assert_allclose(found["Y"], expected, rtol=0, atol=TOLERANCE)


def test_features_that_two_layers_count_differently() -> None:
    nodes = [node("MatMul", ["x", "M"], ["z"]), GRU, node("MatMul", ["x", "N"], ["y"])]
    weights = {**{name: WEIGHTS[name] for name in ("W", "R", "B", "M")}, "N": random(INPUT + 1, 2)}
    with pytest.raises(
        ConversionError, match=rf"expects {INPUT + 1} features, and gets a tensor of shape \(t, b, {INPUT}\)"
    ):
        convert(proto(nodes, {"x": ("t", "b", "f")}, ["Y", "y"], weights))
