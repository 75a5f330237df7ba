"""Stores: who has a session, whose writes are taken, and what is there after a process has gone."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis_servers import redis_server

from grurt.serving.errors import StoreError
from grurt.serving.stores import base, open_store
from grurt.serving.stores.base import Place, Row, Store

ANN = Place("model", "ann")

Opener = Callable[[], Store]


@pytest.fixture(scope="module")
def redis_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a Redis server on a socket of its own."""
    path = tmp_path_factory.mktemp("redis") / "socket"
    with redis_server(path.parent, "--port", 0, "--unixsocket", path):
        yield f"unix://{path}"


@pytest.fixture(params=["sqlite", "redis"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Return what opens one more process's view of the same store."""
    stores: list[Store] = []
    if request.param == "sqlite":
        address = f"sqlite:///{tmp_path / 'states.db'}"
    else:
        address = request.getfixturevalue("redis_address")
        import redis

        with redis.Redis.from_url(address) as server:
            server.flushall()

    def open_one() -> Store:
        if request.param == "redis":
            from grurt.serving.stores.redis import RedisStore

            store: Store = RedisStore(address)
        else:
            store = open_store(address)
        stores.append(store)
        return store

    yield open_one
    for store in stores:
        with suppress(StoreError):  # a test has closed it
            store.close()


def test_what_was_written_is_there(opened: Opener) -> None:
    store = opened()
    grant = store.acquire(ANN, force=False)
    assert grant is not None
    assert grant.saved is None
    assert store.write([Row(ANN, grant.token, b"state")]) == []
    store.release([(ANN, grant.token)])
    again = opened().acquire(ANN, force=False)
    assert again is not None
    assert again.saved == b"state"
    assert again.token > grant.token


def test_a_session_has_one_process(opened: Opener) -> None:
    first, second = opened(), opened()
    grant = first.acquire(ANN, force=False)
    assert grant is not None
    assert second.acquire(ANN, force=False) is None
    assert first.acquire(ANN, force=False) is not None, "its own process may take it again"


def test_a_process_that_has_lost_a_session_writes_nothing(opened: Opener) -> None:
    first, second = opened(), opened()
    old = first.acquire(ANN, force=False)
    assert old is not None
    first.write([Row(ANN, old.token, b"old")])
    new = second.acquire(ANN, force=True)
    assert new is not None
    assert new.saved == b"old"
    second.write([Row(ANN, new.token, b"new")])
    assert first.write([Row(ANN, old.token, b"stale")]) == [ANN]
    first.release([(ANN, old.token)])
    first.delete([(ANN, old.token)])
    second.release([(ANN, new.token)])
    third = opened().acquire(ANN, force=False)
    assert third is not None
    assert third.saved == b"new"


def test_one_that_was_deleted_and_begun_again_is_another(opened: Opener) -> None:
    first, second = opened(), opened()
    old = first.acquire(ANN, force=False)
    assert old is not None
    first.delete([(ANN, old.token)])
    new = second.acquire(ANN, force=False)
    assert new is not None
    assert new.saved is None
    assert first.write([Row(ANN, old.token, b"stale")]) == [ANN]


def test_a_process_is_asked_for_its_session_once(opened: Opener) -> None:
    first, second = opened(), opened()
    grant = first.acquire(ANN, force=False)
    assert grant is not None
    second.ask_for(ANN)
    assert (first.asked_for(), first.asked_for(), second.asked_for()) == ([ANN], [], [])


def test_a_dead_process_has_nothing(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened()
    assert first.acquire(ANN, force=False) is not None
    if hasattr(first, "_server"):
        first._server.delete("{grurt}:p:" + first.process)  # what its lease ends with
    else:
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + base.LEASE + 1)
    second = opened()
    assert second.acquire(ANN, force=False) is not None


def test_a_process_that_ends_gives_everything_back(opened: Opener) -> None:
    first, second = opened(), opened()
    other = Place("model", "bob")
    for place in (ANN, other):
        assert first.acquire(place, force=False) is not None
    first.close()
    assert second.acquire(ANN, force=False) is not None
    assert second.acquire(other, force=False) is not None


def test_batches_are_written_whole(opened: Opener) -> None:
    store = opened()
    places = [Place("model", f"s{i}") for i in range(base.BATCH)]
    rows = []
    for place in places:
        grant = store.acquire(place, force=False)
        assert grant is not None
        rows.append(Row(place, grant.token, place.key.encode()))
    assert store.write(rows) == []
    stale = [row._replace(token=0) if row.place == places[7] else row for row in rows]
    assert store.write(stale) == [places[7]]


def test_the_store_forgets_what_nobody_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'states.db'}")
    bob = Place("model", "bob")
    held, left = store.acquire(ANN, force=False), store.acquire(bob, force=False)
    assert held is not None
    assert left is not None
    store.write([Row(ANN, held.token, b"held"), Row(bob, left.token, b"left")])
    store.release([(bob, left.token)])
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 100)
    store.beat(50.0)
    for place, saved in ((ANN, b"held"), (bob, None)):
        grant = store.acquire(place, force=False)
        assert grant is not None
        assert grant.saved == saved
    store.close()


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "states.db"
    path.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 64)
    with pytest.raises(StoreError, match="cannot keep states here"):
        open_store(f"sqlite:///{path}")


def test_a_full_file_is_an_error_that_leaves_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "states.db"
    store = open_store(f"sqlite:///{path}")
    grant = store.acquire(ANN, force=False)
    assert grant is not None
    store.write([Row(ANN, grant.token, b"good")])
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        store._database.execute("PRAGMA busy_timeout = 10")  # type: ignore[attr-defined]
        with pytest.raises(StoreError, match="locked"):
            store.write([Row(ANN, grant.token, b"bad")])
        other.execute("ROLLBACK")
    again = store.acquire(ANN, force=False)
    assert again is not None
    assert again.saved == b"good"
    store.close()
