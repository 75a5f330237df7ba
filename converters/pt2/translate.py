"""Translates a program's calls of ATen operators into a graph."""

from __future__ import annotations

from collections.abc import Mapping

from grurt.array_types import Array
from grurt.converters.graph.budget import Budget
from grurt.converters.graph.nodes import Declaration, Graph
from grurt.converters.pt2 import (  # noqa: F401 - they fill the table of handlers
    activations,
    arithmetic,
    conditions,
    indexing,
    layers,
    mathematics,
    movement,
    products,
    recurrent,
    reductions,
    selection,
    windows,
)
from grurt.converters.pt2.emitter import Emitter
from grurt.converters.pt2.handlers import HANDLERS, Handler
from grurt.converters.pt2.program import Call, Program, Ref
from grurt.converters.pt2.refusals import reason_against
from grurt.errors import ConversionError

_VIEWS = {"view", "reshape", "transpose", "permute", "t", "select", "slice", "unsqueeze", "squeeze", "expand", "alias"}
_VIEWS |= {"flatten", "unflatten", "split", "split_with_sizes", "chunk", "unbind", "detach", "contiguous", "to"}
_VIEWS |= {"narrow", "tensor_split", "unfold", "movedim", "moveaxis", "swapaxes", "swapdims", "numpy_T", "_unsafe_view"}
_VIEWS |= {"view_as", "reshape_as", "expand_as", "broadcast_to", "type_as", "positive", "lift_fresh"}
_VIEWS |= {"dropout", "feature_dropout", "alpha_dropout"}  # which in evaluation return what they are given


def translate(program: Program, constants: Mapping[str, Array], size: int) -> Graph:
    """Return the graph of a program.

    Parameters
    ----------
    program
        The program.
    constants
        Its weights, buffers and constants by the names of the tensors that stand for them.
    size
        Bytes of the file.

    Raises
    ------
    UnsupportedError
        If it calls an operator that is not understood; the message names it.
    """
    em = Emitter(program, constants, Budget(size))
    _check_in_place(program)
    for call in program.calls:
        em.begin(call)
        try:
            _handler(call)(call, em)
        except (KeyError, TypeError, AttributeError, IndexError, ValueError, ArithmeticError) as error:
            if isinstance(error, ConversionError):
                raise
            raise call.unsupported("its arguments are not those of torch 2.13", "export the model again") from error
    outputs = list(_outputs(program, em))
    read = {name for node in em.nodes for name in node.inputs} | {port.name for port in outputs}
    return Graph(
        nodes=tuple(em.nodes),
        constants={name: array for name, array in em.constants.items() if name in read},
        inputs=program.inputs,
        outputs=tuple(outputs),
        producer="torch.export",
        producer_version=program.torch_version,
        size=size,
    )


def base_name(call: Call) -> str:
    """Return an operator's name without the underscore of its in-place form."""
    return call.op[:-1] if call.op.endswith("_") and not call.op.endswith("__") else call.op


def _handler(call: Call) -> Handler:
    name = base_name(call)
    if name in HANDLERS and call.target != "torch.ops.aten.gru.data":
        return HANDLERS[name]
    found, advice, reason = reason_against(call, name)
    raise call.unsupported(found, advice, reason)


def _check_in_place(program: Program) -> None:
    """Raise UnsupportedError if a tensor is read after it, or one that shares its memory, was written in place.

    Tensors that share memory have a root: the one that was made first. What a call in place returns shares it, too, but
    is read as it is by then.
    """
    last_read: dict[str, int] = {}
    for position, call in enumerate(program.calls):
        last_read |= dict.fromkeys(call.references(), position)
    last_read |= dict.fromkeys((port.name for port in program.outputs), len(program.calls))
    outside = {port.name for port in program.inputs} | program.states.keys()
    roots: dict[str, str] = {}
    latest: dict[str, int] = {}
    """Where any of the tensors that share a root so far is last read."""
    for position, call in enumerate(program.calls):
        source = call.get("self", call.get("input"))
        name = source.name if isinstance(source, Ref) else ""
        root = roots.get(name, name)
        is_written = base_name(call) != call.op and call.op != "detach_" and bool(name)
        if is_written and (root in outside or max(latest.get(root, 0), last_read[root]) > position):
            raise call.unsupported(
                f"it changes {name[:80]!r} in place, which others see too",
                "use the form without inplace=True, or export program.run_decompositions({})",
            )
        shares = bool(name) and (is_written or base_name(call) in _VIEWS)
        for output in call.outputs:
            roots[output] = root if shares else output
            latest[roots[output]] = max(latest.get(roots[output], 0), last_read.get(output, 0))


def _outputs(program: Program, em: Emitter) -> list[Declaration]:
    """Return the outputs, with a name of its own for each, also where a program gives one tensor twice."""
    found: list[Declaration] = []
    taken = {port.name for port in program.inputs}
    for port in program.outputs:
        name = port.name
        if name in taken:
            name = em.emit("Identity", port.name, into=f"{port.name}/{len(found)}")
        taken.add(name)
        found.append(Declaration(name, port.dtype, port.shape))
    return found
