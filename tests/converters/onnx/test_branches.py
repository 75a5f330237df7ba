"""Branches on the size of an axis, as PyTorch writes ``squeeze`` of tensors of open sizes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import NodeProto, TensorProto, helper
from onnx_exports import check, exported
from onnx_graphs import INPUT, after_gru, convert, converted_and_checked, node, random
from torch import Tensor, nn
from torch_networks import Network

from grurt.errors import DesignReason, UnsupportedError


def branch(op: str, source: str, *more: NodeProto, inputs: tuple[str, ...] = ()) -> onnx.GraphProto:
    output = helper.make_tensor_value_info(f"{op}_of_{source}", TensorProto.FLOAT, None)
    return helper.make_graph([*more, node(op, [source, *inputs], [output.name])], op, [], [output])


def squeeze(source: str, axis: int, *, tested: int | None = None) -> list[NodeProto]:
    """Return the nodes of ``source.squeeze(axis)``, which look at the size of an axis, the same if nothing is said."""
    axes = node("Constant", [], ["axes"], value_ints=[axis])
    then = branch("Squeeze", source, axes, inputs=("axes",))
    return [
        node("Shape", [source], ["sizes"]),
        node("Constant", [], ["place"], value_int=axis if tested is None else tested),
        node("Gather", ["sizes", "place"], ["size"]),
        node("Constant", [], ["unit"], value_int=1),
        node("Equal", ["unit", "size"], ["is_unit"]),
        node("If", ["is_unit"], ["y"], then_branch=then, else_branch=branch("Identity", source)),
    ]


LAST = [node("Slice", ["s", "last", "end", "zero"], ["l"])]
WEIGHTS = {"last": np.array([-1]), "end": np.array([2**31 - 1])}


def test_an_axis_of_size_one_is_squeezed() -> None:
    converted = converted_and_checked(after_gru([*LAST, *squeeze("l", 0)], WEIGHTS))
    assert converted.signature.outputs[0].axes == ("batch", "feature")


def test_an_axis_of_another_size_is_kept() -> None:
    """Such a file, which onnxruntime does not load, is that without the branch."""
    x = {"x": random(4, 2, INPUT)}
    kept = [node("Identity", ["s"], ["y"])]
    found, expected = (convert(after_gru(nodes)).run(x) for nodes in (squeeze("s", 2), kept))
    np.testing.assert_array_equal(found["y"], expected["y"])


def test_an_axis_of_open_size_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="it drops axis 0 of input 'x' if its size is 1, and keeps it") as error:
        convert(after_gru(squeeze("s", 0)))
    assert error.value.reason is DesignReason.NOT_SAID


@pytest.mark.parametrize("tested", [1, 2])
def test_a_branch_on_another_axis_is_refused(tested: int) -> None:
    with pytest.raises(UnsupportedError, match="a branch that depends on the inputs is not supported"):
        convert(after_gru([*LAST, *squeeze("l", 0, tested=tested)], WEIGHTS))


class _Last(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru, self.fc = nn.GRU(4, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.gru(x)[0][:, -1:]).squeeze(1)


@pytest.mark.slow
@pytest.mark.parametrize("opset", [11, 17])
def test_what_pytorch_writes_for_squeeze(opset: int) -> None:
    network = Network(_Last().eval(), (torch.randn(2, 5, 4),), {0: "batch", 1: "time"})
    data = exported(network, dynamo=False, opset=opset, open_axes=network.open_axes)
    model = onnx.load_from_string(data)
    assert any(each.op_type == "If" for each in model.graph.node)
    check(convert(model), network, (torch.randn(3, 8, 4),))
