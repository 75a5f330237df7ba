"""Versions of what is kept: which one a thing needs, and which ones this release reads.

Each thing is written in the lowest version that can say it, so that releases from before read all that they know.

What a file needs, its layers and its signature say: `Layer.first_file_version`, `Signature.first_file_version`; and a
reference run that has a precision of its own. A snapshot holds states in float32; that of a stream with a context,
which it names, is of version 2.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grurt.network.inputs import AnyInput
    from grurt.network.layers import AnyLayer
    from grurt.network.signature import Signature

FILE_VERSION = 2
"""The newest version of ``.grurt`` files: all up to it are read."""

SNAPSHOT_VERSION = 2
"""The newest version of snapshots: all up to it are read."""


def snapshot_version(contexts: Collection[str]) -> int:
    """Return the lowest version of a snapshot that can hold the state of a stream that is given such contexts."""
    return 2 if contexts else 1


def file_version(
    layers: Iterable[AnyLayer],
    inputs: Iterable[AnyInput],
    signature: Signature,
    precision: str | None = None,
    has_vocabularies: bool = False,
) -> int:
    """Return the lowest version of a file that can hold these layers, this signature, and what else there is.

    That is the precision of a reference run, and vocabularies.
    """
    needed = [1 if precision is None and not has_vocabularies else 2, signature.first_file_version(inputs)]
    return max([*needed, *(layer.first_file_version for layer in layers)])
