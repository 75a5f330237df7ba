"""Damaged graphs of one timestep: networks, or errors of grurt's own, in little time."""

from __future__ import annotations

import random

import onnx_fuzz
import pytest
from onnx_graphs import node, proto, written
from paths import DATA
from step_graphs import imported

import grurt
from grurt.converters.literal.options import ImportOptions, StepOptions
from grurt.converters.onnx.convert import network_of_bytes
from grurt.errors import ConversionError, GrurtError
from grurt.network.network import Source

FILES = {path: path.read_bytes() for path in sorted((DATA / "steps").glob("*.onnx"))}


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.timeout(60)
def test_a_damaged_file_is_a_network_or_an_error(path: object) -> None:
    source, outcomes = random.Random(str(path)), set()
    step = StepOptions(bind={"sr": 16000}, state={"state": "last"}) if "detector" in str(path) else StepOptions()
    for _ in range(150):
        data = onnx_fuzz.mutated(FILES[path], source)  # type: ignore[index]
        try:
            network = network_of_bytes(data, source=Source(format="onnx"), options=ImportOptions("literal", step))
        except GrurtError as error:
            outcomes.add(type(error))
        else:
            assert isinstance(network, grurt.Network)
            outcomes.add(grurt.Network)
    assert {grurt.Network, ConversionError} <= outcomes


@pytest.mark.parametrize(
    "op", ["If", "Loop", "Gather", "CumSum", "GRU", "Conv", "Einsum", "Attention", "Concat", "Where"]
)
def test_an_operator_that_reads_nothing_is_refused(op: str) -> None:
    source = proto([node(op, [], ["y"]), *written("h_out = Tanh(h)")], {"x": (1, 3), "h": (1, 2)}, ["y", "h_out"], {})
    with pytest.raises(ConversionError):
        imported(source)


@pytest.mark.parametrize(
    "op", ["Gather", "CumSum", "GRU", "Conv", "MatMul", "Attention", "Where", "Pad", "Slice", "Expand"]
)
def test_an_operator_that_reads_too_little_is_refused(op: str) -> None:
    source = proto(
        [node(op, ["x"], ["y"]), *written("h_out = Tanh(h)")], {"x": (1, 3), "h": (1, 2)}, ["y", "h_out"], {}
    )
    with pytest.raises(ConversionError):
        imported(source)
