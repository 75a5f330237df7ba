"""States in a server that speaks Redis's protocol: Redis, Valkey and others, for processes of many machines.

Keys, all of one prefix::

    {grurt}:s:MODEL:KEY   hash of a session: token, owner, saved
    {grurt}:p:PROCESS     there as long as the process lives
    {grurt}:a:PROCESS     set of the sessions that others have asked it for
    {grurt}:token         the latest token

The braces keep them in one slot of a cluster. What must not be done by halves is a script, which Redis runs alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import redis

from grurt.serving.errors import StoreError
from grurt.serving.stores.base import LEASE, Grant, Place, Row

P = ParamSpec("P")
T = TypeVar("T")

_PREFIX = "{grurt}:"
_TIMEOUT = 5.0
_WEEK = 7 * 86400

_ACQUIRE = """
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner and owner ~= '' and owner ~= ARGV[1] and ARGV[2] == '0'
    and redis.call('EXISTS', ARGV[3] .. owner) == 1 then
    return false
end
local token = redis.call('INCR', KEYS[2])
redis.call('HSET', KEYS[1], 'token', token, 'owner', ARGV[1])
redis.call('PERSIST', KEYS[1])
return {token, redis.call('HGET', KEYS[1], 'saved') or ''}
"""
_WRITE = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'saved', ARGV[2])
return 1
"""
_RELEASE = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'owner', '')
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
"""
_DELETE = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
_ASK = """
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner and owner ~= '' then redis.call('SADD', ARGV[1] .. owner, ARGV[2]) end
return 1
"""


class RedisStore:
    """States in a server that speaks Redis's protocol.

    Parameters
    ----------
    address
        ``redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]``, or ``rediss://`` with TLS.

    Raises
    ------
    StoreError
        If it does not answer.
    """

    def __init__(self, address: str) -> None:
        self.process = secrets.token_hex(8)
        self._owned: dict[Place, int] = {}
        self._idle = _WEEK
        try:
            self._server: Any = redis.Redis.from_url(
                address, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT, decode_responses=False
            )
        except ValueError as error:
            raise StoreError(f"--state: {error}") from error
        self._name = self._server.connection_pool.connection_kwargs.get("host", "redis")
        scripts = (_ACQUIRE, _WRITE, _RELEASE, _DELETE, _ASK)
        self._acquire, self._write, self._release, self._delete, self._ask = map(self._server.register_script, scripts)
        self.beat(_WEEK)

    def _run(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except redis.RedisError as error:
            raise StoreError(f"redis at {self._name}: {error}") from error

    def acquire(self, place: Place, *, force: bool) -> Grant | None:
        arguments = [self.process, str(int(force)), f"{_PREFIX}p:"]
        found = self._run(lambda: self._acquire(keys=[_key(place), f"{_PREFIX}token"], args=arguments))
        if found is None:
            return None
        token, saved = int(found[0]), bytes(found[1])
        self._owned[place] = token
        return Grant(token, saved or None)

    def ask_for(self, place: Place) -> None:
        self._run(lambda: self._ask(keys=[_key(place)], args=[f"{_PREFIX}a:", f"{place.model} {place.key}"]))

    def asked_for(self) -> list[Place]:
        name = f"{_PREFIX}a:{self.process}"

        def taken() -> list[bytes]:
            with self._server.pipeline(transaction=True) as pipeline:
                pipeline.smembers(name)
                pipeline.delete(name)
                return [*pipeline.execute()[0]]

        return [Place(*member.decode().split(" ", 1)) for member in self._run(taken)]

    def write(self, rows: Sequence[Row]) -> list[Place]:
        calls = [(_key(row.place), [row.token, row.saved]) for row in rows]
        were_taken = self._many(self._write, calls)
        lost = [row.place for row, was_taken in zip(rows, were_taken, strict=True) if not was_taken]
        for place in lost:
            self._owned.pop(place, None)
        return lost

    def release(self, places: Sequence[tuple[Place, int]]) -> None:
        self._many(self._release, [(_key(place), [token, self._idle]) for place, token in places])
        self._forget(places)

    def delete(self, places: Sequence[tuple[Place, int]]) -> None:
        self._many(self._delete, [(_key(place), [token]) for place, token in places])
        self._forget(places)

    def _forget(self, places: Sequence[tuple[Place, int]]) -> None:
        for place, token in places:
            if self._owned.get(place) == token:
                del self._owned[place]

    def _many(self, script: Any, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        """Run a script for many keys: one way there and back, and all or none."""

        def run() -> list[Any]:
            with self._server.pipeline(transaction=True) as pipeline:
                for key, arguments in calls:
                    script(keys=[key], args=arguments, client=pipeline)
                return list(pipeline.execute())

        return self._run(run) if calls else []

    def beat(self, idle: float) -> None:
        self._idle = max(1, int(min(idle, 10 * 365 * 86400)))
        self._run(lambda: self._server.set(f"{_PREFIX}p:{self.process}", b"1", px=int(1000 * LEASE)))

    def close(self) -> None:
        self.release([*self._owned.items()])
        self._run(lambda: self._server.delete(f"{_PREFIX}p:{self.process}"))
        self._server.close()


def _key(place: Place) -> str:
    return f"{_PREFIX}s:{place.model}:{place.key}"
