"""ONNX files to models: the steps, in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
from onnx import ModelProto

from grurt.errors import ConversionError, UnsupportedError
from grurt.model import Model, Source

from ..reference import attach_reference
from .graph import Graph, Node, live_order
from .interpret import interpret, is_weight
from .patterns import recompose
from .ports import assemble
from .reading import parse_model, read_graph
from .reference import reference_run
from .refusals import refuse_graph
from .repair import NOTE, refuse_faulty_gru, repaired

_PROBES = (1009, 4003)
"""Where the sizes begin that stand for those left open: interpreted with either, the graph must give the same model."""


def convert_onnx(path: str | Path, *, repair: bool = False, reference: bool = True) -> Model:
    """Convert an ONNX file that holds a GRU network.

    Parameters
    ----------
    path
        The file. Weights in files beside it are found; nothing outside its folder is opened.
    repair
        Accept a file of PyTorch's with ``linear_before_reset=0``, which faulty exporters wrote by mistake, and convert
        what was meant. The model's ``source.notes`` say so.
    reference
        Run the file with onnxruntime, if that is installed, and keep the answers as the model's reference run. Where
        onnxruntime cannot run it, ``source.notes`` say why.

    Raises
    ------
    OSError
        If the file cannot be read.
    ConversionError
        If it is not an ONNX file, is damaged, or holds weights that no layer uses.
    UnsupportedError
        If it holds something that grurt does not implement: the message names the node, and says what to do.

    Examples
    --------
    >>> from grurt.converters.onnx import convert_onnx
    >>> convert_onnx("tests/data/onnx/c_eachstep_bf.ts.da.op20.onnx")
    <grurt.Model gru, linear: 363 parameters>
    """
    path = Path(path)
    source = Source(format="onnx", file=path.name)
    proto = parse_model(path.read_bytes())
    return convert_onnx_proto(proto, folder=path.parent, source=source, repair=repair, reference=reference)


def convert_onnx_bytes(data: bytes, *, source: Source, repair: bool = False, reference: bool = False) -> Model:
    """Convert an ONNX model in memory, with its weights inside. See `convert_onnx`.

    ``source`` is what the model says it comes from; the producer is taken from the file if it is empty.
    """
    return convert_onnx_proto(parse_model(data), folder=None, source=source, repair=repair, reference=reference)


def convert_onnx_proto(
    proto: ModelProto, *, folder: Path | None, source: Source, repair: bool = False, reference: bool = False
) -> Model:
    """Convert a parsed ONNX model, whose external data files, if any, lie in ``folder``. See `convert_onnx`."""
    mended = repaired(proto) if repair else None
    graph = read_graph(mended or proto, folder)
    notes = [NOTE] * (mended is not None) + _precision_notes(graph)
    producer = source.producer or f"{graph.producer} {graph.producer_version}".strip()
    source = msgspec.structs.replace(source, producer=producer, notes=(*source.notes, *notes))
    model = _convert_graph(graph, source)
    return attach_reference(model, lambda: reference_run(model, mended or proto, folder)) if reference else model


def _convert_graph(graph: Graph, source: Source) -> Model:
    nodes = _live_nodes(graph)
    _check_all_weights_used(graph, nodes)
    graph = recompose(replace(graph, nodes=tuple(nodes)))
    nodes = _live_nodes(graph)
    refuse_graph(graph, nodes)
    refuse_faulty_gru(graph, nodes)
    is_open = any(not isinstance(size, int) for port in graph.inputs for size in port.shape or ())
    probes = _PROBES if is_open else _PROBES[:1]
    with np.errstate(all="ignore"):  # weights that are not finite are refused by name
        models = [assemble(graph, interpret(graph, nodes, _open_sizes(start)), source) for start in probes]
    if any(_differ(models[0], model) for model in models[1:]):
        raise UnsupportedError(
            "the graph computes something that depends on how many timesteps or sequences there are; "
            "its layers must be the same for every length"
        )
    return models[0]


def _live_nodes(graph: Graph) -> list[Node]:
    given = [*graph.constants, *(port.name for port in graph.inputs)]
    return live_order(graph.nodes, given, [port.name for port in graph.outputs])


def _open_sizes(start: int) -> Callable[[str], int]:
    sizes: dict[str, int] = {}
    return lambda name: sizes.setdefault(name, start + 2 * len(sizes))


def _differ(one: Model, other: Model) -> bool:
    return one.fingerprint != other.fingerprint or one.signature != other.signature


def _check_all_weights_used(graph: Graph, nodes: list[Node]) -> None:
    """Raise ConversionError for weights that no live node reads: every node is understood, so none ignores any."""
    read = {name for node in nodes for name in node.inputs}
    unused = sorted(name for name, array in graph.constants.items() if is_weight(array) and name not in read)
    if unused:
        listed = ", ".join(repr(name[:60]) for name in unused[:5])
        raise ConversionError(
            f"the file holds {len(unused)} weights that nothing reads: {listed}; export the model again, or remove them"
        )


def _precision_notes(graph: Graph) -> list[str]:
    names = {array.dtype.name for array in graph.constants.values() if is_weight(array)} - {"float32"}
    return [f"weights of {name} were converted to float32" for name in sorted(names)]
