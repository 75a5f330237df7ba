"""Puts what a terminal would obey into every text of a sound file, one text at a time; the file stays well formed."""

from __future__ import annotations

import copy
import io
import json
import re
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import onnx
from checkpoints import zipped

CONTROLS = "".join(
    map(
        chr,
        [
            *range(0x20),
            *range(0x7F, 0xA0),  # DEL, and C1, where U+009B begins what ESC [ does
            *(0xAD, 0x61C, 0x180E, 0xFEFF, 0xFFF9, 0xFFFA, 0xFFFB),
            *range(0x200B, 0x2010),  # no width, and the direction of writing
            *range(0x2028, 0x202F),
            *range(0x2060, 0x2070),
            *(0xE0001, 0xE0020, 0xE007F),  # tags
            *(0xD800, 0xDC1B, 0xDFFF),  # halves of surrogate pairs
            *(0xE000, 0x378, 0xFFFE, 0x10FFFF),  # private, not assigned, no characters
        ],
    )
)
"""Characters that must not reach a terminal, and some of every kind that should not."""

PAYLOAD = "\x1b[2J\x1b]0;title\x07\x1b]8;;http://x\x1b\\[bold red]:smile:[/]" + CONTROLS

ENCODED = sorted(
    {character.encode("utf-8", "surrogatepass") for character in CONTROLS}, key=lambda text: (len(text), text)
)

Mutants = Iterator[bytes]


def in_json(content: bytes, payloads: tuple[str, ...] = (PAYLOAD,)) -> Mutants:
    """Yield a JSON text with each of its strings and keys changed: begun, and ended, as it was."""
    document = json.loads(content)
    for path, is_key in list(_strings(document, ())):
        for payload in payloads:
            yield json.dumps(_changed(document, path, payload, is_key=is_key)).encode()


def _strings(node: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], bool]]:
    children: Any = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        if isinstance(key, str):
            yield (*path, key), True
        if isinstance(child, str):
            yield (*path, key), False
        yield from _strings(child, (*path, key))


def _changed(document: Any, path: tuple[Any, ...], payload: str, *, is_key: bool) -> Any:
    changed = copy.deepcopy(document)
    node = changed
    for key in path[:-1]:
        node = node[key]
    if is_key:
        node[_with(path[-1], payload)] = node.pop(path[-1])
    else:
        node[path[-1]] = _with(node[path[-1]], payload)
    return changed


def _with(text: str, payload: str) -> str:
    return f"{text[:2]}{payload}{text[2:]}"


def in_bytes(content: bytes, texts: list[bytes] = ENCODED) -> Mutants:
    """Yield any file with each of its runs of ASCII overwritten but for its ends, by other texts in turn."""
    for number, run in enumerate(re.finditer(rb"[ -~]{3,}", content)):
        room = run.end() - run.start() - 2
        filling = b""
        for index in range(len(texts)):
            text = texts[(number * 31 + index) % len(texts)]
            if len(filling) + len(text) <= room:
                filling += text
        yield content[: run.start() + 1] + filling.ljust(room, b"_") + content[run.end() - 1 :]


def in_safetensors(content: bytes) -> Mutants:
    """Yield a safetensors file with each text of its header changed, also of JSON within it, as grurt's own has it."""
    (length,) = struct.unpack_from("<Q", content)
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    for changed in in_json(json.dumps(header).encode()):
        yield _framed(changed, data)
    inner = header.get("__metadata__", {}).get("grurt")
    for changed in in_json(inner.encode()) if inner else ():
        outer = header | {"__metadata__": {**header["__metadata__"], "grurt": changed.decode()}}
        yield _framed(json.dumps(outer).encode(), data)


def _framed(header: bytes, data: bytes) -> bytes:
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data


def in_zip(content: bytes) -> Mutants:
    """Yield a zip archive with each text of each of its entries changed, and each of their names."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    for name, entry in files.items():
        for changed in (in_json if entry[:1] in (b"{", b"[") else in_bytes)(entry):
            yield zipped({**files, name: changed})
        printable = PAYLOAD.encode("utf-8", "ignore").decode().replace("\0", "")
        yield zipped({_with(other, printable) if other == name else other: files[other] for other in files})


def in_onnx(content: bytes) -> Mutants:
    """Yield an ONNX file with each field of its protocol buffers changed that is a text, or may hold one."""
    model = onnx.load_model_from_string(content)
    places = list(_fields(model))
    for message, name, index in places:
        old = getattr(message, name) if index is None else getattr(message, name)[index]
        new: Any = (
            old[:2] + PAYLOAD.encode("utf-8", "ignore") + old[2:] if isinstance(old, bytes) else _with(old, _UTF8)
        )
        _set(message, name, index, new)
        yield model.SerializeToString()
        _set(message, name, index, old)


_UTF8 = PAYLOAD.encode("utf-8", "ignore").decode()
"""Without surrogates, which protocol buffers cannot hold."""


def _fields(message: Any) -> Iterator[tuple[Any, str, int | None]]:
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        repeated = not isinstance(value, str | bytes | int | float) and hasattr(value, "append")
        if field.type == field.TYPE_MESSAGE:
            for child in value if repeated else [value] if message.HasField(field.name) else []:
                yield from _fields(child)
        elif field.type == field.TYPE_STRING or (field.type == field.TYPE_BYTES and field.name != "raw_data"):
            if repeated:
                yield from ((message, field.name, index) for index in range(len(value)))
            else:
                yield message, field.name, None


def _set(message: Any, name: str, index: int | None, value: Any) -> None:
    if index is None:
        setattr(message, name, value)
    else:
        getattr(message, name)[index] = value


WALKS: Mapping[str, Callable[[bytes], Mutants]] = {
    "grurt": in_safetensors,
    "safetensors": in_safetensors,
    "onnx": in_onnx,
    "json": in_json,
    "pt": in_zip,
    "pt2": in_zip,
    "keras": in_zip,
    "npz": in_zip,
    "legacy": in_bytes,
    "h5": in_bytes,
}
"""How each format is walked through."""


def assert_printable(text: str) -> None:
    """Check that nothing in a text but line ends could command a terminal."""
    for line in text.split("\n"):
        assert line.isprintable(), ascii(line)
