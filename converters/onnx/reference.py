"""Runs an ONNX model with onnxruntime, where it is installed, so that a conversion can be compared with its source."""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from grurt.errors import ConversionError
from grurt.layers import TokenInput
from grurt.model import Model
from grurt.reference_run import ReferenceRun
from grurt.signature import Port, StatePort

from ..sampling import SEED
from .tensors import ExternalData, read_tensor

BATCH = 2
STEPS = 16
MAX_ELEMENTS = 1 << 20
"""The largest test input, for files exported with frozen sizes: it is kept in the model's file."""
MAX_PRODUCTS = 1 << 33
"""How many multiplications a run may take: some seconds."""

Array = NDArray[Any]


def reference_run(model: Model, proto: ModelProto, folder: Path | None) -> ReferenceRun:
    """Run the source of a converted model on random inputs and states, always the same.

    Batches are of 2 sequences of 16 timesteps, except where the file fixes these sizes.

    Parameters
    ----------
    model
        The converted model.
    proto
        What it was converted from. onnxruntime sees a copy with all weights inside, and opens no file.
    folder
        Where the external data files of ``proto`` lie.

    Raises
    ------
    ConversionError
        With the reason why there is none: onnxruntime is not installed, or cannot run the file.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise ConversionError("onnxruntime is not installed: pip install onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    inputs = _random_inputs(model, proto)
    names = [port.name for port in model.signature.outputs]
    try:
        data = _with_weights_inside(proto, folder).SerializeToString()
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        answers: list[Array] = session.run(names, inputs)
    except Exception as error:  # onnxruntime's and protobuf's exceptions have no base class of their own
        reason = re.sub(r"\S*/\S*", "", str(error))[:200]  # without the paths of the machine that built onnxruntime
        raise ConversionError(f"onnxruntime cannot run the file: {reason}") from error
    if not all(np.isfinite(answer).all() for answer in answers):
        raise ConversionError("onnxruntime gave answers that are not finite")
    return ReferenceRun(inputs, dict(zip(names, answers, strict=True)), f"onnxruntime {onnxruntime.__version__}")


def _random_inputs(model: Model, proto: ModelProto) -> dict[str, Array]:
    declared = {
        port.name: [dim.dim_value if dim.HasField("dim_value") else None for dim in port.type.tensor_type.shape.dim]
        for port in proto.graph.input
    }
    lengths: dict[str, int] = {}
    for port in model.signature.inputs:
        lengths |= {axis: size for axis, size in zip(port.axes, declared[port.name], strict=True) if size}
    lengths = {"batch": BATCH, "time": STEPS, **lengths, "one": 1}
    steps = lengths["batch"] * lengths["time"]
    if steps * model.parameter_count > MAX_PRODUCTS:
        raise ConversionError(f"the file fixes its inputs to {steps} timesteps, too many for a test")
    random = np.random.default_rng(SEED)
    vocabularies = {port.name: port.vocabulary_size for port in model.inputs if isinstance(port, TokenInput)}
    inputs = {}
    for port in model.signature.inputs:
        shape = _shape(model, port, lengths)
        if math.prod(shape) > MAX_ELEMENTS:
            raise ConversionError(f"the file fixes the input {port.name!r} to the shape {shape}, too large for a test")
        if isinstance(port, StatePort):
            inputs[port.name] = random.uniform(-0.9, 0.9, shape).astype(port.dtype)
        elif port.value in vocabularies:
            inputs[port.name] = random.integers(vocabularies[port.value], size=shape).astype(port.dtype)
        else:
            inputs[port.name] = random.standard_normal(shape).astype(port.dtype)
    return inputs


def _shape(model: Model, port: Port, lengths: Mapping[str, int]) -> tuple[int, ...]:
    if isinstance(port, StatePort):
        own = {"feature": model.state_shapes[port.states[0]][0], "state": len(port.states)}
    else:
        own = {"feature": model.values[port.value].size}
    return tuple(own[axis] if axis in own else lengths[axis] for axis in port.axes)


def _with_weights_inside(proto: ModelProto, folder: Path | None) -> ModelProto:
    external = ExternalData(folder)
    inside = ModelProto()
    inside.CopyFrom(proto)
    for tensor in inside.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            tensor.raw_data = read_tensor(tensor, external).tobytes()
            tensor.ClearField("external_data")
            tensor.data_location = TensorProto.DEFAULT
    return inside
