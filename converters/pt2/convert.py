"""Exported programs to models: the steps, in order."""

from __future__ import annotations

from pathlib import Path

from grurt.errors import ConversionError, UnsupportedError
from grurt.model import Model, Source

from ..onnx.cells import CELL
from ..onnx.graph import Graph
from ..onnx.graph_model import convert_graph
from ..onnx.patterns import recompose
from ..torch.tensors import Array
from .archive import read_archive
from .program import Program, read_program
from .simplify import simplify
from .translate import translate


def convert_pt2(path: Path) -> Model:
    """Convert a program of ``torch.export.save``.

    Raises
    ------
    ConversionError
        If the file is damaged.
    UnsupportedError
        If the program computes something that grurt does not implement: the message names the operator.

    Examples
    --------
    >>> from pathlib import Path
    >>> from grurt.converters.pt2 import convert_pt2
    >>> convert_pt2(Path("tests/data/torch/export.pt2"))
    <grurt.Model gru, gru, linear: 795 parameters>
    """
    program, constants = read_constants(path)
    graph = translate(simplify(program), constants)
    _check_has_gru(graph)
    source = Source(
        format="pt2",
        producer=f"torch {program.torch_version}".strip(),
        file=path.name,
        notes=tuple(_notes(program, constants)),
    )
    return convert_graph(graph, source)


def read_constants(path: Path) -> tuple[Program, dict[str, Array]]:
    """Return the program of a file, and its constants by the names of the tensors that stand for them."""
    document, tensors = read_archive(path)
    program = read_program(document)
    missing = [name for name in program.states.values() if name not in tensors]
    if missing:
        raise ConversionError(
            f"program: expected the weight {missing[0][:80]!r} in the archive, got none; the file is incomplete"
        )
    return program, {placeholder: tensors[name] for placeholder, name in program.states.items()}


def _check_has_gru(graph: Graph) -> None:
    if not any(node.op in ("GRU", CELL) for node in recompose(graph).nodes):
        raise UnsupportedError(
            "program: expected a GRU, got none; if it was decomposed into single operations, save what "
            "torch.export.export gives, before run_decompositions()"
        )


def _notes(program: Program, constants: dict[str, Array]) -> list[str]:
    """Say which parameters the program never reads: torch saves all that its module has."""
    read = {name for call in program.calls for name in call.references()}
    addresses = {_address(constants[name]) for name in read if name in constants}
    unused = [
        program.states[name]
        for name, array in constants.items()
        if _address(array) not in addresses and array.dtype.kind == "f"
    ]
    return [f"not read by the program, and left out: {', '.join(unused[:10])}"] if unused else []


def _address(array: Array) -> int:
    """Return where an array's numbers lie: tied parameters share them."""
    return int(array.__array_interface__["data"][0])
