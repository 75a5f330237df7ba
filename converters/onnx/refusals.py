"""Files that are refused as a whole, with what their exporters should have done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from grurt.converters.graph.nodes import Graph, Node
from grurt.converters.graph.operators.refusals import reason_against, reason_without_gru
from grurt.converters.graph.rewriting.cells import CELL
from grurt.converters.onnx.repair import refuse_faulty_gru
from grurt.errors import UnsupportedError

if TYPE_CHECKING:
    from onnx import ModelProto

_OF_OPTIMIZER = "com.microsoft.nchwc"
"""A domain that onnxruntime names in every file that it writes."""

_KERAS = "convert the .keras or .h5 file itself: Keras and tf2onnx write such a GRU as a loop or as single operators"


def refuse_graph(graph: Graph, nodes: Sequence[Node]) -> None:
    """Raise UnsupportedError for graphs of loops, of other recurrent layers, of no GRU, and of faulty exporters."""
    ops = {node.op: node for node in nodes}
    for op in ("LSTM", "RNN", "DynamicQuantizeLinear", "MatMulInteger"):
        if op in ops:
            raise ops[op].unsupported(*reason_against(op))
    if "GRU" in ops or CELL in ops:
        refuse_faulty_gru(graph, nodes)
        return
    for op in (op for op in ops if _is_foreign(op)):
        raise ops[op].unsupported(*reason_against(op))
    keras = "keras" in graph.producer.lower() or graph.producer.startswith("tf2onnx")
    for op in ("Loop", "Scan"):
        if op in ops:
            found, advice, reason = reason_against(op)
            raise ops[op].unsupported(found, _KERAS if keras else advice, reason)
    if keras:
        raise UnsupportedError(f"the graph was written by {graph.producer} and holds no GRU; {_KERAS}")
    raise UnsupportedError(
        "the graph holds no GRU operator; if the recurrent layer was unrolled into single operations, export again "
        "with torch.onnx.export(dynamo=False), or with onnxscript 0.7.1 or later; if it comes from Keras, convert the "
        ".keras file",
        reason=reason_without_gru(ops),
    )


@contextmanager
def refusals_of_optimized(proto: ModelProto) -> Iterator[None]:
    """Say, where a file is refused that onnxruntime's optimizer wrote, that the one from before may convert."""
    try:
        yield
    except UnsupportedError as error:
        is_optimized = any(entry.domain == _OF_OPTIMIZER for entry in proto.opset_import)
        if error.reason is not None or not is_optimized:
            raise
        *lines, last = error.args
        advice = "or convert the file from before onnxruntime optimized it"
        raise UnsupportedError(*lines, f"{last}; {advice}") from error.__cause__


def _is_foreign(op: str) -> bool:
    """Say whether an operator is of a domain of its own, so that nobody knows whether it is a GRU."""
    return "." in op and not op.startswith("grurt.")
