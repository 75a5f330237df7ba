"""Registers with Numba how calls of a Python function are compiled."""

from collections.abc import Callable
from inspect import signature
from typing import Any

from numba.core import types
from numba.extending import lower_builtin, type_callable

Write = Callable[..., Any]
"""``write(context, builder, *arguments)``: write an instruction's code, and return the value that it results in."""


def instruction(definition: Callable[..., Any], result: types.Type, *arguments: types.Type) -> Callable[[Write], Write]:
    """Return a decorator for what writes the code of a function, whose arguments are converted to these types."""

    def register(write: Write) -> Write:
        @type_callable(definition)
        def type_call(context: Any) -> Any:
            def typed(*_: Any) -> Any:
                return result(*arguments)

            typed.pysig = signature(definition)  # type: ignore[attr-defined]
            return typed

        @lower_builtin(definition, *arguments)
        def lower(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            written = write(context, builder, *values)
            return context.get_dummy_value() if result is types.void else written

        return write

    return register
