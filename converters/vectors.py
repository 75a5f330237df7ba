"""Vectors of words that others have trained, for the Embedding of a model: files of GloVe and word2vec."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Generic, Literal, TypeVar, get_args

import numpy as np

from grurt.array_types import Array
from grurt.converters.reading import errors_named, unreadable_files_named
from grurt.errors import ConversionError
from grurt.escaping import described, listed
from grurt.gzipped import DAMAGED, N_MAGIC, is_gzipped
from grurt.network.layers import Embedding
from grurt.network.network import Network
from grurt.network.vocabulary import MAX_TOKEN, Vocabulary
from grurt.regular_files import open_regular_file

VectorFormat = Literal["text", "binary"]

N = TypeVar("N", bound=Network)

_ZIP = b"PK\x03\x04"
_HEADER = re.compile(rb"(\d{1,15}) (\d{1,9})[ \t]*\r?\n")
_CHUNK = 1 << 20
_WORD_BYTES = 4 * MAX_TOKEN
_NUMBER_BYTES = 64


@dataclass(frozen=True)
class FilledEmbedding(Generic[N]):
    """A model with the vectors of a file in an Embedding.

    ``model`` has no reference run, as its source answered with other weights. ``found`` is how many tokens the file has
    a vector of; ``missing`` are the texts of the others, which keep their rows.
    """

    model: N
    layer: str
    found: int
    missing: tuple[str, ...]


def fill_embedding(
    model: N,
    path: str | os.PathLike[str],
    *,
    layer: str | None = None,
    file_format: VectorFormat | None = None,
    progress: Callable[[float], object] | None = None,
) -> FilledEmbedding[N]:
    r"""Fill an Embedding with the vectors that a file has of the texts in a model's vocabulary.

    A vector belongs to the token whose text is the same, letter by letter; of several, the first one counts. The file
    is read piece by piece, and no further than to the last vector that is wanted.

    Parameters
    ----------
    model
        A model, or network, with a vocabulary.
    path
        GloVe's text: a word and its numbers in each line, separated by spaces; word2vec's, with a first line of two
        numbers before that; or word2vec's binary file. gzip may have packed it.
    layer
        The name of the Embedding, in float32. By default the only one.
    file_format
        ``"text"`` or ``"binary"``; None finds out from the first bytes.
    progress
        Called now and then with how much of the file was read, in [0, 1].

    Returns
    -------
    The model with other weights, and what was found. The model that is given stays as it is.

    Raises
    ------
    ConversionError
        If the file cannot be read or is damaged, or has vectors of another size than the layer.
    ModelError
        If the model has no vocabulary.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import grurt
    >>> from grurt.converters import fill_embedding
    >>> model = grurt.Model(
    ...     layers=[grurt.Embedding(name="embedding", vocabulary_size=3, size=2)],
    ...     weights={"embedding.weight": np.zeros((3, 2))},
    ...     vocabularies={"x": grurt.Vocabulary(tokens=("[UNK]", "good", "bad"), unknown=0)},
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "vectors.txt"
    ...     _ = path.write_text("the 0.5 0.5\ngood 0.25 -1\n")
    ...     filled = fill_embedding(model, path)
    >>> filled.found, filled.missing, filled.model.run_text("good")
    (1, ('[UNK]', 'bad'), array([[ 0.25, -1.  ]], dtype=float32))
    """
    found = _embedding(model, layer)
    vocabulary = model.vocabularies.get(found.inputs[0]) or model.vocabulary
    if file_format not in (None, *get_args(VectorFormat)):
        raise ConversionError(f"file_format: expected one of {', '.join(get_args(VectorFormat))}, got {file_format!r}")
    weight = np.array(model.weights[f"{found.name}.weight"])
    name = Path(path).name
    with unreadable_files_named(name), errors_named(name), open_regular_file(path) as file:
        told = _telling(progress, file)
        count, missing = _fill(weight, found, vocabulary, file, file_format, told)
    if progress is not None:
        progress(1.0)
    changed = model.replaced(weights={**model.weights, f"{found.name}.weight": weight}, reference_run=None)
    return FilledEmbedding(changed, found.name, count, missing)


def _telling(progress: Callable[[float], object] | None, file: BinaryIO) -> Callable[[], object]:
    """Return what tells how much of a file was read."""
    size = os.fstat(file.fileno()).st_size
    if progress is None or not size:
        return lambda: None
    return lambda: progress(min(file.tell() / size, 1.0))


def _embedding(model: Network, name: str | None) -> Embedding:
    """Return the Embedding that is meant."""
    layers = [layer for layer in model.layers if isinstance(layer, Embedding)]
    named = [layer for layer in layers if name in (None, layer.name)]
    if len(named) != 1:
        raise ConversionError(
            f"layer: expected the name of an Embedding, one of [{listed(layer.name for layer in layers)}], got "
            f"{described(name)}"
        )
    if named[0].weight_format != "float32":
        raise ConversionError(
            f"layer {named[0].name!r}: expected weights in float32, got {named[0].weight_format}: fill the model "
            "before it is quantized"
        )
    return named[0]


def _fill(
    weight: Array,
    layer: Embedding,
    vocabulary: Vocabulary,
    file: BinaryIO,
    file_format: VectorFormat | None,
    told: Callable[[], object],
) -> tuple[int, tuple[str, ...]]:
    """Fill the rows of tokens that a file has vectors of; return how many they are, and the others' texts."""
    wanted = {text.encode(): number for number, text in reversed(list(enumerate(vocabulary.tokens))) if text}
    try:
        for word, vector in _vectors(file, layer, wanted, file_format, told):
            if not np.isfinite(vector).all():
                raise ConversionError(f"expected finite numbers, got others in the vector of {_shown(word)}")
            weight[wanted.pop(word)] = vector
            if not wanted:
                break
    except DAMAGED as error:
        raise ConversionError(f"expected vectors that gzip has packed whole, got damaged data: {error}") from error
    missing = sorted(wanted.values())
    return sum(map(bool, vocabulary.tokens)) - len(missing), tuple(vocabulary.tokens[number] for number in missing)


def _vectors(
    file: BinaryIO,
    layer: Embedding,
    wanted: Mapping[bytes, int],
    file_format: VectorFormat | None,
    told: Callable[[], object],
) -> Iterator[tuple[bytes, Array]]:
    """Yield the words that are wanted, while they are, and their vectors."""
    pieces = _Pieces(file, told)
    if pieces.start(4).startswith(_ZIP):
        raise ConversionError("expected vectors of words, got a zip archive: unpack it, and name the file in it")
    header = _HEADER.match(pieces.start(64))
    if header is not None:
        pieces.take(header.end())
        _check_size(layer, int(header[2]))
    sample = pieces.start(_WORD_BYTES + _NUMBER_BYTES * layer.size)
    if not sample:
        raise ConversionError("expected vectors of words, got an empty file")
    if header is None:
        if file_format == "binary":
            raise ConversionError("expected a first line of two numbers, as word2vec's binary files have, got none")
        _check_size(layer, len(sample.partition(b"\n")[0].split()) - 1)
    elif file_format == "binary" or (file_format is None and not _is_text(sample)):
        yield from _binary_vectors(pieces, int(header[1]), layer, wanted)
        return
    yield from _text_vectors(pieces, layer, wanted)


def _check_size(layer: Embedding, size: int) -> None:
    if size != layer.size:
        raise ConversionError(
            f"expected vectors of {layer.size} numbers, as the layer {layer.name!r} has, got vectors of {size}"
        )


def _is_text(sample: bytes) -> bool:
    """Say whether a line of text begins here: a word, and numbers behind it."""
    fields = sample.partition(b"\n")[0].split()[1:4]
    try:
        return len(fields) > 0 and all(np.isfinite(float(field)) for field in fields)
    except ValueError:
        return False


def _text_vectors(pieces: _Pieces, layer: Embedding, wanted: Mapping[bytes, int]) -> Iterator[tuple[bytes, Array]]:
    most = _WORD_BYTES + _NUMBER_BYTES * layer.size
    begun = {word.partition(b" ")[0] for word in wanted}
    for number, line in enumerate(pieces.lines(most), start=1):
        if line[: line.find(b" ")] not in begun:  # the numbers of other lines are not looked at
            continue
        word, *numbers = line.rstrip().rsplit(b" ", layer.size)
        if len(numbers) != layer.size:
            raise ConversionError(f"vector {number}: expected a word and {layer.size} numbers, got {_shown(line)}")
        if word not in wanted:
            continue
        try:
            with np.errstate(over="ignore"):  # what becomes infinite is refused by its word
                yield word, np.array([float(each) for each in numbers]).astype(np.float32)
        except ValueError:
            raise ConversionError(
                f"vector {number}: expected a word and {layer.size} numbers, got {_shown(line)}"
            ) from None


def _binary_vectors(
    pieces: _Pieces, count: int, layer: Embedding, wanted: Mapping[bytes, int]
) -> Iterator[tuple[bytes, Array]]:
    for number in range(1, count + 1):
        word = pieces.word(_WORD_BYTES)
        vector = pieces.take(4 * layer.size) if word is not None else b""
        if word is None or len(vector) < 4 * layer.size:
            raise ConversionError(f"expected {count} vectors of {layer.size} numbers, got an end in vector {number}")
        if word in wanted:
            yield word, np.frombuffer(vector, "<f4").astype(np.float32)


def _shown(data: bytes) -> str:
    text = data.decode("utf-8", "replace").rstrip()
    return described(text if len(text) <= 60 else f"{text[:57]}...")


class _Pieces:
    """A file that is read piece by piece, and may be packed by gzip."""

    def __init__(self, file: BinaryIO, told: Callable[[], object]) -> None:
        is_packed = is_gzipped(file.read(N_MAGIC))
        file.seek(0)
        self._file: BinaryIO | gzip.GzipFile = gzip.GzipFile(fileobj=file) if is_packed else file
        self._told = told
        self._piece = b""
        self._at = 0

    def start(self, count: int) -> bytes:
        """Return the next bytes without taking them; fewer at the file's end."""
        while len(self._piece) - self._at < count and self._more():
            pass
        return self._piece[self._at : self._at + count]

    def take(self, count: int) -> bytes:
        """Return the next bytes; fewer at the file's end."""
        taken = self.start(count)
        self._at += len(taken)
        return taken

    def word(self, most: int) -> bytes | None:
        """Return the bytes before the next space, without a line's end before them; None if there is none."""
        while (stop := self._piece.find(b" ", self._at)) < 0:
            if len(self._piece) - self._at > most or not self._more():
                return None
        word = self._piece[self._at : stop].lstrip(b"\r\n")
        self._at = stop + 1
        return word

    def lines(self, most: int) -> Iterator[bytes]:
        """Yield the lines, with their ends; ConversionError for one that has more bytes."""
        while True:
            stop = self._piece.find(b"\n", self._at) + 1
            if not stop and len(self._piece) - self._at <= most and self._more():
                continue
            stop = stop or len(self._piece)
            if stop - self._at > most:
                raise ConversionError(f"expected lines of at most {most:,} bytes, got a longer one")
            if stop == self._at:
                return
            yield self._piece[self._at : stop]
            self._at = stop

    def _more(self) -> bool:
        """Read another piece behind what is left of this one; say whether there is one."""
        self._told()
        found = self._file.read(_CHUNK)
        self._piece = self._piece[self._at :] + found
        self._at = 0
        return bool(found)
