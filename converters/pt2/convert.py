"""Exported programs to networks: the steps, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.assembly.converted import ConvertedGraph
from grurt.converters.graph.assembly.network import network_of_graph
from grurt.converters.graph.elements import NO_BFLOAT16
from grurt.converters.graph.nodes import Graph, Node
from grurt.converters.graph.operators.refusals import reason_against, reason_without_gru
from grurt.converters.graph.rewriting.cells import CELL
from grurt.converters.graph.rewriting.mismatch import nearest_mismatch
from grurt.converters.installed import is_installed
from grurt.converters.literal.assembly import StepGraph
from grurt.converters.literal.choice import imported
from grurt.converters.literal.options import ImportOptions
from grurt.converters.pt2.program import Program
from grurt.converters.pt2.reading import read_constants
from grurt.converters.pt2.simplify import simplify
from grurt.converters.pt2.translate import translate
from grurt.converters.reference import attach_reference
from grurt.errors import ConversionError, UnsupportedError
from grurt.network.network import Network, Source
from grurt.network.reference_run import ReferenceRun


def network_of_file(path: Path, *, reference: bool, options: ImportOptions) -> Network:
    """Return the network in a file of ``torch.export.save``.

    Parameters
    ----------
    path
        The file.
    reference
        Run the program with torch, if that is installed, and keep the answers as the network's reference run.
    options
        How the graph is imported.

    Raises
    ------
    ConversionError
        If the file is damaged.
    UnsupportedError
        If the program computes something that grurt does not implement: the message names the operator.
    """
    size = path.stat().st_size
    program, constants = read_constants(path)
    source = Source(
        format="pt2",
        producer=f"torch {program.torch_version}".strip(),
        file=path.name,
        notes=(*_notes(program, constants), *_precision_notes(program)),
    )
    with np.errstate(all="ignore"):  # weights that are not finite are refused by name
        graph = translate(simplify(program), constants, size)
    converted = imported(graph, source, options, lambda: network_of_graph(graph, source, _refuse_graph))
    if not reference:
        return converted.network
    return attach_reference(converted.network, lambda: _reference_run(converted, program, constants))


def _reference_run(
    converted: ConvertedGraph | StepGraph, program: Program, constants: Mapping[str, Array]
) -> ReferenceRun:
    if not is_installed("torch"):
        raise ConversionError("torch is not installed")
    from grurt.converters.pt2.reference import fed_reference_run, reference_run

    if isinstance(converted, StepGraph):
        return fed_reference_run(converted, program, constants)
    return reference_run(converted, program, constants)


def _refuse_graph(graph: Graph, nodes: Sequence[Node]) -> None:
    for node in nodes:
        if node.op in ("LSTM", "RNN"):
            raise node.unsupported(*reason_against(node.op))
    if any(node.op in ("GRU", CELL) for node in nodes):
        return
    if (found := nearest_mismatch(graph, nodes)) is not None:
        node, what = found
        raise UnsupportedError(f"{node}: the program holds no GRU, and what looks like a GRU cell is none: {what}")
    raise UnsupportedError(
        "program: expected a GRU, got none; if it was decomposed into single operations, save what "
        "torch.export.export gives, before run_decompositions()",
        reason=reason_without_gru({node.op for node in nodes}),
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
    return [f"not read by the program, and left out: {', '.join(name[:80] for name in unused[:10])}"] if unused else []


def _precision_notes(program: Program) -> Iterator[str]:
    names = {program.dtypes[name] for name in program.states}
    for name in sorted(names & {"float64", "float16", "bfloat16"}):
        yield f"weights of {name} were converted to float32"
    if "bfloat16" in {program.dtypes[port.name] for port in (*program.inputs, *program.outputs)}:
        yield NO_BFLOAT16


def _address(array: Array) -> int:
    """Return where an array's numbers lie: tied parameters share them."""
    return int(array.__array_interface__["data"][0])
