"""How texts are taken apart: at white space, into characters, or into the pieces of words that BERT reads."""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Literal

JOINTS = {"words": " ", "ascii_words": " ", "characters": "", "none": " "}
"""What stands between tokens in a text."""

PIECE = "##"
"""Stands before a piece that does not begin a word."""

MAX_WORD = 100
"""Characters of a word that is taken apart into pieces; a longer one is unknown."""

_ASCII_SPACE = " \t\n\v\f\r"
_TO_SPACES = str.maketrans(_ASCII_SPACE, " " * len(_ASCII_SPACE))
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TO_SMALL = str.maketrans(_LETTERS, _LETTERS.lower())

PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
"""That of ASCII."""

_IDEOGRAPHS = (
    *((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F)),
    *((0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)),
)
"""Blocks of characters that BERT reads as words of their own."""


def prepared(text: str, lowercase: bool | Literal["ascii"], removed: str, split: str) -> str:
    """Return a text with small letters, if that is wanted, and without what is removed."""
    if split == "wordpiece":
        text = _as_bert(text, lowercase=bool(lowercase))
    elif lowercase:
        text = text.translate(_TO_SMALL) if lowercase == "ascii" else text.lower()
    return text.translate(dict.fromkeys(map(ord, removed))) if removed else text


def taken_apart(text: str, split: str) -> Sequence[str]:
    """Return the words or characters of a text, or the text."""
    if split == "none":
        return [text]
    if split == "characters":
        return text
    if split == "ascii_words":
        return [word for word in text.translate(_TO_SPACES).split(" ") if word]
    return text.split() if split == "words" else [word for part in text.split(" ") for word in _bert_words(part)]


def word_pieces(words: Iterable[str], known: Container[str]) -> list[str]:
    """Return the pieces of words: the longest that are known, from left to right. A word that has none is one part."""
    return [piece for word in words for piece in _pieces(word, known)]


def joined_pieces(tokens: Iterable[str]) -> str:
    """Return the words that pieces make, with spaces between them."""
    return " ".join(tokens).replace(f" {PIECE}", "")


def _pieces(word: str, known: Container[str]) -> list[str]:
    if len(word) > MAX_WORD:
        return [word]
    found, start = [], 0
    while start < len(word):
        mark = PIECE if start else ""
        ends = range(len(word), start, -1)
        stop = next((stop for stop in ends if f"{mark}{word[start:stop]}" in known), None)
        if stop is None:
            return [word]
        found.append(f"{mark}{word[start:stop]}")
        start = stop
    return found


def _as_bert(text: str, *, lowercase: bool) -> str:
    """Return a text without control characters, with single spaces of ASCII, and spaces around ideographs."""
    text = "".join(map(_cleaned, text))
    if not lowercase:
        return text
    plain = (each for each in unicodedata.normalize("NFD", text) if unicodedata.category(each) != "Mn")
    return "".join(each.lower() for each in plain)  # each by itself: a sigma at a word's end is no other letter


@lru_cache(1 << 14)
def _cleaned(character: str) -> str:
    if character in "\t\n\r":
        return " "
    if character in "\0\ufffd" or unicodedata.category(character) in ("Cc", "Cf", "Co"):
        return ""
    if character.isspace():
        return " "
    return f" {character} " if any(low <= ord(character) <= high for low, high in _IDEOGRAPHS) else character


def _bert_words(part: str) -> Iterator[str]:
    """Yield the words of a part without white space: each mark of punctuation is one."""
    start = 0
    for place, character in enumerate(part):
        if _is_punctuation(character):
            if start < place:
                yield part[start:place]
            yield character
            start = place + 1
    if start < len(part):
        yield part[start:]


@lru_cache(1 << 14)
def _is_punctuation(character: str) -> bool:
    return character in PUNCTUATION or unicodedata.category(character).startswith("P")
