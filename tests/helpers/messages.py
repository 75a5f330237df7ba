"""The messages of exceptions as they stand in grurt's source, and the passages that no two of them share."""

from __future__ import annotations

import ast
import builtins
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import click
from named_texts import NamedTexts, name_of
from paths import ROOT

from grurt import errors, escaping

WINDOW = 20
"""So many characters in a row that stand in no other message are a passage of a message's own."""

WRITES_C = re.compile(r"grurt/native/(c_source|c99/(?!export|layers/__init__).*)\.py:")
"""Where texts that names stand for are C."""


@dataclass(frozen=True)
class Message:
    """A message: its texts between the values that are filled in."""

    parts: tuple[str, ...]
    """Those that are always there, in order."""
    variants: tuple[str, ...] = ()
    """Those of which one is there."""
    where: str = field(default="", compare=False)
    """Where it is made, or the first such place if there are several."""
    is_part: bool = field(default=False, compare=False)
    """Whether it is what others take in by a name."""

    def windows(self) -> set[str]:
        """Return all runs of `WINDOW` characters of its texts."""
        return {window for text in (*self.parts, *self.variants) for window in windows(text)}

    def is_whole_in(self, text: str) -> bool:
        """Say whether a text has all parts, in order."""
        end = 0
        first = [re.sub(r"^[A-Z][\w.]*: ", "", text) for text in self.parts[:1]]  # without the name of a method
        for part in (text.strip(" :;,") for text in (*first, *self.parts[1:])):
            begin = text.find(part, end)
            if begin < 0:
                return False
            end = begin + len(part)
        return True


def windows(text: str) -> set[str]:
    """Return all runs of `WINDOW` characters of a text; none of a shorter one."""
    return {text[start : start + WINDOW] for start in range(len(text) - WINDOW + 1)}


def own_windows(found: list[Message]) -> dict[Message, set[str]]:
    """Return the runs of `WINDOW` characters of each message that stand in no other."""
    counts = Counter(window for message in found for window in message.windows())
    return {message: {window for window in message.windows() if counts[window] == 1} for message in found}


def messages() -> list[Message]:
    """Return the messages of all calls that make an exception, by its class or by a function that returns one.

    A text that such a call takes in by a name is a message of its own, if it is several words as long as a window.
    """
    paths = [path for folder in ("grurt", "converters") for path in sorted((ROOT / folder).rglob("*.py"))]
    trees = {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in paths}
    makers = EXCEPTIONS | {name for tree in trees.values() for name in _makers_of_exceptions(tree)}
    named = NamedTexts(trees, opaque=makers | set(escaping.__all__))
    calls = [
        [*node.args, *(keyword.value for keyword in node.keywords)]
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and name_of(node.func) in makers
    ]
    found: dict[Message, None] = {}
    for arguments in filter(None, calls):
        found.setdefault(_message(arguments, named.place(arguments[0])))
    for text in named.behind(argument for arguments in calls for argument in arguments):
        message = _message(text.elts if isinstance(text, ast.Tuple) else [text], named.place(text), is_part=True)
        if any(" " in window.strip() for window in message.windows()) and not WRITES_C.match(message.where):
            found.setdefault(message)
    return [message for message in found if message.parts or message.variants]


def _message(expressions: Iterable[ast.expr], where: str, *, is_part: bool = False) -> Message:
    texts = [found for expression in expressions for found in _texts(expression) if found[0].strip()]
    parts = tuple(text for text, always in texts if always)
    return Message(parts, tuple(text for text, always in texts if not always), where, is_part)


def _is_exception(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Exception)


EXCEPTIONS = frozenset(
    name
    for module in (errors, builtins, click.exceptions)
    for name, value in vars(module).items()
    if _is_exception(value) and value is not NotImplementedError  # which tells who adds to grurt what is left to do
)
"""The names of exceptions that a user can get: grurt's, Python's and click's."""


def _makers_of_exceptions(tree: ast.Module) -> Iterator[str]:
    """Yield the names of a module's own classes of exceptions, and of the functions that return exceptions."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name, returns=ast.expr() as kind) if name_of(kind) in EXCEPTIONS:
                yield name
            case ast.ClassDef(name=name, bases=bases) if EXCEPTIONS.intersection(map(name_of, bases)):
                yield name


def _texts(node: ast.expr, *, always: bool = True) -> Iterator[tuple[str, bool]]:
    """Yield the constant texts of a string expression, in order, and whether they are always part of it."""
    match node:
        case ast.Constant(value=str(text)):
            yield text, always
        case ast.JoinedStr(values=values):
            for value in values:
                yield from _texts(value, always=always)
        case ast.FormattedValue(value=value):
            yield from _texts(value, always=always)
        case ast.BinOp(left=left, right=right):
            yield from _texts(left, always=always)
            yield from _texts(right, always=always)
        case ast.IfExp(body=body, orelse=orelse):
            yield from _texts(body, always=False)
            yield from _texts(orelse, always=False)
