"""Every message that a user can get is matched by a test, and has the form of the others."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import messages
import pytest
from messages import Message, own_windows, windows
from paths import ROOT

import grurt
from grurt import errors

ERRORS = sorted(
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, Exception) and not name.startswith("_")
)


@pytest.fixture(scope="module")
def found() -> list[Message]:
    return messages.messages()


def texts_of_tests() -> list[str]:
    """Return all strings in the other tests but docstrings, without the backslashes of regular expressions."""
    return [
        text.replace("\\", "")
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if path != Path(__file__)
        for text in strings(ast.parse(path.read_text()))
    ]


def strings(tree: ast.Module) -> Iterator[str]:
    """Yield strings as they stand in the source, adjacent parts joined, with a zero where a value is filled in."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(value.value) if isinstance(value, ast.Constant) else "\0" for value in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def test_messages_are_found_however_their_exceptions_are_made(found: list[Message]) -> None:
    """By the class, by a method or function that returns one, and in several places at once."""
    assert len(found) > 750
    parts = {message.parts for message in found}
    assert {
        ("an index that is no constant",),
        ("it reads a sequence that was reversed", "reverse what it gives instead"),
        ("--auto-keep needs --max-loss, which says how much may be lost",),
    } <= parts


def test_messages_are_found_wherever_their_texts_stand(found: list[Message]) -> None:
    """In constants, in tables, in what functions return, and in what is given to functions that raise."""
    parts = {message.parts for message in found}
    assert {
        ("it normalizes with the batch's own statistics", "call model.eval() before the export"),
        ("a zip archive that no known framework wrote", "give the model file itself"),
        ("a branch that depends on the inputs is not supported", "export without data-dependent control flow"),
        ("the file is truncated: expected ", " bytes, got "),
        ("layer ", " reads the first timestep of the finished sequence"),
        ("its weights are used too often",),
        ("it makes more timesteps of fewer; leave it out",),
        ("train without virtual batches",),
    } <= parts
    assert any("expected a link to the folder converters/" in message.parts[0] for message in found if message.parts)


def test_every_message_is_matched_by_a_test(found: list[Message]) -> None:
    """By a passage of its own, or, where all of it stands in others too, by the whole of it."""
    texts = texts_of_tests()
    tested = windows("\n".join(texts))
    missing = [
        message
        for message, own in own_windows(found).items()
        if (own.isdisjoint(tested) if own else not any(map(message.is_whole_in, texts)))
    ]
    assert missing == []


def test_no_message_has_the_form_of_another_project(found: list[Message]) -> None:
    """No capital at the beginning but a name's, no full stop at the end: one sentence behind a colon, if it is one."""
    wrong = [
        message
        for message in found
        if message.parts
        and "\n" not in "".join(message.parts)
        and (
            (not message.is_part and re.match(r"(?!Keras |RTNeural )[A-Z][a-z]+ [a-z]", message.parts[0]))
            or re.search(r"[.!]$", message.parts[-1])
        )
    ]
    assert wrong == []


@pytest.mark.parametrize("name", ERRORS)
def test_every_exception_is_public_and_drawn_in_the_tree(name: str) -> None:
    assert getattr(grurt, name) is getattr(errors, name)
    assert issubclass(getattr(errors, name), grurt.GrurtError)
    assert re.search(rf"\b{name}\b", errors.__doc__ or "")
