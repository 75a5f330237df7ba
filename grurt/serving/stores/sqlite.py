"""States in a SQLite file: of one machine, whose processes share it."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from grurt.serving.errors import StoreError
from grurt.serving.stores.base import LEASE, Grant, Place, Row

_APPLICATION = 0x67727561
_VERSION = 1
_BUSY = 5.0
"""Seconds to wait for another process's transaction."""

_TABLES = """
CREATE TABLE IF NOT EXISTS sessions (
    id INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    key TEXT NOT NULL,
    token INTEGER NOT NULL,
    owner TEXT,
    asked INTEGER NOT NULL DEFAULT 0,
    written REAL NOT NULL,
    saved BLOB
);
CREATE UNIQUE INDEX IF NOT EXISTS sessions_by_key ON sessions (model, key);
CREATE INDEX IF NOT EXISTS sessions_asked ON sessions (owner) WHERE asked;
CREATE TABLE IF NOT EXISTS processes (id TEXT PRIMARY KEY, seen REAL NOT NULL);
CREATE TABLE IF NOT EXISTS tokens (latest INTEGER NOT NULL);
"""


class SqliteStore:
    """States in a SQLite file.

    Parameters
    ----------
    path
        The file; it is made if there is none.

    Raises
    ------
    StoreError
        If it cannot be opened, or is something else.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.process = secrets.token_hex(8)
        try:
            self._database = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise StoreError(f"{path}: cannot keep states here: {error}") from error
        try:
            self._prepare()
            self.beat(float("inf"))
        except sqlite3.Error as error:
            self._database.close()
            raise StoreError(f"{path}: cannot keep states here: {error}") from error
        except BaseException:
            self._database.close()
            raise

    def _prepare(self) -> None:
        database = self._database
        (application,) = database.execute("PRAGMA application_id").fetchone()
        (version,) = database.execute("PRAGMA user_version").fetchone()
        (n_tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if n_tables and (application, version) != (_APPLICATION, _VERSION):
            raise StoreError(f"{self._path}: expected a file of states of version {_VERSION}, got another database")
        database.execute("PRAGMA page_size = 16384")
        database.execute("PRAGMA journal_mode = WAL")
        with self._transaction():
            for statement in _TABLES.split(";"):
                database.execute(statement)
            database.execute(f"PRAGMA application_id = {_APPLICATION}")
            database.execute(f"PRAGMA user_version = {_VERSION}")
            if database.execute("SELECT count(*) FROM tokens").fetchone() == (0,):
                database.execute("INSERT INTO tokens VALUES (0)")

    @contextmanager
    def _transaction(self, *, synced: bool = False) -> Iterator[None]:
        """Do all or nothing, while nobody else writes; ``synced`` outlives a power failure, too.

        What is lost with the machine needs no more: who has which session, as the processes are lost with it.
        """
        try:
            self._database.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error

    def acquire(self, place: Place, *, force: bool) -> Grant | None:
        with self._transaction():
            found = self._database.execute(
                "SELECT id, owner, saved FROM sessions WHERE model = ? AND key = ?", place
            ).fetchone()
            if found is None:
                token = self._next_token()
                self._database.execute(
                    "INSERT INTO sessions (model, key, token, owner, written) VALUES (?, ?, ?, ?, ?)",
                    (*place, token, self.process, time.time()),
                )
                return Grant(token, None)
            number, owner, saved = found
            if owner not in (None, self.process) and not force and self._lives(owner):
                return None
            token = self._next_token()
            self._database.execute(
                "UPDATE sessions SET token = ?, owner = ?, asked = 0 WHERE id = ?", (token, self.process, number)
            )
            return Grant(token, saved)

    def _next_token(self) -> int:
        """Return a number that no session has had, so that one that was deleted and made anew has a larger one."""
        ((token,),) = self._database.execute("UPDATE tokens SET latest = latest + 1 RETURNING latest").fetchall()
        return int(token)

    def _lives(self, process: str) -> bool:
        found = self._database.execute("SELECT seen FROM processes WHERE id = ?", (process,)).fetchone()
        return found is not None and time.time() - found[0] < LEASE

    def ask_for(self, place: Place) -> None:
        with self._transaction():
            self._database.execute("UPDATE sessions SET asked = 1 WHERE model = ? AND key = ?", place)

    def asked_for(self) -> list[Place]:
        with self._transaction():
            found = self._database.execute(
                "SELECT model, key FROM sessions WHERE owner = ? AND asked", (self.process,)
            ).fetchall()
            self._database.execute("UPDATE sessions SET asked = 0 WHERE owner = ? AND asked", (self.process,))
        return [Place(*row) for row in found]

    def write(self, rows: Sequence[Row]) -> list[Place]:
        now = time.time()
        lost = []
        with self._transaction(synced=True):
            for row in sorted(rows):
                changed = self._database.execute(
                    "UPDATE sessions SET saved = ?, written = ? WHERE model = ? AND key = ? AND token = ?",
                    (row.saved, now, *row.place, row.token),
                ).rowcount
                if not changed:
                    lost.append(row.place)
        return lost

    def release(self, places: Sequence[tuple[Place, int]]) -> None:
        with self._transaction():
            self._database.executemany(
                "UPDATE sessions SET owner = NULL, asked = 0 WHERE model = ? AND key = ? AND token = ?",
                [(*place, token) for place, token in places],
            )

    def delete(self, places: Sequence[tuple[Place, int]]) -> None:
        with self._transaction():
            self._database.executemany(
                "DELETE FROM sessions WHERE model = ? AND key = ? AND token = ?",
                [(*place, token) for place, token in places],
            )

    def beat(self, idle: float) -> None:
        now = time.time()
        with self._transaction():
            self._database.execute("INSERT OR REPLACE INTO processes VALUES (?, ?)", (self.process, now))
            self._database.execute("DELETE FROM processes WHERE seen < ?", (now - 2 * LEASE,))
            if idle < float("inf"):
                self._database.execute(
                    "DELETE FROM sessions WHERE written < ? AND "
                    "(owner IS NULL OR owner NOT IN (SELECT id FROM processes))",
                    (now - idle,),
                )

    def close(self) -> None:
        with self._transaction():
            self._database.execute("UPDATE sessions SET owner = NULL WHERE owner = ?", (self.process,))
            self._database.execute("DELETE FROM processes WHERE id = ?", (self.process,))
        self._database.close()
