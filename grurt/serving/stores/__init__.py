"""Stores: where states outlive the process."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from grurt.errors import GrurtError
from grurt.installing import install_command

if TYPE_CHECKING:
    from grurt.serving.stores.base import Store


def open_store(address: str) -> Store:
    """Open a store by its address.

    Parameters
    ----------
    address
        ``sqlite:///PATH``, where a path from the root has a fourth slash; or ``redis://HOST[:PORT][/DATABASE]``,
        ``rediss://`` with TLS.

    Raises
    ------
    GrurtError
        If it is another kind of address, or the store cannot be opened.
    """
    scheme = urlsplit(address).scheme
    if scheme == "sqlite":
        from grurt.serving.stores.sqlite import SqliteStore

        return SqliteStore(_path(address))
    if scheme in ("redis", "rediss"):
        if find_spec("redis") is None:
            raise GrurtError(f"--state redis:// needs the package redis: {install_command('redis')}")
        from grurt.serving.stores.redis import RedisStore

        return RedisStore(address)
    raise GrurtError(f"--state: expected sqlite:///PATH, redis://HOST or rediss://HOST, got {address!r}")


def _path(address: str) -> str:
    rest = address.removeprefix("sqlite:///")
    if rest == address or not rest:
        raise GrurtError(f"--state: expected sqlite:///PATH, of a path from the root sqlite:////PATH, got {address!r}")
    return rest
