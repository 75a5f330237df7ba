"""Vocabularies from files: a token a line, as in ``vocab.txt``, and JSON, as frameworks and people write it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from grurt.converters.json_text import check_json
from grurt.converters.reading import errors_named, unreadable_files_named
from grurt.errors import ConversionError
from grurt.escaping import described
from grurt.network.vocabulary import Vocabulary
from grurt.regular_files import read_regular_file


def read_vocabulary(
    path: str | os.PathLike[str],
    *,
    split: Literal["words", "characters"] = "words",
    lowercase: bool = False,
    removed: str = "",
    unknown: str | None = None,
    padding: str | None = None,
    start: str | None = None,
    end: str | None = None,
) -> Vocabulary:
    """Read a vocabulary.

    Parameters
    ----------
    path
        A text in UTF-8 with a token in each line, the first of which is number 0; or a ``.json`` file with a list of
        tokens, an object of their numbers, or torchtext's ``{"itos": [...]}`` or ``{"stoi": {...}}``.
    split, lowercase, removed
        How texts are taken apart: see `grurt.Vocabulary`. No such file says it.
    unknown, padding, start, end
        The tokens, as they stand in the file, that have these meanings.

    Raises
    ------
    ConversionError
        If the file cannot be read, is none of these, or does not have one of the tokens.
    """
    name = Path(path).name
    with unreadable_files_named(name):
        data = read_regular_file(path)
    with errors_named(name):
        tokens = _of_json(data) if name.lower().endswith(".json") else _of_lines(data)
        places = {token: number for number, token in reversed(list(enumerate(tokens)))}
        meanings: dict[str, int | None] = {}
        for meaning, token in {"unknown": unknown, "padding": padding, "start": start, "end": end}.items():
            if token is not None and token not in places:
                raise ConversionError(f"{meaning}: expected one of its tokens, got {described(token)}")
            meanings[meaning] = None if token is None else places[token]
        return Vocabulary(tokens=tokens, split=split, lowercase=lowercase, removed=removed, **meanings)


def _of_lines(data: bytes) -> tuple[str, ...]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConversionError(f"expected a text in UTF-8, a token in each line, got {error.reason}") from None
    lines = text.replace("\r\n", "\n").split("\n")
    return tuple(lines[:-1] if lines[-1] == "" else lines)


def _of_json(data: bytes) -> tuple[str, ...]:
    check_json(data, len(data), "vocabulary")
    try:
        found: Any = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise ConversionError(f"expected JSON, got: {error}") from None
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
