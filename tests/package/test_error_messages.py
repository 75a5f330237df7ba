"""Every message that a user can get is matched by a test, has the form of the others, and no traceback around it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

import models
import numpy as np
import pytest
from paths import ROOT

import grurt
from grurt import errors

SOURCES = [path for folder in ("grurt", "converters") for path in sorted((ROOT / folder).rglob("*.py"))]
ERRORS = {name for name, value in vars(errors).items() if isinstance(value, type)} | {"LineError", "UsageError"}
WINDOW = 14
"""So many characters in a row of a message's own text must stand in a test."""


@dataclass(frozen=True)
class Message:
    """A message in the source: where it is raised, and its text between the values that are filled in."""

    where: str
    parts: tuple[str, ...]


def messages() -> Iterator[Message]:
    """Yield the message of every ``raise`` of an exception of grurt."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and name_of(node.exc.func) in ERRORS:
                parts = tuple(part for argument in node.exc.args[:1] for part in constant_parts(argument))
                yield Message(f"{path.relative_to(ROOT)}:{node.lineno}", parts)


def name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def constant_parts(node: ast.expr) -> Iterator[str]:
    """Yield the constant texts of a string expression, in order."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=values):
            for value in values:
                yield from constant_parts(value)
        case ast.BinOp(left=left, right=right):
            yield from constant_parts(left)
            yield from constant_parts(right)
        case ast.IfExp(body=body, orelse=orelse):
            yield from constant_parts(body)
            yield from constant_parts(orelse)


def texts_of_tests() -> str:
    """Return all strings in the tests, without the backslashes of regular expressions."""
    trees = [ast.parse(path.read_text()) for path in sorted((ROOT / "tests").rglob("*.py"))]
    texts = [part for tree in trees for node in ast.walk(tree) for part in node_text(node)]
    return "\n".join(texts).replace("\\", "")


def node_text(node: ast.AST) -> Iterator[str]:
    """Yield a string as it stands in the source, adjacent f-string parts joined."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(value.value if isinstance(value, ast.Constant) else "\0" for value in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def windows(text: str) -> set[str]:
    """Return all runs of `WINDOW` characters of a text, or the whole of a shorter one."""
    return {text[i : i + WINDOW] for i in range(max(1, len(text) - WINDOW + 1))}


def is_tested(message: Message, corpus: str, windows_of_tests: set[str]) -> bool:
    """Return whether some part of a message's own text stands in a test; one of values only has none to look for."""
    parts = [part for part in message.parts if len(part.strip()) >= 6]
    return not parts or any(
        not windows_of_tests.isdisjoint(windows(part)) if len(part) >= WINDOW else part in corpus for part in parts
    )


def test_every_message_is_matched_by_a_test() -> None:
    corpus = texts_of_tests()
    windows_of_tests = windows(corpus)
    found = list(messages())
    assert len(found) > 150
    assert [message for message in found if not is_tested(message, corpus, windows_of_tests)] == []


def test_an_error_in_a_batch_names_the_sequence() -> None:
    model = models.gru_model(2, 3, np.random.default_rng(95))
    with pytest.raises(grurt.InputValueError, match=r"^Model.run: sequence 1: input 'x' at \[2, 0\]: expected finite"):
        model.run([[[0, 0]] * 3, [[0, 0], [0, 0], [np.nan, 0]]])


def test_no_message_has_the_form_of_another_project() -> None:
    """No capital at the beginning but a name's, no full stop at the end: as one sentence behind a colon."""
    wrong = [
        message
        for message in messages()
        if message.parts
        and (re.match(r"(?!Keras )[A-Z][a-z]+ [a-z]", message.parts[0]) or re.search(r"[.!]$", message.parts[-1]))
    ]
    assert wrong == []


@pytest.mark.parametrize("name", sorted(ERRORS - {"LineError", "UsageError"}))
def test_every_exception_is_public_and_drawn_in_the_tree(name: str) -> None:
    assert getattr(grurt, name) is getattr(errors, name)
    assert issubclass(getattr(errors, name), grurt.GrurtError)
    assert re.search(rf"\b{name}\b", errors.__doc__ or "")
