"""Bodies of HTTP requests and responses, compressed or not, and never larger than they may be."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from grurt.escaping import described
from grurt.serving.errors import ServingError, TooLargeError

if TYPE_CHECKING:
    from starlette.requests import Request

    from grurt.serving.limits import Limits

_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_WORTH_COMPRESSING = 1024
_LEVEL = 1


class EncodingError(ServingError):
    """A body is compressed in another way than is known, or damaged."""

    status = 415
    kind = "encoding"


async def read_body(request: Request, limits: Limits) -> bytes:
    """Return the body of a request, decompressed; the connection ends by itself if it does not come.

    Raises
    ------
    TooLargeError, EncodingError
        If it is larger than it may be, or decompresses to more; if it cannot be decompressed.
    """
    message = await request.receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        body = await _read_on(request, body, limits.body)
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    request.state.is_body_read = True
    _expect_fitting(len(body), limits.body)
    encoding = request.state.headers.get(b"content-encoding")
    return body if encoding is None else decompressed(body, encoding.decode("latin-1").lower(), limits.body)


async def _read_on(request: Request, body: bytes, limit: int) -> bytes:
    parts, size, is_more = [body], len(body), True
    while is_more:
        _expect_fitting(size, limit)
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        is_more = message.get("more_body", False)
    return b"".join(parts)


def _expect_fitting(size: int, limit: int) -> None:
    if size > limit:
        raise TooLargeError(f"body: expected at most {limit:,} bytes, got more: see --max-body")


def decompressed(body: bytes, encoding: str, limit: int) -> bytes:
    """Return what a body decompresses to; no more than the limit is ever made of it."""
    if encoding == "identity":
        return body
    if encoding not in _WINDOW_BITS:
        raise EncodingError(f"content-encoding: expected gzip, deflate or identity, got {described(encoding)}")
    work = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        content = work.decompress(body, limit + 1)
    except zlib.error as error:
        raise EncodingError(f"body: expected what {encoding} has compressed, got something else: {error}") from None
    if len(content) > limit:
        raise TooLargeError(f"body: expected at most {limit:,} bytes when decompressed, got more: see --max-body")
    if not work.eof:
        raise EncodingError(f"body: expected the whole of what {encoding} has compressed, got a part")
    return content


def compressed(body: bytes, accepted: str) -> tuple[bytes, str | None]:
    """Return a body as a client accepts it, and how it is compressed, if it is and that pays."""
    if len(body) >= _WORTH_COMPRESSING:
        for encoding, bits in _WINDOW_BITS.items():
            if encoding in {word.partition(";")[0].strip() for word in accepted.lower().split(",")}:
                work = zlib.compressobj(_LEVEL, zlib.DEFLATED, bits)
                return work.compress(body) + work.flush(), encoding
    return body, None
