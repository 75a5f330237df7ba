r"""A bucket: the keys that are kept together, what is known of each, and their states, as one block of bytes.

All numbers are little-endian::

    magic         8 bytes   b"GRURTSB\0"
    version       uint16    1
    hash          uint16    by which keys are spread over buckets: 1, Spark's xxhash64
    key kind      uint8     0 text in UTF-8, 1 bytes, 2 integers
    orders        uint8     how many order values a key has
    order kinds   2 bytes   of each order value: 0 integers, 1 timestamps, 2 timestamps without a zone; 0 of none
    buckets       uint32    over how many buckets keys are spread,
    bucket        uint32    and which of them this is
    fingerprint   16 bytes  of the model
    timer         int64     when Spark is to call again, in milliseconds; -1: not
    keys          uint64    how many there are
    key bytes     uint64    what their contents take
    state bytes   uint64    what a state takes
    held bytes    uint64    what rows that are held back take
    seal          48 bytes  of the states: the checksum of `grurt.runtime.snapshots`
    checksum      16 bytes  BLAKE2b of everything before it, and of everything behind the states
    states        uint8     (keys, state bytes)
    steps         int64     (keys,)  timesteps since a key's state began
    last          int64     (keys, orders)  order values of the last row that was answered
    touched       int64     (keys,)  when the last row came, in milliseconds; 0 where nobody asks
    key lengths   int32     (keys,), except of integers
    key contents            one after the other; int64 of integers
    held                    rows as a record batch of Arrow
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from grurt.digests import blake2b
from grurt.errors import SnapshotError
from grurt.runtime.snapshots import Snapshots
from grurt.spark import keys as key_arrays
from grurt.spark.settings import ARROW_KEYS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.spark.settings import Settings

VERSION = 1
HASH = 1
_MAGIC = b"GRURTSB\0"
_HEADER = struct.Struct("<8sHHBB2sII16sqQQQQ48s")
_CHECKSUM_SIZE = 16
_KEY_KINDS = [*ARROW_KEYS]
_ORDER_KINDS = ["integer", "timestamp", "timestamp_ntz"]
NO_TIMER = -1


class Bucket(NamedTuple):
    """What a bucket holds: a row of each array for every key."""

    number: int
    keys: Any
    """Arrow array, without nulls, each key once."""
    last: NDArray[np.int64]
    """``(n_keys, n_orders)``"""
    touched: NDArray[np.int64]
    """``(n_keys,)``"""
    states: Snapshots
    held: Any
    """Rows that are held back, an Arrow table of `Settings.row_schema`."""
    timer: int = NO_TIMER


def empty(settings: Settings, number: int) -> Bucket:
    """Return a bucket without keys."""
    none = np.zeros(0, np.int64)
    states = Snapshots(none, np.zeros((0, 0), np.uint8), b"")
    last = np.zeros((0, len(settings.order)), np.int64)
    held = settings.row_schema.empty_table()
    return Bucket(number, pa.array([], ARROW_KEYS[settings.key.kind]), last, none, states, held)  # type: ignore[index]


def encode(bucket: Bucket, settings: Settings) -> bytes:
    """Return the bytes of a bucket that has keys."""
    lengths, contents = key_arrays.to_buffers(bucket.keys)
    held = bucket.held.combine_chunks().to_batches()
    rows = held[0].serialize().to_pybytes() if held else b""
    header = _HEADER.pack(
        _MAGIC,
        VERSION,
        HASH,
        _KEY_KINDS.index(settings.key.kind),  # type: ignore[arg-type]
        len(settings.order),
        bytes(_ORDER_KINDS.index(column.kind) for column in settings.order).ljust(2, b"\0"),
        settings.n_buckets,
        bucket.number,
        settings.fingerprint,
        bucket.timer,
        len(bucket.keys),
        len(contents),
        bucket.states.states.shape[1],
        len(rows),
        bucket.states.checksum or bytes(48),
    )
    numbers = [bucket.states.steps, bucket.last, bucket.touched]
    behind = b"".join([*(array.astype("<i8", copy=False).tobytes() for array in numbers), lengths, contents, rows])
    return b"".join([header, _checksum(header, behind), bucket.states.states.tobytes(), behind])


def decode(blob: bytes, settings: Settings, number: int, *, with_held: bool = True) -> Bucket:
    """Return the bucket of some bytes, with the rows that it holds back if that is wanted.

    Raises
    ------
    SnapshotError
        If they are damaged or of a newer version, if keys are spread in another way than the settings say, or, unless
        those say that states may be reset, if the states belong to another model. They begin anew then.
    """
    header = read_header(blob, f"bucket {number}")
    _expect_settings(header, settings, number)
    parts = _Parts(memoryview(blob)[_HEADER.size + _CHECKSUM_SIZE :])
    n, n_orders = header.n_keys, len(settings.order)
    try:
        states = np.frombuffer(parts.take(n * header.state_bytes), np.uint8).reshape(n, header.state_bytes)
        if blob[_HEADER.size : _HEADER.size + _CHECKSUM_SIZE] != _checksum(blob[: _HEADER.size], parts.rest):
            raise ValueError("another checksum")
        steps, last, touched = (parts.integers(n * count) for count in (1, n_orders, 1))
        has_lengths = settings.key.kind != "integer"
        lengths, contents = parts.take(4 * n if has_lengths else 0), parts.take(header.key_bytes)
        keys = key_arrays.from_buffers(ARROW_KEYS[settings.key.kind], lengths, contents, n)  # type: ignore[index]
        held = parts.take(header.held_bytes)
        rows = _rows(held if with_held else b"", settings)
        parts.expect_end()
    except (ValueError, pa.ArrowException) as error:
        raise SnapshotError(f"bucket {number}: expected what this version has written, got damage: {error}") from None
    if header.fingerprint != settings.fingerprint:
        states, steps, seal = np.zeros((n, 0), np.uint8), np.zeros(n, np.int64), b""
    else:
        seal = header.seal
    return Bucket(number, keys, last.reshape(n, n_orders), touched, Snapshots(steps, states, seal), rows, header.timer)


class Header(NamedTuple):
    """What the bytes of a bucket begin with."""

    key_kind: str
    order_kinds: tuple[str, ...]
    n_buckets: int
    number: int
    fingerprint: bytes
    timer: int
    n_keys: int
    key_bytes: int
    state_bytes: int
    held_bytes: int
    seal: bytes


def read_header(blob: bytes, where: str) -> Header:
    """Return what a bucket says of itself; raise SnapshotError if it is none, or of a newer version."""
    if len(blob) < _HEADER.size + _CHECKSUM_SIZE or blob[:8] != _MAGIC:
        raise SnapshotError(f"{where}: expected the state of a keyed stream, got something else")
    _, version, hash_kind, key_kind, n_orders, order_kinds, *rest = _HEADER.unpack_from(blob)
    if version > VERSION or hash_kind > HASH:
        raise SnapshotError(f"{where}: the state has format version {version}, newer than {VERSION}: upgrade grurt")
    if key_kind >= len(_KEY_KINDS) or max(order_kinds) >= len(_ORDER_KINDS):
        raise SnapshotError(
            f"{where}: expected a key and order values of kinds that there are, got others: it is damaged"
        )
    kinds = tuple(_ORDER_KINDS[kind] for kind in order_kinds[:n_orders])
    return Header(_KEY_KINDS[key_kind], kinds, *rest)


def _expect_settings(header: Header, settings: Settings, number: int) -> None:
    where = f"bucket {number}"
    if (header.n_buckets, header.number) != (settings.n_buckets, number):
        raise SnapshotError(
            f"{where}: expected keys spread over {settings.n_buckets} buckets, got a checkpoint of {header.n_buckets}: "
            f"the number is fixed by the first start; say buckets={header.n_buckets}, or begin a new checkpoint from "
            "the states of this one (grurt.spark.read_states, initial_state=)"
        )
    wanted = (settings.key.kind, tuple(column.kind for column in settings.order))
    if (header.key_kind, header.order_kinds) != wanted:
        raise SnapshotError(
            f"{where}: expected a key and an order of the kinds {_kinds(*wanted)}, got a checkpoint with "
            f"{_kinds(header.key_kind, header.order_kinds)}: keep them as they were, or begin a new checkpoint"
        )
    if header.fingerprint != settings.fingerprint and settings.on_model_change == "raise":
        raise SnapshotError(
            f"{where}: the states belong to another model: expected fingerprint {settings.fingerprint.hex()}, got "
            f'{header.fingerprint.hex()}; go on with that model, or let all keys begin anew: on_model_change="reset"'
        )


def _kinds(key: str, orders: tuple[str, ...]) -> str:
    return ", ".join([key, *orders])


class _Parts:
    """Bytes that are taken from the front."""

    def __init__(self, rest: memoryview) -> None:
        self.rest = rest

    def take(self, size: int) -> bytes:
        if size > len(self.rest):
            raise ValueError("it is truncated")
        taken, self.rest = self.rest[:size], self.rest[size:]
        return bytes(taken)

    def integers(self, count: int) -> NDArray[np.int64]:
        return np.frombuffer(self.take(8 * count), "<i8").astype(np.int64)

    def expect_end(self) -> None:
        if self.rest:
            raise ValueError("bytes behind the end")


def _rows(content: bytes, settings: Settings) -> Any:
    schema = settings.row_schema
    if not content:
        return schema.empty_table()
    return pa.Table.from_batches([pa.ipc.read_record_batch(pa.py_buffer(content), schema)])


def _checksum(*contents: bytes | memoryview) -> bytes:
    digest = blake2b(digest_size=_CHECKSUM_SIZE)
    for content in contents:
        digest.update(content)
    return digest.digest()
