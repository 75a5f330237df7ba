"""The compact form of a description: one line of text, for the command line.

::

    description = item {"," item}
    item        = layer | "ignore" "(" name ")" | "entry" "(" name ")"
    layer       = [module] ["(" [kind] {"," option "=" (value | function)} ")"] {":" function}
    function    = name ["(" [option "="] value {"," [option "="] value} ")"]

``module`` is the module's name in the checkpoint, ``kind`` and ``option`` are those of `LayerDescription`; the name of
a parameter, as in ``enc(gru, weight_ih=enc_w)``, is an option too, and stands for one of its ``arrays``. An option may
be a function, as in ``gru(candidate_activation=relu)``.
``function`` is one of `grurt.network.functions`, its values in the order of its parameters or by name; 1/6 is a value.
``last`` is short for ``(last_step)``, ``final`` for ``(final_state)`` and ``finals`` for ``(final_states)``, unless the
checkpoint has a module of that name; ``:relu`` alone is an activation. Words hold no spaces and none of ``, : ( ) =``;
TOML can name modules that do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

from grurt.converters.description import Description, LayerDescription, convert_fields
from grurt.converters.kinds import FUNCTION_OPTIONS, KINDS
from grurt.errors import DescriptionError
from grurt.network.functions import AnyFunction, Function

KEYWORDS: Mapping[str, str] = {"last": "last_step", "final": "final_state", "finals": "final_states"}

_SHOWN = 1000
"""Characters of a description that errors repeat."""

_TOKEN = re.compile(r"\s*([,:()=]|[^\s,:()=]+)\s*")
_FRACTION = re.compile(r"(-?\d+(?:\.\d*)?)/(\d+(?:\.\d*)?)")
_PARAMETERS = frozenset(parameter for kind in KINDS.values() for parameter in kind.parameters)
_FUNCTIONS: dict[str, type[Function]] = {
    str(function.__struct_config__.tag): function for function in get_args(AnyFunction)
}


def parse_description(text: str) -> Description:
    """Read a description such as ``"emb(embedding), gru, last, fc:log_softmax"``."""
    parser = _Parser(text)
    layers, ignore, entry = [], [], None
    while True:
        module, arguments = parser.call(functions=True)
        if module in ("ignore", "entry"):
            value = parser.only_value(module, arguments)
            entry = value if module == "entry" else entry
            ignore += [value] if module == "ignore" else []
        else:
            layers.append(parser.layer(module, arguments))
        if not parser.accept(","):
            break
    parser.expect_end()
    return Description(layers=tuple(layers), ignore=tuple(ignore), entry=entry)


def parse_function(text: str) -> AnyFunction:
    """Read a function such as ``"sigmoid"`` or ``"clip(minimum=0, maximum=6)"``."""
    parser = _Parser(text)
    function = parser.function()
    parser.expect_end()
    return function


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."
        self.tokens = _TOKEN.findall(text)
        self.position = 0

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def accept(self, token: str) -> bool:
        found = self.peek() == token
        self.position += found
        return found

    def word(self) -> str:
        """Return the next word; an empty string if there is none."""
        if not self.is_word():
            return ""
        self.position += 1
        return str(self.tokens[self.position - 1])

    def is_word(self) -> bool:
        return self.peek() not in ("", ",", ":", "(", ")", "=")

    def error(self, expected: str) -> DescriptionError:
        found = repr(self.peek()[:_SHOWN]) if self.peek() else "the end"
        before = "".join(self.tokens[max(0, self.position - 100) : self.position])[-_SHOWN:]
        return DescriptionError(
            f"layers {self.text!r}: expected {expected}, got {found} after {before!r}; "
            'write for example "gru, last, fc:sigmoid"'
        )

    def expect_end(self) -> None:
        if self.peek():
            raise self.error("a comma, or the end")

    def call(self, *, functions: bool = False) -> tuple[str, list[tuple[str, Any]]]:
        """Read ``word(option=value, value, ...)``, of which each part may be absent, but not all.

        ``functions`` says that an option may have a function as its value.
        """
        start = self.position
        name, arguments = self.word(), []
        if self.accept("("):
            while True:
                arguments.append(self.argument(functions=functions))
                if not self.accept(","):
                    break
            if not self.accept(")"):
                raise self.error("a closing parenthesis")
        if start == self.position and self.peek() != ":":
            raise self.error("a layer")
        return name, arguments

    def argument(self, *, functions: bool) -> tuple[str, Any]:
        """Read an option and its value, or a value alone."""
        option, value = "", self.word()
        if self.accept("="):
            option = value
            if functions and option in FUNCTION_OPTIONS:
                return option, self.function()
            value = self.word()
        if not value:
            raise self.error("a value")
        return option, value

    def only_value(self, directive: str, arguments: list[tuple[str, Any]]) -> str:
        if len(arguments) != 1 or arguments[0][0]:
            raise self.error(f"{directive}(name)")
        return str(arguments[0][1])

    def layer(self, module: str, arguments: list[tuple[str, Any]]) -> LayerDescription:
        fields: dict[str, Any] = {"module": module}
        arrays: dict[str, str] = {}
        for position, (option, value) in enumerate(arguments):
            if not option and position > 0:
                raise DescriptionError(
                    f"layers {self.text!r}: {module or 'a layer'}: expected option=value, got {value!r}"
                )
            if (option or "kind") in fields.keys() | arrays.keys():
                raise DescriptionError(
                    f"layers {self.text!r}: {module}: expected {option or 'kind'} once, got it twice"
                )
            (arrays if option in _PARAMETERS else fields)[option or "kind"] = value
        functions = []
        while self.accept(":"):
            functions.append(self.function())
        if not module and not arguments:
            fields["kind"] = "activation"
        where = f"layers {self.text!r}: {module or fields.get('kind')}"
        description: LayerDescription = convert_fields(
            {**fields, "arrays": arrays, "functions": tuple(functions)}, LayerDescription, where
        )
        return description

    def function(self) -> AnyFunction:
        if not self.is_word():
            raise self.error("a function")
        name, arguments = self.call()
        if name not in _FUNCTIONS:
            raise DescriptionError(
                f"layers {self.text!r}: expected a function, got {name!r}; there are {', '.join(sorted(_FUNCTIONS))}"
            )
        function = _FUNCTIONS[name]
        parameters = function.__struct_fields__
        if len(arguments) > len(parameters):
            raise DescriptionError(
                f"layers {self.text!r}: {name} takes {len(parameters)} values ({', '.join(parameters)}), "
                f"got {len(arguments)}"
            )
        fields: dict[str, Any] = {
            option or parameters[position]: _number(value) for position, (option, value) in enumerate(arguments)
        }
        result: AnyFunction = convert_fields({**fields, "function": name}, function, f"layers {self.text!r}: {name}")
        return result


def _number(text: str) -> float | str:
    """Return the value of a fraction such as 1/6, and any other text as it is."""
    fraction = _FRACTION.fullmatch(text)
    return float(fraction[1]) / float(fraction[2]) if fraction and float(fraction[2]) else text
