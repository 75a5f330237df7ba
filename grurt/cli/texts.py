"""Texts in, a line each, as they arrive; and texts out, as their tokens come."""

import io
from collections.abc import Iterator

from grurt.cli.formats import Format, LineError, undamaged, unpacked
from grurt.cli.places import naming
from grurt.cli.readers import MAX_LINE
from grurt.network.vocabulary import Vocabulary

_INCOMPLETE = "\ufffd"
"""What stands for a character of which the first bytes are there."""


class TextReader:
    """Reads the lines of a text in UTF-8, which gzip may have packed, without their ends.

    Parameters
    ----------
    file
        Open for reading bytes, and for peeking.
    name
        What messages call it.
    """

    format: Format = "csv"
    """That of the answers, where nothing says another."""
    has_header = False
    n_sequences = None

    def __init__(self, file: io.BufferedReader, name: str) -> None:
        self._name = name
        self.where = name
        """The place of the latest text, for messages."""
        with naming(name), undamaged(lambda: name):
            self._file = unpacked(file)

    def __iter__(self) -> Iterator[str]:
        number = 0
        with naming(self._name), undamaged(lambda: self.where):
            while line := self._file.readline(MAX_LINE + 1):
                number += 1
                self.where = f"{self._name}, line {number}"
                if len(line) > MAX_LINE:
                    raise LineError(f"{self.where}: expected a line of at most {MAX_LINE:,} bytes, got a longer one")
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise LineError(
                        f"{self.where}: expected text in UTF-8, got the byte 0x{error.object[error.start]:02x}"
                    ) from None
                yield text.removesuffix("\n").removesuffix("\r")


class TextWriter:
    """The text of tokens that come block by block.

    Parameters
    ----------
    vocabulary
        What the tokens stand for.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._said: list[int] = []
        """The tokens of the latest piece: what stands before the next one, and between them, depends on no others."""
        self._held: list[int] = []

    def more(self, tokens: list[int]) -> str:
        """Return what these tokens add to the text; a character of which bytes are to come is held back."""
        self._held += tokens
        return "" if self._vocabulary.decode(self._held).endswith(_INCOMPLETE) else self.rest()

    def rest(self) -> str:
        """Return what was held back."""
        before, both = (self._vocabulary.decode(each) for each in (self._said, self._said + self._held))
        self._said = self._held if len(both) > len(before) else self._said + self._held
        self._held = []
        return both[len(before) :]
