"""The header of a ``.grurt`` file: a network's description as JSON, and how its tensors are named."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from grurt.network import layers as ly
from grurt.network.inputs import AnyInput, Output
from grurt.network.network import Source
from grurt.network.reference_run import Precision
from grurt.network.signature import Signature
from grurt.network.vocabulary import Vocabulary

if TYPE_CHECKING:
    from grurt.network.layers import AnyLayer

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


_MODEL = f'"{METADATA}":{{("{DIGEST}":"[^"]*",)?"{DESCRIPTION}":'.encode()


def is_of_model(head: bytes) -> bool:
    """Say whether the first 512 bytes of a file, or more, are those of a ``.grurt`` file of any release."""
    return re.search(_MODEL, head) is not None


class ReferenceRunHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a reference run is beside its tensors."""

    produced_by: str
    precision: Precision | None = None


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The description of a network; ``version`` is that of the file."""

    version: int
    inputs: tuple[AnyInput, ...]
    layers: tuple[ly.AnyLayer, ...]
    outputs: tuple[Output, ...]
    signature: Signature
    source: Source
    reference_run: ReferenceRunHeader | None
    vocabularies: dict[str, Vocabulary] = msgspec.field(default_factory=dict)


class _HeaderOfRawLayers(Header, frozen=True, forbid_unknown_fields=True, kw_only=True):
    layers: tuple[msgspec.Raw, ...]  # type: ignore[assignment]


class _Kind(msgspec.Struct, frozen=True):
    kind: str


def decode_header(text: str) -> Header:
    """Return the header in a JSON text; raise what msgspec does if there is none.

    msgspec looks at the declarations of all that a type may hold before it decodes anything of it. Of layers, of which
    there are many kinds, those that are there are imported and looked at.
    """
    try:
        raw = msgspec.json.decode(text, type=_HeaderOfRawLayers)
        layers = tuple(_layer(each) for each in raw.layers)
    except (msgspec.DecodeError, KeyError):
        return msgspec.json.decode(text, type=Header)  # whose message says where
    fields = {name: getattr(raw, name) for name in Header.__struct_fields__}
    return Header(**fields | {"layers": layers})


def _layer(raw: msgspec.Raw) -> AnyLayer:
    return msgspec.json.decode(raw, type=ly.class_of(msgspec.json.decode(raw, type=_Kind).kind))
