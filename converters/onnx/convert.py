"""ONNX files to models: the steps, in order."""

from __future__ import annotations

from pathlib import Path

import msgspec
from onnx import ModelProto

from grurt.model import Model, Source

from ..reference import attach_reference
from .graph import Graph
from .graph_model import convert_graph
from .interpret import is_weight
from .reading import parse_model, read_graph
from .reference import reference_run
from .repair import NOTE, repaired


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
    model = convert_graph(graph, source)
    return attach_reference(model, lambda: reference_run(model, mended or proto, folder)) if reference else model


def _precision_notes(graph: Graph) -> list[str]:
    names = {array.dtype.name for array in graph.constants.values() if is_weight(array)} - {"float32"}
    return [f"weights of {name} were converted to float32" for name in sorted(names)]
