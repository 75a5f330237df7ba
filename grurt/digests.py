"""BLAKE2b, by which what is kept or sent is named and checked, and SHA-256, by which files are.

Both are CPython's own, which `hashlib` offers too, but only after it has loaded OpenSSL: a tenth of a start, and 4 MB.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

try:
    from _blake2 import blake2b
except ImportError:  # another Python
    from hashlib import blake2b

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["blake2b", "sha256"]

_WORTH_OPENSSL = 1 << 20
"""Bytes, from which on OpenSSL takes less time than Python's own SHA-256, six times as slow, and its own loading."""


def sha256(size: int) -> _Hash:
    """Return a SHA-256 of nothing, to be updated with some ``size`` bytes."""
    for name in ("_sha2", "_sha256") if size < _WORTH_OPENSSL else ():  # Python 3.12, 3.11; another has neither
        try:
            return importlib.import_module(name).sha256()  # type: ignore[no-any-return]
        except ImportError:
            continue
    return importlib.import_module("hashlib").sha256()  # type: ignore[no-any-return]
