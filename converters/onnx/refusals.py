"""Files that are refused as a whole, with what their exporters should have done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from grurt.converters.graph.nodes import Graph, Node
from grurt.converters.graph.operators import OPERATORS
from grurt.converters.graph.operators.refusals import reason_against, reason_without_gru
from grurt.converters.graph.rewriting.cells import CELL
from grurt.converters.graph.rewriting.mismatch import nearest_mismatch
from grurt.converters.graph.tracing.folding import is_foldable
from grurt.converters.onnx.repair import refuse_faulty_gru
from grurt.errors import UnsupportedError

if TYPE_CHECKING:
    from onnx import ModelProto

_OF_OPTIMIZER = "com.microsoft.nchwc"
"""A domain that onnxruntime names in every file that it writes."""

_KERAS = "convert the .keras or .h5 file itself"


def refuse_graph(graph: Graph, nodes: Sequence[Node]) -> None:
    """Raise UnsupportedError for graphs of other recurrent layers, of no GRU, and of faulty exporters."""
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
    advice = f"; {_KERAS}" if keras else ""
    unknown = next((node for node in nodes if node.op not in OPERATORS and not is_foldable(node)), None)
    if unknown is not None:
        found, otherwise, reason = reason_against(unknown.op)
        raise unknown.unsupported(found, _KERAS if keras else otherwise, reason)
    if (nearest := nearest_mismatch(graph, nodes)) is not None:
        node, what = nearest
        raise UnsupportedError(
            f"{node}: the graph holds no GRU, and what looks like a GRU cell is none: {what}{advice}"
        )
    raise UnsupportedError(
        "the graph holds no GRU: neither the operator, nor a loop over a GRU cell or copies of one, with the new state "
        f"(1 - z) * n + z * h{advice}",
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
