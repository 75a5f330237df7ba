"""Infinities among constants, as masks hold them, compared with onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_graphs import after_gru, converted_and_checked, written

WEIGHTS = {
    "below": np.array([-np.inf, 0, 0.5, -np.inf, 0], np.float32),
    "above": np.array([np.inf, 0, 0.5, 0, np.inf], np.float32),
    "both": np.array([np.inf, 0, -np.inf, 0.25, 0], np.float32),
    "lowest": np.array(-np.inf, np.float32),
}


@pytest.mark.parametrize(
    "text",
    [
        "a = Add(s, below); y = Softmax <axis = -1>(a)",
        "a = Add(below, h); y = Softmax <axis = -1>(a)",
        "a = Sub(s, above); y = Softmax <axis = -1>(a)",
        "a = Sub(above, s); y = Sigmoid(a)",
        "a = Add(s, both); y = Tanh(a)",
        "a = Add(s, lowest); y = Relu(a)",
        "a = Add(s, below); b = Exp(a); c = Log(b); y = Relu(c)",
    ],
)
def test_added(text: str) -> None:
    nodes = written(text)
    read = {name for node in nodes for name in node.input}
    converted_and_checked(after_gru(nodes, {name: array for name, array in WEIGHTS.items() if name in read}))
