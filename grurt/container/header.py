"""The header of a ``.grurt`` file: a network's description as JSON, and how its tensors are named."""

from __future__ import annotations

import re

import msgspec

from grurt.network.inputs import AnyInput, Output
from grurt.network.layers import AnyLayer
from grurt.network.network import Source
from grurt.network.reference_run import Precision
from grurt.network.signature import Signature

WEIGHTS = "weights."
REFERENCE_INPUTS = "reference.inputs."
REFERENCE_OUTPUTS = "reference.outputs."
"""How the names of tensors begin: of weights, and of a reference run's inputs and outputs."""

METADATA = "__metadata__"
DESCRIPTION = "grurt"
DIGEST = "sha256"
"""The keys of a container's header and metadata that are not about tensors."""

DIGEST_PLACE = 8 + len(f'{{"{METADATA}":{{"{DIGEST}":"')
"""Where in a file that has a digest its digits are."""

NO_DIGEST = b"0" * 64
"""What is digested in the place of the digits."""


_MODEL = re.compile(f'"{METADATA}":{{("{DIGEST}":"[^"]*",)?"{DESCRIPTION}":'.encode())


def is_of_model(head: bytes) -> bool:
    """Say whether the first 512 bytes of a file, or more, are those of a ``.grurt`` file of any release."""
    return _MODEL.search(head) is not None


class ReferenceRunHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a reference run is beside its tensors."""

    produced_by: str
    precision: Precision | None = None


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The description of a network; ``version`` is that of the file."""

    version: int
    inputs: tuple[AnyInput, ...]
    layers: tuple[AnyLayer, ...]
    outputs: tuple[Output, ...]
    signature: Signature
    source: Source
    reference_run: ReferenceRunHeader | None
