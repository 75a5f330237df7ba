"""The network as a TensorFlow Lite model, written directly as a flatbuffer: no TensorFlow is needed.

TensorFlow Lite has no GRU operator. The graph is the one that its converter makes of a Keras GRU.
"""

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from benchmarks.contenders.base import Weights
from benchmarks.network import Network

_OPERATORS = schema.BuiltinOperator
_OPTIONS = schema.BuiltinOptions


def timestep_model(network: Network, batch: int, weights: Weights = "float32") -> bytes:
    """Return a model of one timestep: ``x (batch, input)`` and ``h (batch, hidden)`` to ``hn``, as h.

    With int8 weights, it is what TensorFlow's converter calls dynamic range quantization: one scale for each output,
    and features that are rounded as they come.
    """
    graph = _Graph(batch, weights)
    size = network.hidden_size
    x, h = graph.tensor(network.input_size), graph.tensor(size)
    x_z, x_r, x_n = graph.split_in_three(graph.dense(x, network.w, network.b), size)
    h_z, h_r, h_n = graph.split_in_three(graph.dense(h, network.r, network.c), size)
    z = graph.unary(_OPERATORS.LOGISTIC, graph.add(x_z, h_z, size), size)
    r = graph.unary(_OPERATORS.LOGISTIC, graph.add(x_r, h_r, size), size)
    n = graph.unary(_OPERATORS.TANH, graph.add(x_n, graph.multiply(r, h_n, size), size), size)
    return graph.finish([x, h], graph.add(n, graph.multiply(z, graph.subtract(h, n, size), size), size))


class _Graph:
    """A model of one subgraph, whose tensors are float32 ``(batch, size)``; methods return indices of new tensors."""

    def __init__(self, batch: int, weights: Weights) -> None:
        self._batch = batch
        self._weights = weights
        self._model = schema.ModelT()
        self._model.version = 3
        self._model.buffers = [schema.BufferT()]
        self._model.operatorCodes = []
        self._graph = schema.SubGraphT()
        self._graph.tensors = []
        self._graph.operators = []

    def tensor(self, size: int) -> int:
        return self._add_tensor((self._batch, size), schema.TensorType.FLOAT32, buffer=0)

    def constant(self, array: NDArray[Any]) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        types = {
            "float32": schema.TensorType.FLOAT32,
            "int32": schema.TensorType.INT32,
            "int8": schema.TensorType.INT8,
        }
        return self._add_tensor(array.shape, types[array.dtype.name], len(self._model.buffers) - 1)

    def dense(self, x: int, weights: NDArray[np.float32], bias: NDArray[np.float32]) -> int:
        y = self.tensor(len(weights))
        matrix = self.int8_matrix(weights) if self._weights == "int8" else self.constant(weights)
        inputs = [x, matrix, self.constant(bias)]
        options = schema.FullyConnectedOptionsT()
        options.asymmetricQuantizeInputs = self._weights == "int8"
        self._add_operator(_OPERATORS.FULLY_CONNECTED, inputs, [y], _OPTIONS.FullyConnectedOptions, options)
        return y

    def int8_matrix(self, weights: NDArray[np.float32]) -> int:
        scale = np.abs(weights).max(axis=1) / np.float32(127)
        index = self.constant(np.rint(weights / scale[:, np.newaxis]).astype(np.int8))
        quantization = schema.QuantizationParametersT()
        quantization.scale, quantization.zeroPoint = scale, np.zeros(len(scale), np.int64)
        quantization.quantizedDimension = 0
        self._graph.tensors[index].quantization = quantization
        return index

    def split_in_three(self, x: int, size: int) -> list[int]:
        parts = [self.tensor(size) for _ in range(3)]
        options = schema.SplitOptionsT()
        options.numSplits = 3
        inputs = [self.constant(np.array(1, np.int32)), x]
        self._add_operator(_OPERATORS.SPLIT, inputs, parts, _OPTIONS.SplitOptions, options)
        return parts

    def unary(self, operator: int, x: int, size: int) -> int:
        y = self.tensor(size)
        self._add_operator(operator, [x], [y], _OPTIONS.NONE, None)
        return y

    def add(self, a: int, b: int, size: int) -> int:
        return self._binary(_OPERATORS.ADD, a, b, size, _OPTIONS.AddOptions, schema.AddOptionsT())

    def multiply(self, a: int, b: int, size: int) -> int:
        return self._binary(_OPERATORS.MUL, a, b, size, _OPTIONS.MulOptions, schema.MulOptionsT())

    def subtract(self, a: int, b: int, size: int) -> int:
        return self._binary(_OPERATORS.SUB, a, b, size, _OPTIONS.SubOptions, schema.SubOptionsT())

    def finish(self, inputs: list[int], output: int) -> bytes:
        self._graph.inputs, self._graph.outputs = inputs, [output]
        self._model.subgraphs = [self._graph]
        builder = flatbuffers.Builder()
        builder.Finish(self._model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _binary(self, operator: int, a: int, b: int, size: int, options_type: int, options: object) -> int:
        y = self.tensor(size)
        self._add_operator(operator, [a, b], [y], options_type, options)
        return y

    def _add_tensor(self, shape: Sequence[int], element_type: int, buffer: int) -> int:
        tensor = schema.TensorT()
        tensor.name = f"t{len(self._graph.tensors)}"
        tensor.shape, tensor.type, tensor.buffer = list(shape), element_type, buffer
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _add_operator(
        self, operator: int, inputs: list[int], outputs: list[int], options_type: int, options: object
    ) -> None:
        node = schema.OperatorT()
        node.opcodeIndex = self._code_index(operator)
        node.inputs, node.outputs = inputs, outputs
        node.builtinOptionsType, node.builtinOptions = options_type, options
        self._graph.operators.append(node)

    def _code_index(self, operator: int) -> int:
        for index, known in enumerate(self._model.operatorCodes):
            if known.builtinCode == operator:
                return index
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = operator
        code.version = 1
        self._model.operatorCodes.append(code)
        return len(self._model.operatorCodes) - 1
