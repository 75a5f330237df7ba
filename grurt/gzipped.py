"""What gzip has packed: how it is told, and what Python raises where it is damaged."""

import gzip
import zlib

DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)
"""What gzip raises for data that are none, or not all there."""

_MAGIC = b"\x1f\x8b"
N_MAGIC = len(_MAGIC)
"""Bytes by which it is told."""


def is_gzipped(start: bytes) -> bool:
    """Say whether data that start so were packed by gzip."""
    return start.startswith(_MAGIC)
