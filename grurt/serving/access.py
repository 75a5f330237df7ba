"""Who may: hosts by which the service is called, origins of pages, and tokens bound to sessions."""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from grurt.errors import GrurtError
from grurt.escaping import described
from grurt.serving.errors import ForbiddenError, UnauthorizedError

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
MIN_TOKEN = 16
_TOKEN = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class Permit:
    """What a client may: everything that has to do with sessions whose keys begin so."""

    prefix: str = ""

    def expect(self, key: str) -> None:
        """Raise ForbiddenError unless a session may be had."""
        if not key.startswith(self.prefix):
            raise ForbiddenError(f"the token is for sessions whose names begin with {self.prefix!r} only")

    def expect_all(self) -> None:
        """Raise ForbiddenError unless all sessions may be had."""
        if self.prefix:
            raise ForbiddenError(f"the token is for sessions whose names begin with {self.prefix!r}, not for this")


_EVERYTHING = Permit()


def read_tokens(path: Path) -> dict[str, Permit]:
    """Read a file of tokens: one a line, behind which the beginning of the names of its sessions may stand.

    Raises
    ------
    GrurtError
        If a line is something else, or there is no token.
    """
    permits: dict[str, Permit] = {}
    for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) > 2 or len(words[0]) < MIN_TOKEN or not _TOKEN.fullmatch(words[0]):
            raise GrurtError(
                f"{path}, line {number}: expected a token of at least {MIN_TOKEN} printable ASCII characters, "
                "and behind it nothing, or the beginning of session names"
            )
        permits[words[0]] = Permit(words[1] if len(words) == 2 else "")
    if not permits:
        raise GrurtError(f"{path}: expected a token, one a line, got none")
    return permits


class Access:
    """Decides about requests by their headers.

    Parameters
    ----------
    hosts
        Names by which the service may be called, beside those of the loopback address; a page of a foreign name that
        resolves to this machine has another one (DNS rebinding). None for any.
    origins
        Of pages that may connect, such as ``https://example.org``, beside those of the service itself.
    permits
        What each token may; without any, everybody may all.
    """

    def __init__(
        self, *, hosts: Collection[str] | None = (), origins: Collection[str] = (), permits: Mapping[str, Permit] | None
    ) -> None:
        self._hosts = None if hosts is None else LOOPBACK | {host.lower().strip("[]") for host in hosts}
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self._permits = {token.encode(): permit for token, permit in (permits or {}).items()}

    def expect_host(self, hosts: Sequence[str], origins: Sequence[str]) -> None:
        """Raise ForbiddenError unless the headers ``Host``, which is one, and ``Origin`` are those of who may."""
        host = hosts[0] if len(hosts) == 1 else ""
        name = _host_name(host)
        if self._hosts is not None and name not in self._hosts:
            raise ForbiddenError(f"host: expected a name of this service, got {described(host)}: see --allow-host")
        for origin in map(str.lower, origins):
            if origin not in self._origins and urlsplit(origin).netloc != host.lower():
                found = described(origin)
                raise ForbiddenError(f"origin: expected a page of this service, got {found}: see --allow-origin")

    def permit(self, authorization: str | None, token: str | None = None) -> Permit:
        """Return what a client may, by the header ``Authorization``, or a token. Raises UnauthorizedError."""
        if not self._permits:
            return _EVERYTHING
        scheme, _, given = (authorization or "").partition(" ")
        presented = (given.strip() if scheme.lower() == "bearer" else token or "").encode("utf-8", "replace")
        found = None
        for known, permit in self._permits.items():  # all of them: the time must not tell which one it was
            if hmac.compare_digest(known, presented):
                found = permit
        if found is None:
            raise UnauthorizedError("expected the header 'Authorization: Bearer TOKEN', with a token of this service")
        return found


@lru_cache(maxsize=256)
def _host_name(host: str) -> str:
    """Return the name of a header ``Host``, without the port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
