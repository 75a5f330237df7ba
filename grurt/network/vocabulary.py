"""The texts that tokens stand for, and how a text is taken apart into them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from grurt.errors import InputTypeError, InputValueError, ModelError
from grurt.escaping import described
from grurt.network.ranges import check_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.network.inputs import AnyInput
    from grurt.network.tokenizer_library import LibraryTokenizer

Split = Literal["words", "ascii_words", "characters", "none", "wordpiece", "tokenizer"]

MAX_TOKEN = 1000
"""Characters of a token."""


class Vocabulary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The tokens of an input: what text each of them stands for.

    A text is taken apart as the source of the model did it, and in no other way: nothing is guessed of languages, and
    nothing is normalized but what is said here.

    Parameters
    ----------
    tokens
        The texts, in the order of their ids. They are different, but for empty ones, which stand for nothing; the only
        one, or that of padding, stands for a text of ``"none"`` that is empty.
    split
        What a text is taken apart into:

        * ``"words"``, which white space parts;
        * ``"ascii_words"``, which only the white space of ASCII parts, as TensorFlow has it;
        * ``"characters"``;
        * ``"none"``: a text is one token, and what was taken apart elsewhere comes as a sequence of texts;
        * ``"wordpiece"``: BERT's words, each the longest tokens that it begins with, of which all but the first have
          ``##`` before them. With ``lowercase``, accents are taken away, too;
        * ``"tokenizer"``: what the library ``tokenizers`` makes of it, as ``tokenizer`` says.
    lowercase
        Whether letters are made small first; ``"ascii"``: only those of ASCII, as TensorFlow does.
    removed
        Characters that are taken away then.
    unknown
        The token of what is not there; None: it is an error, which names it.
    buckets
        How many tokens there are of what is not there, from ``unknown`` on: the 64-bit FarmHash of the text in UTF-8
        chooses, as TensorFlow does it. Their own texts are not looked for.
    padding
        A token that fills up sequences: it is left out of texts.
    start, end
        Tokens that stand before and behind texts: `encode` puts them there if it is asked to, and they are left out of
        texts.
    length
        How many tokens a whole text has: what is longer is cut behind, what is shorter is filled with ``padding``.
    tokenizer
        The text of a ``tokenizer.json``. To read texts takes the library ``tokenizers`` (``pip install
        "grurt[tokenizers]"``); models with one load and run without it.

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
    split: Split = "words"
    lowercase: bool | Literal["ascii"] = False
    removed: str = ""
    unknown: int | None = None
    padding: int | None = None
    start: int | None = None
    end: int | None = None
    length: int | None = None
    tokenizer: str = ""
    buckets: int = 1

    def encode(self, text: str | Sequence[str], *, start: bool = False, end: bool = False) -> NDArray[np.int64]:
        """Return the tokens of a whole text, int64 ``(n,)``.

        Parameters
        ----------
        text
            A text; or texts, each of which is a token's: then nothing is made small, removed or taken apart.
        start, end
            Whether the tokens of a text's start and end are there, too, where the vocabulary has them. They count for
            ``length``, and are not cut.

        Returns
        -------
        Of ``length`` tokens, if the vocabulary has one. A new array.

        Raises
        ------
        InputTypeError
            If it is no text.
        InputValueError
            If something in the text is no token, and there is none for what is unknown.
        ModelError
            If it takes a library that is not there.
        """
        before = [self.start] if start and self.start is not None else []
        behind = [self.end] if end and self.end is not None else []
        found = self.encode_part(text).tolist()
        if self.length is None:
            return np.array([*before, *found, *behind], np.int64)
        room = max(self.length - len(before) - len(behind), 0)
        whole = [*before, *found[:room], *behind][: self.length]
        return np.array([*whole, *[self.padding] * (self.length - len(whole))], np.int64)

    def encode_part(self, text: str | Sequence[str], *, start: bool = False) -> NDArray[np.int64]:
        """Return the tokens of a part of a text, int64 ``(n,)``: neither cut nor filled. Streams read these.

        With ``start``, it is the first part, before which the token of a text's start stands, if there is one.

        Raises
        ------
        InputTypeError, InputValueError, ModelError
            As `encode`.
        """
        found = [self.start] if start and self.start is not None else []
        if self.split == "tokenizer" and isinstance(text, str):
            return np.array([*found, *self._library.encode(text)], np.int64)
        ids = _ids(self)
        for part in self.parts(text):
            token = ids.get(part)
            found.append(self._unknown(part) if token is None else token)
        return np.array(found, np.int64)

    def _unknown(self, part: str) -> int:
        """Return the token of what is not there."""
        if self.unknown is None:
            raise InputValueError(f"text: expected what is in the vocabulary, got {described(part)}")
        if self.buckets == 1:
            return self.unknown
        from grurt.network.farmhash import fingerprint

        return self.unknown + fingerprint(part.encode("utf-8", "replace")) % self.buckets

    def parts(self, text: str | Sequence[str]) -> Sequence[str]:
        """Return what a text is taken apart into: a word of which there are no pieces is one part."""
        if not isinstance(text, str):
            if not isinstance(text, Sequence) or not all(isinstance(part, str) for part in text):
                raise InputTypeError(f"text: expected a text, or a sequence of them, got {described(text)}")
            return text
        if self.split == "tokenizer":
            return self._library.parts(text)
        from grurt.network.texts import prepared, taken_apart, word_pieces

        whole = prepared(text, self.lowercase, self.removed, self.split)
        parts = taken_apart(whole, self.split)
        return word_pieces(parts, _ids(self)) if self.split == "wordpiece" else parts

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens, without those of padding, start and end.

        Raises
        ------
        InputValueError
            If a token does not exist.
        ModelError
            If it takes a library that is not there.
        """
        silent, buckets = {self.padding, self.start, self.end}, self._buckets
        found = []
        for token in tokens:
            number = int(token)
            if not 0 <= number < len(self.tokens):
                raise InputValueError(f"text: expected token ids in [0, {len(self.tokens)}), got {number}")
            if number not in silent:
                found.append(buckets.start if number in buckets else number)
        if self.split == "tokenizer":
            return self._library.decode(found)
        from grurt.network.texts import JOINTS, joined_pieces

        texts = [self.tokens[number] for number in found]
        return joined_pieces(texts) if self.split == "wordpiece" else JOINTS[self.split].join(texts)

    @property
    def _buckets(self) -> range:
        """The tokens of what is not there, if there are several."""
        if self.unknown is None or self.buckets == 1:
            return range(0)
        return range(self.unknown, self.unknown + self.buckets)

    @property
    def _library(self) -> LibraryTokenizer:
        from grurt.network.tokenizer_library import tokenizer_of

        return tokenizer_of(self.tokenizer)

    def check(self, where: str) -> None:
        """Raise ModelError unless tokens are different, and what is said of them fits together."""
        if not self.tokens:
            raise ModelError(f"{where}: expected at least 1 token, got none")
        check_range(f"{where}: buckets", self.buckets, 1)
        if self.buckets > 1 and (self.unknown is None or self.unknown + self.buckets > len(self.tokens)):
            raise ModelError(
                f"{where}: buckets: expected {self.buckets} tokens from that of what is unknown on, got less"
            )
        seen: set[str] = set()
        buckets = self._buckets
        for number, token in enumerate(self.tokens):
            if len(token) > MAX_TOKEN or any("\ud800" <= each <= "\udfff" for each in token):
                raise ModelError(f"{where}: expected tokens of at most {MAX_TOKEN} characters, got {described(token)}")
            if number in buckets:
                continue
            if token in seen:
                raise ModelError(f"{where}: expected different tokens, got {described(token)} twice")
            if token:
                seen.add(token)
        for field in ("unknown", "padding", "start", "end"):
            token_id: Any = getattr(self, field)
            if token_id is not None:
                check_range(f"{where}: {field}", token_id, 0)
                if token_id >= len(self.tokens):
                    raise ModelError(f"{where}: {field}: expected a token id below {len(self.tokens)}, got {token_id}")
        self._check_parts(where)

    def check_for(self, name: str, port: AnyInput | None) -> None:
        """Raise ModelError unless it is one of an input."""
        where = f"vocabulary of {name!r}"
        if port is None or not port.tokens:
            raise ModelError(f"{where}: expected an input of tokens, got none of that name")
        if len(self.tokens) > port.size:
            raise ModelError(f"{where}: expected at most {port.size} tokens, got {len(self.tokens)}")
        self.check(where)

    def _check_parts(self, where: str) -> None:
        """Raise ModelError unless what is said of taking apart fits together."""
        if self.length is not None:
            check_range(f"{where}: length", self.length, 1)
            if self.padding is None:
                raise ModelError(f"{where}: length: expected a token of padding, which fills shorter texts, got none")
        if (self.split == "tokenizer") != bool(self.tokenizer):
            raise ModelError(f"{where}: expected a tokenizer where split is 'tokenizer', and only there")
        if self.split == "tokenizer" and (self.lowercase or self.removed or self.unknown is not None):
            raise ModelError(f"{where}: expected no lowercase, removed or unknown beside a tokenizer, which says it")
        if self.split == "wordpiece" and self.lowercase == "ascii":
            raise ModelError(f"{where}: expected all letters of word pieces to be made small, or none, got 'ascii'")


_KEPT: dict[int, tuple[Vocabulary, Mapping[str, int]]] = {}
_MOST_KEPT = 16


def _ids(vocabulary: Vocabulary) -> Mapping[str, int]:
    """Return the ids of a vocabulary's tokens: made once, of the last ones that were used."""
    kept = _KEPT.get(id(vocabulary))
    if kept is None or kept[0] is not vocabulary:
        hidden = vocabulary._buckets
        numbered = [(number, token) for number, token in enumerate(vocabulary.tokens) if number not in hidden]
        ids = {token: number for number, token in reversed(numbered) if token}
        empty = [number for number, token in numbered if not token]
        standing = empty if len(empty) == 1 else [number for number in empty if number == vocabulary.padding]
        if standing:
            ids[""] = standing[0]
        if len(_KEPT) >= _MOST_KEPT:
            _KEPT.clear()
        kept = _KEPT[id(vocabulary)] = vocabulary, ids
    return kept[1]
