"""Undoes what torch's decompositions add to a program without changing what it computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from grurt.converters.pt2.program import Call, Program, Ref

_Shape = tuple[int | str | None, ...]

_VIEWS = ("view", "_unsafe_view", "reshape")
_MOST_COPIES = 16
"""How many operators may stand between a matrix and its use: torch writes three."""

_COPIES = ("expand", "unsqueeze", "clone", *_VIEWS)


def simplify(program: Program) -> Program:
    """Return the program with matrices in place of stacks of copies of them, and with ``stack`` in one piece.

    A sequence times a matrix is decomposed into ``bmm``, with one copy of the matrix for each timestep; ``stack`` into
    ``cat`` and ``view``.
    """
    made_by = {output: call for call in program.calls for output in call.outputs}
    shapes = {call.outputs[:1]: _common_shape(call, program) for call in program.calls if call.op == "cat"}
    calls = [_stack(_by_matrix(call, made_by, program), made_by, shapes, program) for call in program.calls]
    return replace(program, calls=tuple(calls))


def _by_matrix(call: Call, made_by: Mapping[str, Call], program: Program) -> Call:
    name = "mat2" if "mat2" in call.arguments else "other"
    stack = call.get(name)
    if call.op not in ("bmm", "matmul") or not isinstance(stack, Ref):
        return call
    matrix = _repeated_matrix(stack.name, made_by, program)
    return call if matrix is None else replace(call, arguments={**call.arguments, name: Ref(matrix)})


def _repeated_matrix(name: str, made_by: Mapping[str, Call], program: Program) -> str | None:
    """Return the matrix of which a tensor holds copies, one behind the other; None if it does not."""
    shape = matrix_shape = program.shapes.get(name, ())[-2:]
    for _ in range(_MOST_COPIES):
        if program.shapes.get(name) == matrix_shape or shape != matrix_shape:
            return name if shape == matrix_shape and None not in shape else None
        call = made_by.get(name)
        source = call.get("self") if call is not None and call.op in _COPIES else None
        if not isinstance(source, Ref):
            return None
        name = source.name
        shape = program.shapes.get(name, ())[-2:]
    return None


def _common_shape(joined: Call, program: Program) -> _Shape | None:
    """Return the shape that all parts of a ``cat`` have; None if theirs differ, or are open."""
    parts = joined.get("tensors")
    if not isinstance(parts, list) or not all(isinstance(part, Ref) for part in parts):
        return None
    shapes = {program.shapes.get(part.name) for part in parts}
    shape = shapes.pop() if len(shapes) == 1 else None
    return None if shape is None or None in shape else shape


def _stack(
    call: Call, made_by: Mapping[str, Call], shapes: Mapping[tuple[str, ...], _Shape | None], program: Program
) -> Call:
    source = call.get("self")
    joined = made_by.get(source.name) if call.op in _VIEWS and isinstance(source, Ref) else None
    shape = shapes.get(joined.outputs[:1]) if joined is not None and joined.op == "cat" else None
    axis = joined.get("dim", 0) if joined is not None else None
    if joined is None or not shape or not isinstance(axis, int) or not -len(shape) <= axis < len(shape):
        return call
    parts = joined.arguments["tensors"]
    axis %= len(shape)
    if program.shapes.get(call.outputs[0]) != (*shape[:axis], len(parts), *shape[axis:]):
        return call
    return replace(call, target="torch.ops.aten.stack.default", arguments={"tensors": parts, "dim": axis})
