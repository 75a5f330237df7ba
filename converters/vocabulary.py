"""Vocabularies from files: a token a line, as in ``vocab.txt``, JSON, tokenizers, and Keras models that take texts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import msgspec

from grurt.converters.json_text import check_json
from grurt.converters.keras.vectorizer import vocabulary_of_file
from grurt.converters.reading import errors_named, unreadable_files_named
from grurt.errors import ConversionError
from grurt.escaping import described
from grurt.network.tokenizer_library import LibraryTokenizer
from grurt.network.vocabulary import Split, Vocabulary
from grurt.regular_files import read_regular_file


class Options(TypedDict, total=False):
    """What is said of a vocabulary in place of what it says itself; None says nothing.

    ``split``, ``lowercase``, ``removed`` and ``length`` are those of `grurt.Vocabulary`; ``unknown``, ``padding``,
    ``start`` and ``end`` the texts of the tokens that have these meanings.
    """

    split: Split | None
    lowercase: bool | Literal["ascii"] | None
    removed: str | None
    length: int | None
    unknown: str | None
    padding: str | None
    start: str | None
    end: str | None


def read_vocabulary(path: str | os.PathLike[str], **options: Unpack[Options]) -> Vocabulary:
    """Read a vocabulary.

    Parameters
    ----------
    path
        One of these:

        * a text in UTF-8 with a token in each line, the first of which is number 0;
        * a ``.json`` file with a list of tokens, an object of their numbers, or torchtext's ``{"itos": [...]}`` or
          ``{"stoi": {...}}``;
        * a ``tokenizer.json`` of the library ``tokenizers``, which has to be installed: texts are taken apart as it
          says, but nothing is added, cut or filled;
        * a ``.keras`` file with one ``TextVectorization`` or ``StringLookup``.
    options
        ``split``, ``lowercase``, ``removed`` and ``length``: how texts are taken apart, cut and filled, as
        `grurt.Vocabulary` has it; by default words, as they are. ``unknown``, ``padding``, ``start`` and ``end``: the
        tokens, as they stand in the file, that have these meanings. They are taken in place of what the file says.

    Raises
    ------
    ConversionError
        If the file cannot be read, is none of these, does not have one of the tokens, or has one twice; or if options
        do not fit what it says.
    """
    name = Path(path).name
    with unreadable_files_named(name), errors_named(name):
        if name.lower().endswith(".keras"):
            return changed_vocabulary(vocabulary_of_file(Path(path)), **options)
        data = read_regular_file(path)
        found = _decoded(data) if name.lower().endswith(".json") else _of_lines(data)
        if isinstance(found, Mapping) and isinstance(found.get("model"), Mapping):
            content = data.decode()
            read = Vocabulary(tokens=LibraryTokenizer(content).tokens, split="tokenizer", tokenizer=content)
        else:
            read = Vocabulary(tokens=_listed(found))
        return changed_vocabulary(read, **options)


def changed_vocabulary(vocabulary: Vocabulary, **options: Unpack[Options]) -> Vocabulary:
    """Return a vocabulary with what is said in place of what it says: see `read_vocabulary`."""
    changes: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    for meaning in _MEANINGS & changes.keys():
        changes[meaning] = _place(vocabulary.tokens, meaning, changes[meaning])
    changed = msgspec.structs.replace(vocabulary, **changes)
    changed.check("vocabulary")
    return changed


_MEANINGS = {"unknown", "padding", "start", "end"}


def _place(tokens: tuple[str, ...], meaning: str, token: str) -> int:
    """Return the first place of a token."""
    if token not in tokens:
        raise ConversionError(f"{meaning}: expected one of its tokens, got {described(token)}")
    return tokens.index(token)


def _of_lines(data: bytes) -> list[str]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConversionError(f"expected a text in UTF-8, a token in each line, got {error.reason}") from None
    lines = text.replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _decoded(data: bytes) -> Any:
    check_json(data, len(data), "vocabulary")
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise ConversionError(f"expected JSON, got: {error}") from None


def _listed(found: Any) -> tuple[str, ...]:
    """Return the tokens in a list, or in an object of their numbers."""
    if isinstance(found, Mapping):
        found = found.get("itos", found.get("stoi", found))
    if isinstance(found, Mapping) and all(type(number) is int for number in found.values()):
        ordered = sorted(found, key=lambda token: found[token])
        if [found[token] for token in ordered] != list(range(len(ordered))):
            raise ConversionError(f"expected each number from 0 to {len(ordered) - 1} once, got others")
        found = ordered
    if not isinstance(found, list) or not all(isinstance(token, str) for token in found):
        raise ConversionError("expected a list of tokens, or an object of their numbers, got something else")
    return tuple(found)
