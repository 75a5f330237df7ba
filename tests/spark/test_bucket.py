"""The bytes of a bucket: as they are documented, and refused where anything is wrong with them."""

from __future__ import annotations

import struct

import golden_bucket
import models
import numpy as np
import pyarrow as pa
import pytest
from golden_bucket import MODEL, RULES
from hypothesis import given, settings
from hypothesis import strategies as st
from keyed_rows import random_rows, settings_of, table_of

from grurt.digests import blake2b
from grurt.errors import SnapshotError
from grurt.spark.advance import Moment, advance
from grurt.spark.bucket import Bucket, decode, encode
from grurt.spark.keys import from_buffers
from grurt.spark.pool import BucketPool

OTHER = models.gru_model(2, 5, np.random.default_rng(191))
BUCKET = golden_bucket.bucket()
BLOB = encode(BUCKET, RULES)
HEADER = "<8sHHBB2sII16sqQQQQ48s16s"


def expect_equal(one: Bucket, other: Bucket) -> None:
    assert one.keys.equals(other.keys)
    assert one.held.equals(other.held)
    assert [one.number, one.timer, one.states.checksum] == [other.number, other.timer, other.states.checksum]
    for a, b in [
        (one.last, other.last),
        (one.touched, other.touched),
        *zip(one.states[:2], other.states[:2], strict=True),
    ]:
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)


def test_it_is_what_it_was() -> None:
    expect_equal(decode(BLOB, RULES, 3), BUCKET)


def test_one_from_the_past_is_read() -> None:
    expect_equal(decode(bytes.fromhex(golden_bucket.FILE.read_text()), RULES, 3), BUCKET)


def test_the_bytes_are_as_documented() -> None:
    fields = struct.unpack_from(HEADER, BLOB)
    assert fields[:8] == (b"GRURTSB\0", 1, 1, 0, 1, bytes(2), 4, 3)
    assert fields[8:11] == (MODEL.fingerprint, 30, 3)
    steps = np.frombuffer(BLOB, "<i8", 3, struct.calcsize(HEADER) + 3 * fields[12])
    assert steps.tolist() == [2, 1, 1]
    assert "aÄ".encode() in BLOB


@pytest.mark.parametrize("blob", [b"", BLOB[:7], BLOB[:100], b"GRURTSX" + BLOB[7:]], ids=len)
def test_something_else_is_refused(blob: bytes) -> None:
    with pytest.raises(SnapshotError, match=r"bucket 3: expected the state of a keyed stream, got something else"):
        decode(blob, RULES, 3)


def resealed(blob: bytes) -> bytes:
    """Return a bucket with a checksum that fits."""
    start = struct.calcsize(HEADER)
    fields = struct.unpack_from(HEADER, blob)
    behind = blob[start + fields[10] * fields[12] :]
    digest = blake2b(digest_size=16)
    digest.update(blob[: start - 16])
    digest.update(behind)
    return blob[: start - 16] + digest.digest() + blob[start:]


def test_damage_is_refused_whatever_the_checksum() -> None:
    n_keys = struct.calcsize("<8sHHBB2sII16sq")
    damaged = {
        "another checksum": BLOB[:-1] + bytes([BLOB[-1] ^ 1]),
        "it is truncated": resealed(BLOB[:-1]),
        "bytes behind the end": resealed(BLOB + b"more"),
    }
    for what, blob in damaged.items():
        with pytest.raises(SnapshotError, match=rf"expected what this version has written, got damage: {what}"):
            decode(blob, RULES, 3)
    with pytest.raises(SnapshotError, match=r"expected a key and order values of kinds that there are, got others"):
        decode(resealed(BLOB[:12] + b"\7" + BLOB[13:]), RULES, 3)
    huge = BLOB[:n_keys] + struct.pack("<Q", 2**60) + BLOB[n_keys + 8 :]
    with pytest.raises(SnapshotError, match=r"it is truncated"):
        decode(huge, RULES, 3)


@pytest.mark.parametrize(
    ("kind", "lengths", "content", "message"),
    [
        (pa.string(), [2, -1], b"ab", "a negative length"),
        (pa.string(), [2, 1], b"ab", "lengths that do not fit"),
        (pa.string(), [1], b"\xff", "Invalid UTF8"),
        (pa.int64(), [], bytes(8), "another number of keys"),
    ],
)
def test_keys_that_are_none_are_refused(kind: pa.DataType, lengths: list[int], content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_buffers(kind, np.array(lengths, "<i4").tobytes(), content, 2 if len(lengths) != 1 else 1)


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, len(BLOB) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused(place: int, bit: int) -> None:
    changed = bytearray(BLOB)
    changed[place] ^= 1 << bit
    with pytest.raises(SnapshotError):
        BucketPool(MODEL, "refuse").begin(decode(bytes(changed), RULES, 3).states, 3)


def test_another_number_of_buckets_is_refused_with_what_to_do() -> None:
    with pytest.raises(SnapshotError, match=r"expected keys spread over 8 buckets, got a checkpoint of 4: .*buckets=4"):
        decode(BLOB, settings_of(MODEL, n_buckets=8, lateness=5), 3)


def test_other_keys_and_orders_are_refused() -> None:
    with pytest.raises(
        SnapshotError, match=r"key and an order of the kinds integer, integer, integer, got a checkpoint with string"
    ):
        decode(BLOB, settings_of(MODEL, key="integer", n_orders=2), 3)


def test_a_newer_version_is_refused() -> None:
    newer = BLOB[:8] + struct.pack("<H", 2) + BLOB[10:]
    with pytest.raises(SnapshotError, match=r"the state has format version 2, newer than 1: upgrade grurt"):
        decode(newer, RULES, 3)


def test_states_of_another_model_are_refused_or_begin_anew() -> None:
    with pytest.raises(SnapshotError, match=r'the states belong to another model: .*on_model_change="reset"'):
        decode(BLOB, settings_of(OTHER, lateness=5), 3)
    rules = settings_of(OTHER, lateness=5, on_model_change="reset")
    bucket = decode(BLOB, rules, 3)
    assert np.array_equal(bucket.last, BUCKET.last)
    rows = random_rows(OTHER, ["a", "a"], [4, 5], np.random.default_rng(193))
    _, after = advance(bucket, table_of(rows, rules), Moment(20), rules, BucketPool(OTHER, "refuse"))
    assert after.states.steps.tolist() == [1, 0, 0]
