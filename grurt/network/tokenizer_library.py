"""Texts that the library ``tokenizers`` takes apart, as the text of a ``tokenizer.json`` says."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from grurt.errors import InputValueError, ModelError
from grurt.escaping import described
from grurt.network.ranges import check_range

if TYPE_CHECKING:
    from numpy.typing import NDArray


class LibraryTokenizer:
    """A tokenizer of the library.

    Raises
    ------
    ModelError
        If the library is not installed, or cannot read the text.
    """

    def __init__(self, content: str) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            from grurt.installing import install_command

            raise ModelError(
                "vocabulary: its texts are taken apart by the package tokenizers, which is not installed: "
                f"`{install_command('tokenizers')}`; tokens run without it"
            ) from error
        try:
            self._tokenizer: Any = Tokenizer.from_str(content)
        except Exception as error:  # the library's exceptions have no class of their own
            raise ModelError(f"vocabulary: expected a tokenizer.json, got: {described(str(error))}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    @property
    def tokens(self) -> tuple[str, ...]:
        """The texts of all tokens by their ids, those that were added among them; empty where an id has none."""
        ids: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        texts = dict(zip(ids.values(), ids.keys(), strict=True))
        check_range("vocabulary: the largest token id", max(texts, default=0), 0)
        return tuple(texts.get(number, "") for number in range(max(texts, default=-1) + 1))

    def encode(self, text: str) -> NDArray[np.int64]:
        """Return the tokens of a text, without those of its start and end."""
        return np.array(self._encoded(text).ids, np.int64)

    def parts(self, text: str) -> Sequence[str]:
        """Return the texts of a text's tokens, as the library has them."""
        parts: list[str] = self._encoded(text).tokens
        return parts

    def _encoded(self, text: str) -> Any:
        try:
            return self._tokenizer.encode(text, add_special_tokens=False)
        except Exception as error:
            raise InputValueError(
                f"text: expected what the tokenizer can take apart, got: {described(str(error))}"
            ) from error

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=False)
        return text


@lru_cache(4)
def tokenizer_of(content: str) -> LibraryTokenizer:
    """Return the tokenizer in the text of a ``tokenizer.json``: made once, of the last ones that were used."""
    return LibraryTokenizer(content)
