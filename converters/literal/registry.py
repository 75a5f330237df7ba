"""The operators of graphs that are understood, each registered where it is converted."""

from __future__ import annotations

from collections.abc import Callable

from grurt.converters.graph.nodes import Node
from grurt.converters.literal.builder import ProgramBuilder
from grurt.converters.literal.values import Arguments, Value

Handler = Callable[[Node, Arguments, ProgramBuilder], Value | tuple[Value | None, ...]]
"""Adds to a program what a node computes, and returns its results; None for those that it does not have."""

HANDLERS: dict[str, Handler] = {}
"""Every operator by name."""


def handler(*names: str) -> Callable[[Handler], Handler]:
    """Register a handler for operators of these names."""

    def register(function: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, function))
        return function

    return register
