"""The texts that tokens stand for, and how a text is taken apart into them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from grurt.errors import InputValueError, ModelError
from grurt.escaping import described
from grurt.network.ranges import check_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.network.inputs import AnyInput

MAX_TOKEN = 1000
"""Characters of a token."""


class Vocabulary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The tokens of an input: what text each of them stands for.

    A text is taken apart as the source of the model did it, and in no other way: nothing is guessed of languages, and
    nothing is normalized but what is said here.

    Parameters
    ----------
    tokens
        The texts, in the order of their ids. They are different, but for empty ones, which stand for nothing.
    split
        ``"words"``, which white space parts, or ``"characters"``.
    lowercase
        Whether letters are made small first.
    removed
        Characters that are taken away first.
    unknown
        The token of what is not there; None: it is an error, which names it.
    padding
        A token that fills up sequences: it is left out of texts.
    start, end
        Tokens that stand before and behind texts: `encode` puts them there if it is asked to, and they are left out of
        texts.

    Examples
    --------
    >>> import grurt
    >>> words = grurt.Vocabulary(tokens=("", "[UNK]", "good", "bad", "not"), lowercase=True, unknown=1, padding=0)
    >>> words.encode("Not good")
    array([4, 2])
    >>> words.encode("Not mediocre"), words.decode([4, 2, 0])
    (array([4, 1]), 'not good')
    """

    tokens: tuple[str, ...]
    split: Literal["words", "characters"] = "words"
    lowercase: bool = False
    removed: str = ""
    unknown: int | None = None
    padding: int | None = None
    start: int | None = None
    end: int | None = None

    def encode(self, text: str, *, start: bool = False, end: bool = False) -> NDArray[np.int64]:
        """Return the tokens of a text, int64 ``(n,)``; with those of its start and end, where that is asked for.

        Raises
        ------
        InputValueError
            If something in the text is no token, and there is none for what is unknown.
        """
        ids = _ids(self)
        found = [] if not start or self.start is None else [self.start]
        for part in self.parts(text):
            token = ids.get(part, self.unknown)
            if token is None:
                raise InputValueError(f"text: expected what is in the vocabulary, got {described(part)}")
            found.append(token)
        if end and self.end is not None:
            found.append(self.end)
        return np.array(found, np.int64)

    def parts(self, text: str) -> Sequence[str]:
        """Return what a text is taken apart into."""
        if self.lowercase:
            text = text.lower()
        if self.removed:
            text = text.translate(dict.fromkeys(map(ord, self.removed)))
        return text.split() if self.split == "words" else text

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens, without those of padding, start and end.

        Raises
        ------
        InputValueError
            If a token does not exist.
        """
        silent = {self.padding, self.start, self.end}
        found = []
        for token in tokens:
            number = int(token)
            if not 0 <= number < len(self.tokens):
                raise InputValueError(f"text: expected token ids in [0, {len(self.tokens)}), got {number}")
            if number not in silent:
                found.append(self.tokens[number])
        return (" " if self.split == "words" else "").join(found)

    def check(self, name: str, port: AnyInput | None) -> None:
        """Raise ModelError unless it is one of an input."""
        where = f"vocabulary of {name!r}"
        if port is None or not port.tokens:
            raise ModelError(f"{where}: expected an input of tokens, got none of that name")
        if not 0 < len(self.tokens) <= port.size:
            raise ModelError(f"{where}: expected at most {port.size} tokens, and at least 1, got {len(self.tokens)}")
        seen: set[str] = set()
        for token in self.tokens:
            if token and token in seen:
                raise ModelError(f"{where}: expected different tokens, got {described(token)} twice")
            if len(token) > MAX_TOKEN or any("\ud800" <= each <= "\udfff" for each in token):
                raise ModelError(f"{where}: expected tokens of at most {MAX_TOKEN} characters, got {described(token)}")
            seen.add(token)
        for field in ("unknown", "padding", "start", "end"):
            token_id: Any = getattr(self, field)
            if token_id is not None:
                check_range(f"{where}: {field}", token_id, 0)
                if token_id >= len(self.tokens):
                    raise ModelError(f"{where}: {field}: expected a token id below {len(self.tokens)}, got {token_id}")


_KEPT: dict[int, tuple[Vocabulary, Mapping[str, int]]] = {}
_MOST_KEPT = 16


def _ids(vocabulary: Vocabulary) -> Mapping[str, int]:
    """Return the ids of a vocabulary's tokens: made once, of the last ones that were used."""
    kept = _KEPT.get(id(vocabulary))
    if kept is None or kept[0] is not vocabulary:
        ids = {token: number for number, token in reversed(list(enumerate(vocabulary.tokens))) if token}
        if len(_KEPT) >= _MOST_KEPT:
            _KEPT.clear()
        kept = _KEPT[id(vocabulary)] = vocabulary, ids
    return kept[1]
