"""Files that compute in float16, which onnxruntime optimizes wrongly: the process ends if it is asked to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

PROGRAM = """
import sys
from grurt.converters import convert
model = convert(sys.argv[1])
assert model.reference_run is not None, model.source.notes
print(model.verify().max_error)
"""


@pytest.mark.slow
def test_a_gru_of_float16_is_compared_and_ends_no_process(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes = {"W": (1, 24, 6), "R": (1, 24, 8), "B": (1, 48), "M": (8, 3), "c": (3,)}
    weights = [
        numpy_helper.from_array(rng.uniform(-0.4, 0.4, shape).astype(np.float16), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Transpose", ["x"], ["xt"], perm=[1, 0, 2]),
        helper.make_node("GRU", ["xt", "W", "R", "B"], ["Y", ""], hidden_size=8, linear_before_reset=1),
        helper.make_node("Squeeze", ["Y", "one"], ["s"]),
        helper.make_node("Transpose", ["s"], ["st"], perm=[1, 0, 2]),
        helper.make_node("MatMul", ["st", "M"], ["m"]),
        helper.make_node("Add", ["m", "c"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT16, [1, "T", n]) for name, n in (("x", 6), ("y", 3)))
    graph = helper.make_graph(nodes, "g", [x], [y], [*weights, numpy_helper.from_array(np.array([1]), "one")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "model.onnx")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert float(result.stdout) < 5e-3
