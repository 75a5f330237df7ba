"""Right ONNX files as other tools might have written them: each function changes a model that computes the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Rewrite = Callable[[ModelProto], None]

REWRITES: dict[str, Rewrite] = {}


def rewrite(change: Rewrite) -> Rewrite:
    REWRITES[change.__name__] = change
    return change


def version(model: ModelProto) -> int:
    return max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def replace_nodes(model: ModelProto, nodes: list[NodeProto]) -> None:
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def behind_constants(model: ModelProto, make: Callable[[TensorProto, str], NodeProto | None]) -> None:
    """Let nodes that ``make`` returns write floating-point weights, from what is left of them under another name."""
    new = []
    for index, tensor in enumerate(model.graph.initializer):
        made = make(tensor, f"stored_{index}") if tensor.data_type == TensorProto.FLOAT and tensor.dims else None
        if made is not None:
            new.append(made)
    replace_nodes(model, [*new, *model.graph.node])


def renamed(model: ModelProto, name: Callable[[int], str]) -> None:
    """Give all tensors but inputs and outputs other names."""
    names = {port.name: port.name for port in (*model.graph.input, *model.graph.output)}
    for tensor in model.graph.initializer:
        tensor.name = names.setdefault(tensor.name, name(len(names)))
    for node in model.graph.node:
        for field in (node.input, node.output):
            field[:] = [names.setdefault(old, name(len(names))) if old else "" for old in field]
    del model.graph.value_info[:]


# What stands beside the nodes.


@rewrite
def initializers_are_inputs(model: ModelProto) -> None:
    """As of the first versions of the format."""
    model.ir_version = 3
    tensors = model.graph.initializer
    ports = [helper.make_tensor_value_info(each.name, each.data_type, list(each.dims)) for each in tensors]
    inputs = list(model.graph.input)
    del model.graph.input[:]
    model.graph.input.extend([*ports, *inputs])


@rewrite
def no_shapes(model: ModelProto) -> None:
    del model.graph.value_info[:]
    for port in model.graph.output:
        port.type.tensor_type.ClearField("shape")


@rewrite
def numbers_as_names(model: ModelProto) -> None:
    renamed(model, str)


@rewrite
def odd_names(model: ModelProto) -> None:
    renamed(model, lambda index: f"ü {index}/∂:0 \n'\"{{}}")


@rewrite
def long_names(model: ModelProto) -> None:
    renamed(model, lambda index: "x" * 300 + str(index))


@rewrite
def nodes_without_names(model: ModelProto) -> None:
    for node in model.graph.node:
        node.name = ""
        del node.metadata_props[:]


@rewrite
def one_name_for_all_nodes(model: ModelProto) -> None:
    for node in model.graph.node:
        node.name = "node"


@rewrite
def spelled_out_domain(model: ModelProto) -> None:
    for part in (*model.opset_import, *model.graph.node):
        part.domain = "ai.onnx"


@rewrite
def more_domains(model: ModelProto) -> None:
    model.opset_import.extend([helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("x.y", 1)])
    model.producer_name = ""
    model.metadata_props.add(key="k", value="v")


@rewrite
def left_over_integers(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.arange(50), "left_over"))


# The nodes.


@rewrite
def nodes_in_reverse(model: ModelProto) -> None:
    replace_nodes(model, list(model.graph.node)[::-1])


@rewrite
def nodes_that_nobody_needs(model: ModelProto) -> None:
    source = next(name for name in model.graph.node[0].output if name)
    model.graph.node.append(helper.make_node("Relu", [source], ["needless"]))
    model.graph.node.append(helper.make_node("Unknown", ["needless"], ["needless_too"], domain="x.y"))


@rewrite
def inputs_and_outputs_left_out(model: ModelProto) -> None:
    """Names that are empty, where optional inputs and outputs stand at the end."""
    most = {"GRU": (6, 2), "Slice": (5, 1), "Clip": (3, 1), "Conv": (3, 1)}
    if version(model) >= 11:
        most["Gemm"] = (3, 1)
    for node in model.graph.node:
        if node.op_type in most and (node.op_type != "Slice" or len(node.input) > 1):
            for field, count in zip((node.input, node.output), most[node.op_type], strict=True):
                field.extend([""] * (count - len(field)))


@rewrite
def copies_everywhere(model: ModelProto) -> None:
    nodes: list[NodeProto] = []
    shown = {port.name: f"{port.name}/copied" for port in model.graph.output}
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name:
                first, second = f"copy_{len(nodes)}", f"copy_{len(nodes)}_again"
                nodes += [
                    helper.make_node("Identity", [shown.get(name, name)], [first]),
                    helper.make_node("Identity", [first], [second]),
                ]
                node.input[index] = second
        node.output[:] = [shown.get(name, name) for name in node.output]
        nodes.append(node)
    written = {name for node in nodes for name in node.output}
    nodes += [helper.make_node("Identity", [copy], [name]) for name, copy in shown.items() if copy in written]
    replace_nodes(model, nodes)


@rewrite
def dropout_left_over(model: ModelProto) -> None:
    """With a mask that nobody reads."""
    parameters = {"ratio": np.array(0.5, np.float32), "training": np.array(False)}
    is_input = version(model) >= 12
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        nodes.append(node)
        if node.op_type in ("GRU", "Add", "Tanh") and node.output[0]:
            name, node.output[0] = node.output[0], f"kept_{len(nodes)}"
            inputs = [node.output[0], *parameters] if is_input else [node.output[0]]
            attributes: dict[str, Any] = {} if is_input else {"ratio": 0.3}
            nodes.append(helper.make_node("Dropout", inputs, [name, f"mask_{len(nodes)}"], **attributes))
    replace_nodes(model, nodes)
    if is_input:
        model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in parameters.items())


# The weights.


def constants(model: ModelProto, attributes: Callable[[TensorProto], dict[str, Any]]) -> None:
    nodes = [helper.make_node("Constant", [], [each.name], **attributes(each)) for each in model.graph.initializer]
    del model.graph.initializer[:]
    replace_nodes(model, [*nodes, *model.graph.node])


@rewrite
def weights_as_nodes(model: ModelProto) -> None:
    constants(model, lambda tensor: {"value": tensor})


@rewrite
def weights_as_numbers(model: ModelProto) -> None:
    """As attributes of numbers and lists of numbers, from version 12 on."""
    kinds = {TensorProto.FLOAT: "value_float", TensorProto.INT64: "value_int"}

    def attributes(tensor: TensorProto) -> dict[str, Any]:
        array = numpy_helper.to_array(tensor)
        if version(model) < 12 or tensor.data_type not in kinds or array.ndim > 1 or not array.size:
            return {"value": tensor}
        return {kinds[tensor.data_type] + "s" * array.ndim: array.tolist()}

    nodes = [node for node in model.graph.node if node.op_type == "Constant" and node.attribute[0].name == "value"]
    for node in nodes:
        node.attribute[0].t.name = node.output[0]
        model.graph.initializer.append(node.attribute[0].t)
        model.graph.node.remove(node)
    constants(model, attributes)


@rewrite
def nodes_as_weights(model: ModelProto) -> None:
    kept = []
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            node.attribute[0].t.name = node.output[0]
            model.graph.initializer.append(node.attribute[0].t)
        else:
            kept.append(node)
    replace_nodes(model, kept)


@rewrite
def sparse_weights(model: ModelProto) -> None:
    """Those of rank 2 by positions on each axis, others by positions in all of it."""
    dense = []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype != np.float32 or not array.ndim:
            dense.append(tensor)
            continue
        places = np.flatnonzero(array)
        positions = np.argwhere(array) if array.ndim == 2 else places
        values = numpy_helper.from_array(array.reshape(-1)[places], tensor.name)
        indices = numpy_helper.from_array(positions.astype(np.int64), f"{tensor.name}/places")
        model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, list(array.shape)))
    del model.graph.initializer[:]
    model.graph.initializer.extend(dense)


@rewrite
def sparse_constants(model: ModelProto) -> None:
    if version(model) < 11:
        return

    def attributes(tensor: TensorProto) -> dict[str, Any]:
        array = numpy_helper.to_array(tensor)
        if array.dtype != np.float32 or array.ndim != 2:
            return {"value": tensor}
        places = np.flatnonzero(array)
        values, indices = map(numpy_helper.from_array, (array.reshape(-1)[places], places))
        return {"sparse_value": helper.make_sparse_tensor(values, indices, list(array.shape))}

    constants(model, attributes)


@rewrite
def weights_in_lists(model: ModelProto) -> None:
    """As numbers of protobuf, not as bytes."""
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        tensor.CopyFrom(helper.make_tensor(tensor.name, tensor.data_type, array.shape, array.reshape(-1).tolist()))


@rewrite
def weights_plus_zero(model: ModelProto) -> None:
    zeros = []

    def make(tensor: TensorProto, stored: str) -> NodeProto:
        name, tensor.name = tensor.name, stored
        shape = numpy_helper.from_array(np.array(tensor.dims, np.int64), f"{stored}/shape")
        zeros.append((shape, helper.make_node("ConstantOfShape", [shape.name], [f"{stored}/zeros"])))
        return helper.make_node("Add", [f"{stored}/zeros", stored], [name])

    behind_constants(model, make)
    model.graph.initializer.extend(shape for shape, _ in zeros)
    model.graph.node.extend(node for _, node in zeros)


@rewrite
def weights_of_double_precision(model: ModelProto) -> None:
    def make(tensor: TensorProto, stored: str) -> NodeProto:
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), stored))
        return helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT)

    behind_constants(model, make)


@rewrite
def transposed_weights(model: ModelProto) -> None:
    def make(tensor: TensorProto, stored: str) -> NodeProto | None:
        if len(tensor.dims) != 2:
            return None
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(numpy_helper.to_array(tensor).T), stored))
        return helper.make_node("Transpose", [stored], [name], perm=[1, 0])

    behind_constants(model, make)


def every_rewrite(model: ModelProto) -> Iterator[tuple[str, ModelProto]]:
    """Yield a copy of a model for each way to write it, with its name."""
    for name, change in REWRITES.items():
        copy = ModelProto()
        copy.CopyFrom(model)
        change(copy)
        yield name, copy
