"""TextVectorization and StringLookup: they say how texts become the tokens of an input, and compute nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from grurt.converters.keras.builder import Builder
from grurt.converters.keras.dense import one_hot_tokens
from grurt.converters.keras.handlers import converts
from grurt.converters.keras.values import Arguments, Kind, Layer, Tensor
from grurt.errors import DesignReason
from grurt.network.ranges import MAX_SIZE
from grurt.network.texts import PUNCTUATION
from grurt.network.vocabulary import Split, Vocabulary

VOCABULARY = "vocabulary.txt"
"""The asset that holds the texts of the tokens, one a line."""

_STANDARDIZED: dict[str | None, tuple[Literal["ascii", False], str]] = {
    None: (False, ""),
    "lower": ("ascii", ""),
    "strip_punctuation": (False, PUNCTUATION),
    "lower_and_strip_punctuation": ("ascii", PUNCTUATION),
}
"""What is made small and removed: TensorFlow's ``strings.lower`` knows the letters of ASCII only."""

_SPLITS: dict[str | None, Split] = {"whitespace": "ascii_words", "character": "characters", None: "none"}


@converts("TextVectorization")
def text_vectorization(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``TextVectorization`` to tokens."""
    args.check_named(layer)
    tensor = _texts(layer, args)
    vocabulary = vocabulary_of_vectorizer(layer)
    if vocabulary.split == "none" and not tensor.size:
        raise _one_text(layer)
    build.texts(layer, tensor.value, vocabulary)
    return (replace(tensor, kind=Kind.FLAT, size=0),)


@converts("StringLookup")
def string_lookup(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``StringLookup`` to tokens, or to vectors of one 1 each."""
    args.check_named(layer)
    tensor = _texts(layer, args)
    one_hot = layer.config.get("output_mode") == "one_hot"
    vocabulary = vocabulary_of_lookup(layer)
    if not tensor.size:
        raise _one_text(layer)
    build.texts(layer, tensor.value, vocabulary)
    tokens = replace(tensor, kind=Kind.FLAT, size=0)
    return (one_hot_tokens(layer, tokens, len(vocabulary.tokens), build) if one_hot else tokens,)


def vocabulary_of_vectorizer(layer: Layer) -> Vocabulary:
    """Return the vocabulary of a ``TextVectorization``.

    Raises
    ------
    ConversionError
        If the file does not hold it, or it is damaged.
    UnsupportedError
        If texts become something else than tokens, or by code.
    """
    config = layer.config
    standardize = _named(layer, "standardize", "lower_and_strip_punctuation", _STANDARDIZED)
    split = _named(layer, "split", "whitespace", _SPLITS)
    config.require("ngrams", (None,), "leave ngrams out: a GRU reads words in their order")
    config.require("ragged", (False, None), "save the layer with ragged=False")
    _check_mode(layer, "int")
    length = config.integer("output_sequence_length") if config.get("output_sequence_length") is not None else None
    terms = _terms(layer, ["", "[UNK]"])
    config.check_all_read()
    lowercase, removed = _STANDARDIZED[standardize]
    return Vocabulary(
        tokens=_distinct(["", "[UNK]"], terms),
        split=_SPLITS[split],
        lowercase=lowercase,
        removed=removed,
        unknown=1,
        padding=0,
        length=length,
    )


def vocabulary_of_lookup(layer: Layer) -> Vocabulary:
    """Return the vocabulary of a ``StringLookup``, whose texts are taken apart outside of the model.

    Raises
    ------
    ConversionError, UnsupportedError
        As for `vocabulary_of_vectorizer`.
    """
    config = layer.config
    if config.boolean("invert"):
        raise config.unsupported(
            "invert=True, which gives texts", "leave the layer out: Vocabulary.decode gives them", _TEXTS
        )
    _check_mode(layer, "int", "one_hot")
    mask, unknown = config.get("mask_token"), config.get("oov_token", "[UNK]")
    if config.get("output_mode") == "one_hot" and mask is not None:
        raise config.unsupported("output_mode='one_hot' with a mask_token", "use output_mode='int' and an Embedding")
    count = config.get("num_oov_indices", 1)
    if type(count) is not int or not 0 <= count <= MAX_SIZE:
        raise layer.invalid(f"expected a number of tokens of what is unknown, got {str(count)[:50]}")
    if count > 1:
        config.require("salt", (None,), "use salt=None: SipHash is not known here")
    if not isinstance(unknown, str) or not isinstance(mask, str | None):
        raise layer.invalid("expected an oov_token and a mask_token that are texts")
    config.skip("oov_method", "salt", "vocabulary_dtype")
    special = [*([] if mask is None else [mask]), *([unknown] * count)]
    terms = _terms(layer, special)
    config.check_all_read()
    return Vocabulary(
        tokens=_distinct(special, terms) if count < 2 else (*special, *terms),
        split="none",
        unknown=len(special) - count if count else None,
        buckets=max(count, 1),
        padding=None if mask is None else 0,
    )


_TEXTS = DesignReason.ELEMENT_TYPE


def _texts(layer: Layer, args: Arguments) -> Tensor:
    tensor = args.only(layer)
    if tensor.kind is not Kind.TEXTS:
        raise layer.unsupported(f"{tensor.kind.value} as its input", "texts must be an input of the model", _TEXTS)
    return tensor


def _one_text(layer: Layer) -> Exception:
    return layer.unsupported(
        "one text for each sequence, which becomes one token without a timestep",
        "give the input an axis of timesteps, Input((None,), dtype='string')",
    )


def _named(layer: Layer, key: str, default: str, known: Mapping[str | None, object]) -> str | None:
    """Return an argument that names what is done to texts; UnsupportedError for a function of one's own."""
    value = layer.config.get(key, default)
    if not isinstance(value, str | None) or value not in known:
        raise layer.config.unsupported(
            f"{key}={str(value)[:100]!r}, a function of one's own",
            f"use one of {', '.join(map(repr, known))}, or do it outside of the model",
            DesignReason.OWN_CODE,
        )
    return value


def _check_mode(layer: Layer, *allowed: str) -> None:
    mode = layer.config.get("output_mode", "int")
    if mode not in allowed:
        raise layer.config.unsupported(
            f"output_mode={str(mode)[:50]!r}, which joins all tokens of a text",
            "use output_mode='int', and an Embedding",
            DesignReason.WHOLE_SEQUENCE,
        )
    layer.config.require("sparse", (False, None), "use sparse=False")
    layer.config.require("encoding", ("utf-8", "utf8", "UTF-8", None), "use UTF-8")
    layer.config.skip("dtype", "max_tokens", "pad_to_max_tokens", "idf_weights", "has_input_vocabulary")


def _terms(layer: Layer, special: list[str]) -> list[str]:
    """Return the tokens behind the special ones, of the configuration or of the file beside it."""
    config = layer.config
    listed, size = config.get("vocabulary"), config.get("vocabulary_size")
    found = listed if listed is not None else _lines(layer)
    if not isinstance(found, list) or not all(isinstance(term, str) for term in found):
        raise layer.invalid("expected a vocabulary that is a list of texts")
    terms = found[len(special) :] if found[: len(special)] == special else found
    count = len(special) + len(terms)
    if type(size) is int and size != count:
        raise layer.invalid(f"expected a vocabulary of {size} tokens, got {count}: does one have a line break in it?")
    if len(set(terms)) < len(terms) or (special[:1] == [""] and "" in terms):
        raise layer.invalid("expected a vocabulary of different tokens, got one twice: does one have a line break?")
    return terms


def _lines(layer: Layer) -> list[str]:
    data = layer.weights.asset(VOCABULARY)
    if data is None:
        raise layer.unsupported(
            "no vocabulary, neither in its configuration nor beside it",
            "save the whole model as .keras, which holds it, or make the layer with vocabulary=[...]",
            DesignReason.NOT_SAID,
        )
    try:
        return data.decode().replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        raise layer.invalid("expected a vocabulary in UTF-8") from error


def _distinct(special: list[str], terms: list[str]) -> tuple[str, ...]:
    """Return all tokens; a special one whose text is that of a term, too, which is found first, stands for no text."""
    return (*("" if text in terms else text for text in special), *terms)
