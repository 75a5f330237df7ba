"""BLAKE2b, by which what is kept or sent is named and checked.

It is CPython's own, which `hashlib` offers too, but only after it has loaded OpenSSL: a tenth of a start, and 4 MB.
"""

try:
    from _blake2 import blake2b
except ImportError:  # another Python
    from hashlib import blake2b

__all__ = ["blake2b"]
