"""The digest of a ``.grurt`` file: whatever bit of it is flipped, the file is refused."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import golden_files
import pytest
from grurt_files import assert_equal, rewritten, small_model

from grurt.container.header import DIGEST_PLACE
from grurt.container.reading import digest_of
from grurt.container.writing import encode
from grurt.digests import sha256
from grurt.errors import ModelFileError
from grurt.loading import read


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.grurt"


@pytest.fixture(scope="module")
def content() -> bytes:
    return encode(small_model())


def test_a_file_holds_its_digest(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    stated = header["__metadata__"]["sha256"]
    assert content.count(stated.encode()) == 1
    assert hashlib.sha256(content.replace(stated.encode(), b"0" * 64)).hexdigest() == stated
    assert digest_of(path) == stated


@pytest.mark.parametrize("size", [0, 1 << 20])
def test_either_implementation_of_the_digest_is_the_digest(size: int) -> None:
    digest = sha256(size)
    digest.update(b"grurt")
    assert digest.hexdigest() == hashlib.sha256(b"grurt").hexdigest()


def test_files_without_a_digest_are_read(path: Path, content: bytes) -> None:
    path.write_bytes(rewritten(content))
    assert digest_of(path) is None
    assert_equal(read(path), small_model())
    for golden in golden_files.FOLDER.glob("*.grurt"):
        later = ("sha256", "mathematics", "windows", "scaled_state", "past_end", "program", "pooling", "repeated")
        later += ("attention", "whole_attention")
        assert digest_of(golden) is None or golden.stem in later


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def assert_no_flipped_bit_is_read(content: bytes, path: Path, step: int) -> None:
    for bit in range(0, 8 * len(content), step):
        path.write_bytes(flipped(content, bit))
        with pytest.raises(ModelFileError, match=r"damaged|truncated|expected"):
            read(path)


def test_a_flipped_bit_is_damage(path: Path, content: bytes) -> None:
    assert_no_flipped_bit_is_read(content, path, step=131)


@pytest.mark.long
def test_any_flipped_bit_is_damage(path: Path, content: bytes) -> None:
    assert_no_flipped_bit_is_read(content, path, step=1)


def test_a_flipped_bit_of_the_weights_is_named(path: Path, content: bytes) -> None:
    stated = content[DIGEST_PLACE : DIGEST_PLACE + 64].decode()
    path.write_bytes(flipped(content, 8 * len(content) - 1))
    with pytest.raises(
        ModelFileError, match=rf"the file is damaged: expected the SHA-256 {stated}, got [0-9a-f]{{64}}$"
    ):
        read(path)


LOST_DIGESTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "another name": (
        lambda c: c.replace(b'"sha256"', b'"sha257"'),
        "the header is damaged: metadata that a model does not have: sha257",
    ),
    "another place": (
        lambda c: re.sub(rb'("sha256":"[0-9a-f]{64}"),("grurt":"(?:[^"\\]|\\.)*")', rb"\2,\1", c),
        "the header is damaged: the SHA-256 is not where it belongs",
    ),
    "capital letters": (
        lambda c: c[:DIGEST_PLACE] + c[DIGEST_PLACE : DIGEST_PLACE + 64].upper() + c[DIGEST_PLACE + 64 :],
        "the file is damaged: expected the SHA-256",
    ),
    "not a text": (
        lambda c: c[: DIGEST_PLACE - 1] + b"1" * 66 + c[DIGEST_PLACE + 65 :],
        "expected a text, got a number",
    ),
    "another file's": (
        lambda c: c[:DIGEST_PLACE] + b"0" * 64 + c[DIGEST_PLACE + 64 :],
        "the file is damaged: expected the SHA-256 0000",
    ),
}


@pytest.mark.parametrize("name", LOST_DIGESTS)
def test_a_digest_cannot_get_lost(path: Path, content: bytes, name: str) -> None:
    change, message = LOST_DIGESTS[name]
    path.write_bytes(change(content))
    assert path.read_bytes() != content
    with pytest.raises(ModelFileError, match=message):
        read(path)
