"""Calls of operators that mean something else than what grurt computes, and programs that are no module of tensors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import DATA, entries, state_dict, text, zipped
from programs import X, exported, network_of
from torch import nn

from grurt.converters import convert
from grurt.errors import ConversionError

Change = Callable[[dict[str, Any]], object]

PROGRAM = "export/models/model.json"


def changed(path: Path, change: Change, stored: Path = DATA / "export.pt2") -> Path:
    """Write a copy of a program, which is a GRU and a linear layer, with a changed document."""
    files = entries(stored)
    name = next(name for name in files if name.endswith(".json") and "/models/" in name)
    document = json.loads(files[name])
    change(document)
    path.write_bytes(zipped(files | {name: json.dumps(document).encode()}))
    return path


def argument(value: Any) -> dict[str, Any]:
    """Return an argument of a call as torch's export schema has it; a text names a tensor."""
    kinds = {str: "as_tensor", bool: "as_bool", int: "as_int", float: "as_float", list: "as_ints", dict: "as_sym_int"}
    return {kinds[type(value)]: {"name": value} if isinstance(value, str) else value}


def ending(operator: str, **arguments: Any) -> Change:
    """Return a change that puts a call in place of the last one; ``getitem`` is what the GRU gives."""

    def change(document: dict[str, Any]) -> None:
        call = document["graph_module"]["graph"]["nodes"][-1]
        inputs = [{"name": name, "arg": argument(value), "kind": 1} for name, value in arguments.items()]
        call.update(target=f"torch.ops.aten.{operator}", inputs=inputs, name="end")

    return change


def with_size(size: dict[str, Any], change: Change) -> Change:
    """Return a change that also declares another number of timesteps of what the GRU gives."""

    def both(document: dict[str, Any]) -> None:
        document["graph_module"]["graph"]["tensor_values"]["getitem"]["sizes"][1] = size
        change(document)

    return both


def nodes(change: Callable[[list[Any]], object]) -> Change:
    return lambda document: change(document["graph_module"]["graph"]["nodes"])


def signature(change: Callable[[dict[str, Any]], object]) -> Change:
    return lambda document: change(document["graph_module"]["signature"])


WINDOWS = {"dilation": [1, 1], "padding": [0, 0], "stride": [1, 1]}

