"""Right files, written in the ways in which other tools write them, have the same answers."""

from __future__ import annotations

import numpy as np
import onnx_graphs
import onnx_rewritten
import pytest
from onnx import ModelProto
from onnx_graphs import DATA, TOLERANCE, convert

EVERY = sorted(path.name for path in DATA.glob("*.onnx") if "qdyn" not in path.name and "oss" not in path.name)
SOME = ["c_eachstep_state2.dyn.op18.onnx", "e_charlm.ts.da.op23.onnx", "f_cell.ts.op17.onnx", "gru_op_opset7.onnx"]


def check(model: ModelProto, name: str) -> None:
    inputs, expected = onnx_graphs.stored(name)
    found = convert(model).run(inputs)
    assert isinstance(found, dict)
    for port, array in expected.items():
        np.testing.assert_allclose(found[port], array, rtol=0, atol=TOLERANCE, strict=True)


@pytest.mark.parametrize("rewrite", onnx_rewritten.REWRITES)
def test_some_files(rewrite: str) -> None:
    for name in SOME:
        model = onnx_graphs.load(name)
        onnx_rewritten.REWRITES[rewrite](model)
        check(model, name)


@pytest.mark.long
@pytest.mark.parametrize("name", EVERY)
def test_every_file(name: str) -> None:
    for _, model in onnx_rewritten.every_rewrite(onnx_graphs.load(name)):
        check(model, name)


def test_sparse_weights_run_as_the_source_does() -> None:
    model = onnx_graphs.load("c_eachstep_state2.dyn.op18.onnx")
    onnx_rewritten.REWRITES["sparse_weights"](model)
    found = convert(model, reference=True)
    assert found.reference_run is not None, found.source.notes
    assert found.verify().max_error < TOLERANCE
