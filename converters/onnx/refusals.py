"""Files that are refused as a whole, with what their exporters should have done."""

from __future__ import annotations

from collections.abc import Sequence

from grurt.converters.graph.nodes import Graph, Node
from grurt.converters.graph.operators import OPERATORS
from grurt.converters.graph.operators.refusals import reason_against
from grurt.converters.graph.rewriting.cells import CELL
from grurt.converters.graph.rewriting.mismatch import nearest_mismatch
from grurt.converters.graph.tracing.folding import is_foldable
from grurt.converters.onnx.repair import refuse_faulty_gru
from grurt.errors import DesignReason, UnsupportedError

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
    keras = "keras" in graph.producer.lower() or graph.producer.startswith("tf2onnx")
    advice = f"; {_KERAS}" if keras else ""
    unknown = next((node for node in nodes if node.op not in OPERATORS and not is_foldable(node)), None)
    if unknown is not None:
        found, otherwise = reason_against(unknown.op)
        raise unknown.unsupported(found, _KERAS if keras else otherwise)
    if (nearest := nearest_mismatch(graph, nodes)) is not None:
        node, what = nearest
        raise UnsupportedError(
            f"{node}: the graph holds no GRU, and what looks like a GRU cell is none: {what}{advice}"
        )
    raise UnsupportedError(
        "the graph holds no GRU: neither the operator, nor a loop over a GRU cell or copies of one, with the new state "
        f"(1 - z) * n + z * h{advice}",
        reason=DesignReason.NO_RECURRENCE,
    )
