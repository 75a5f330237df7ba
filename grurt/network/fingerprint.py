"""What identifies a model: a digest of all that decides its answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from grurt.digests import blake2b
from grurt.network.structs import fields_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIZE = 16


def fingerprint(description: Iterable[msgspec.Struct], weights: Mapping[str, NDArray[np.generic]]) -> bytes:
    """Return 16 bytes that identify a model by its inputs, layers and outputs, in this order, and its weights.

    A field that has its default is left out: so one that a later release adds changes no fingerprint of today, and the
    snapshots of today stay readable.
    """
    described = msgspec.json.encode([_without_defaults(part) for part in description])
    digest = blake2b(described, digest_size=_SIZE)
    for name in sorted(weights):
        digest.update(np.ascontiguousarray(weights[name]).data)
    return digest.digest()


def _without_defaults(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_without_defaults(item) for item in value]
    if not isinstance(value, msgspec.Struct):
        return value
    given = [[name, _without_defaults(found)] for name, found, default in fields_of(value) if found != default]
    return [type(value).__struct_config__.tag, *given]