OPEN = {"as_expr": {"expr_str": "s0", "hint": {"as_int": 5}}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ending("rrelu.default", self="getitem", training=True),
            r"it draws slopes at random; call model\.eval\(\) before the export",
        ),
        (
            ending("pairwise_distance.default", x1="getitem", x2="getitem", p=1.0),
            "it is a distance of order 1.0; supported is 2",
        ),
        (
            ending("nan_to_num.default", self="getitem", posinf=1.0),
            "it has numbers in place of infinities; use its default for posinf and neginf",
        ),
        (ending("stack.default", tensors="getitem", dim=4), "its arguments are not those of torch 2.13"),
        (
            ending("linspace.default", start=0.0, end=1.0, steps=4097),
            "it makes 4097 numbers; at most 4096 are supported",
        ),
        (
            ending("tensordot.default", self="getitem", other="p_fc_weight", dims_self=[1], dims_other=[0]),
            "it contracts other axes than the last with the first of a matrix; use a linear layer",
        ),
        (
            ending("diff.default", self="getitem", n=2),
            "it is of another order than 1, or joins tensors; write it as slices and differences",
        ),
        (
            with_size(OPEN, ending("narrow.default", self="getitem", dim=1, start=-1, length=1)),
            "it counts from the end of an axis of open size; use a slice",
        ),
        (
            ending("roll.default", self="getitem", shifts=[1]),
            "it rolls all axes as one; roll the features, with dims=-1",
        ),
        (
            ending("repeat_interleave.self_int", self="getitem", repeats=2),
            "it repeats something else than the features; repeat each as often, with dim=-1",
        ),
        (
            with_size(OPEN, ending("unfold.default", self="getitem", dimension=1, size=2, step=1)),
            "it cuts windows out of an axis of open size; cut them out of the features",
        ),
        (
            with_size(OPEN, ending("im2col.default", self="getitem", **WINDOWS, kernel_size=[2, 2])),
            "it cuts windows out of an axis of open size; export it with fixed sizes",
        ),
        (
            ending("im2col.default", self="getitem", **WINDOWS, kernel_size=[1 << 40, 2]),
            r"it cuts windows of \(1099511627776, 2\) places; cut smaller ones",
        ),
        (
            ending("index_fill.int_Scalar", self="getitem", dim=1, index="getitem", value=1.0),
            "it fills another axis than that of the features; fill features, with dim=-1",
        ),
        (
            with_size(OPEN, ending("group_norm.default", input="getitem", num_groups=1)),
            "it normalizes features of an open number; export with a fixed number of features",
        ),
        (
            ending("bucketize.Tensor", self="getitem", boundaries="p_fc_weight"),
            r"it has boundaries of shape \(3, 8\); use up to 64",
        ),
        (
            ending("topk.default", self="getitem", k=2),
            "grurt has no layer that computes it; compute it before the model",
        ),
        (ending("tensor_split.sections", self="getitem", sections=0, dim=2), "it splits into 0 parts; at most 4096"),
        (ending("elu.default", self="getitem", scale=1.05), "it is scaled by 1.05 and 1.0; use ELU, CELU or SELU"),
        (
            ending("layer_norm.default", input="getitem", normalized_shape=[1 << 25]),
            "it normalizes 33554432 numbers; at most 16777216 are supported",
        ),
        (
            ending("avg_pool2d.default", self="getitem", kernel_size=[1, 2], divisor_override=3),
            "it has a divisor_override; multiply its result by a number instead",
        ),
        (
            ending("convolution.default", input="getitem", weight="p_fc_weight", transposed=True),
            "it changes the number of timesteps; a stream gives one output for each input",
        ),
        (
            ending("dropout.default", input="getitem", p=0.5, train=True),
            r"it drops values at random; call model\.eval\(\) before the export",
        ),
        (
            ending("batch_norm.default", input="getitem", training=True),
            r"it normalizes with the batch's own statistics; call model\.eval\(\) before the export",
        ),
        (
            nodes(lambda calls: calls[-1].update(target="torch.ops.higher_order.cond")),
            "control flow is not supported; export a module without loops and conditions on the data",
        ),
        (
            nodes(lambda calls: calls[-1].update(target="torch.ops.quantized_decomposed.quantize_per_tensor.default")),
            "the model was quantized; export the model of floating-point weights: grurt quantizes by itself",
        ),
        (ending("to.dtype", self="getitem", dtype=9), "it converts to the dtype number 9; compute in float32"),
        (
            ending("select.int", self="getitem", dim=1, index={"as_name": "length"}),
            "its argument 'index' depends on the inputs' sizes; use a number",
        ),
        (
            ending("full_like.default", self="getitem", fill_value={"as_name": "length"}),
            "its value is computed; fill with a number",
        ),
        (
            with_size(OPEN, ending("split.Tensor", self="getitem", split_size=2, dim=1)),
            "it splits an axis of open size; whole sequences must be kept",
        ),
        (
            with_size({"as_int": 5000}, ending("split.Tensor", self="getitem", split_size=1, dim=1)),
            "it splits into 5000 parts; at most 4096 are supported",
        ),
        (
            ending("flatten.using_ints", self="getitem", start_dim=7),
            "the axis 7 is none of the 3 of its input; the file is damaged",
        ),
        (ending("relu.default", self=3), "its argument 'self' is no tensor; export the model with torch 2.13"),
        (ending("softmax.int", self="getitem"), "its arguments are not those of torch 2.13; export the model again"),
        (
            ending("prelu.default", self="getitem", weight="getitem"),
            "its weights 'getitem' are computed; save the weights themselves, without a parametrization",
        ),
        (
            nodes(lambda calls: calls[1]["inputs"][2]["arg"]["as_tensors"].pop()),
            "it has 7 weights; a GRU with projections is not supported",
        ),
        (nodes(lambda calls: calls.extend([0] * 200_000)), "program: expected at most 200000 nodes, got 200003"),
        (
            lambda document: document["schema_version"].update(major=99),
            "expected version 5 to 9 of torch's export schema, got 99; export the model with torch 2.13",
        ),
        (
            signature(lambda specs: specs["input_specs"].append({"user_input": {"arg": {"as_int": 3}}})),
            r"program: expected tensors as inputs, got .*as_int.* \(user_input\); export a module that takes tensors",
        ),
        (
            signature(lambda specs: specs["output_specs"].append({"user_output": {"arg": {"as_int": 3}}})),
            "program: expected tensors as outputs, got user_output; export a module that gives tensors",
        ),
    ],
)
def test_programs(change: Change, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(changed(tmp_path / "program.pt2", change), reference=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "archive: 'export/models/model.json': expected JSON, got damage: Input data was truncated"),
        (b"[]", "archive: expected an object in 'export/models/model.json', got list"),
        (
            b'{"a":[' + b"{}," * 200_000 + b"{}]}",
            r"'export/models/model.json': expected JSON of at most [\d,]+ bytes when it is decoded, got up to",
        ),
    ],
)
def test_documents(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "program.pt2").write_bytes(zipped(entries(DATA / "export.pt2") | {PROGRAM: content}))
    with pytest.raises(ConversionError, match=message):
        convert(tmp_path / "program.pt2")


def test_weights_of_the_earlier_layout_that_are_no_tensors(tmp_path: Path) -> None:
    files = {
        "serialized_exported_program.json": entries(DATA / "export.pt2")[PROGRAM],
        "serialized_state_dict.pt": zipped({"archive/data.pkl": state_dict(weight=text("no tensor"))}),
    }
    (tmp_path / "program.pt2").write_bytes(zipped(files))
    with pytest.raises(ConversionError, match="tensor 'weight': expected a plain tensor; export the model of floating"):
        convert(tmp_path / "program.pt2")


def test_a_program_that_torch_cannot_run(tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        inputs = document["graph_module"]["graph"]["nodes"][-1]["inputs"]
        inputs.append({"name": "unknown", "arg": {"as_int": 1}, "kind": 1})

    (note,) = convert(changed(tmp_path / "program.pt2", change)).source.notes
    assert note.startswith("no reference run: torch cannot run the program: ")


@pytest.mark.slow
def test_answers_that_are_not_finite(tmp_path: Path) -> None:
    network = network_of(
        lambda net, x: net.gru(x)[0] * np.float32(3e38).item() * 1e30, X, gru=nn.GRU(4, 8, batch_first=True)
    )
    exported(network, tmp_path / "program.pt2")
    assert convert(tmp_path / "program.pt2").source.notes == (
        "no reference run: torch gave answers that are not finite",
    )
