"""The same model in float32: what onnxruntime can run of a file whose types it has no operators for."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from grurt.converters.graph.elements import Element
from grurt.converters.onnx.tensors import ExternalData, read_tensor

_OTHERS = frozenset({Element.FLOAT16, Element.BFLOAT16, Element.DOUBLE})


def in_float32(model: ModelProto) -> bool:
    """Turn all floating-point types of a model, which holds its weights itself, into float32; say if there were any."""
    graph = model.graph
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    found = _narrowed([*graph.initializer, *(each.t for each in attributes if each.HasField("t"))])
    for conversion in (each for node in graph.node if node.op_type == "Cast" for each in node.attribute):
        if conversion.name == "to" and conversion.i in _OTHERS:
            conversion.i, found = Element.FLOAT, True
    for port in (*graph.input, *graph.output):
        if port.type.tensor_type.elem_type in _OTHERS:
            port.type.tensor_type.elem_type, found = Element.FLOAT, True
    del graph.value_info[:]
    return found


def _narrowed(tensors: Iterable[TensorProto]) -> bool:
    found = False
    for tensor in tensors:
        if tensor.data_type in _OTHERS:
            array = read_tensor(tensor, ExternalData(None))
            with np.errstate(over="ignore"):
                tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float32), tensor.name))
            found = True
    return found
