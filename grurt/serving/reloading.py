"""Model files that are replaced while the service runs: the new one is loaded beside the old one, and then served.

A file is read when SIGHUP says so: whoever has written it knows that it is whole. Where nobody can send signals, files
are looked at every second, and read when they have changed and then stayed the same from one look to the next.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from grurt.serving.models import load_model

if TYPE_CHECKING:
    from grurt.model import Model
    from grurt.serving.service import Service
    from grurt.serving.sessions import Sessions
    from grurt.serving.whole import WholeModel

T = TypeVar("T")

INTERVAL = 1.0
"""Seconds between two looks at the files."""

Signature: TypeAlias = tuple[int, int, int] | None


class ModelFile:
    """The file of a model.

    Parameters
    ----------
    path
        Where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: Signature = None
        self._seen: Signature = None

    def load(self) -> Model:
        """Read it: see `load_model`."""
        self._read = self._signature()
        return load_model(self.path)

    def has_changed(self) -> bool:
        """Say whether it is another file than the one that was read last, and the same as at the look before."""
        before, self._seen = self._seen, self._signature()
        return self._seen is not None and self._seen == before and self._seen != self._read

    def _signature(self) -> Signature:
        """Return what tells a file from another one at its path; None if there is none."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


class Reloader:
    """Serves what model files hold after they were replaced.

    Parameters
    ----------
    service
        Whose models.
    files
        Of each model, by its name.
    watches
        Whether to look at them every second, too.
    told, warned
        Is given a line about a model that was replaced, or one that could not be.
    """

    def __init__(
        self,
        service: Service,
        files: Mapping[str, ModelFile],
        *,
        watches: bool,
        told: Callable[[str], None],
        warned: Callable[[str], None],
    ) -> None:
        self._service = service
        self._files = files
        self._watches = watches
        self._told = told
        self._warned = warned
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Read all files again as soon as that can be."""
        self._asked.set()

    async def run(self) -> None:
        """Wait for files to be read again, until this is cancelled."""
        while True:
            is_asked = await self._wait()
            for name, file in self._files.items():
                if is_asked or await _in_thread(file.has_changed):
                    await self.reload(name)

    async def _wait(self) -> bool:
        """Wait until somebody asks, or it is time for a look; return whether somebody has asked."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._asked.wait(), INTERVAL if self._watches else None)
        is_asked = self._asked.is_set()
        self._asked.clear()
        return is_asked

    async def reload(self, name: str) -> None:
        """Serve what a model's file holds now; the old model goes on if it is the same, or none that can be served."""
        service = self._service
        try:
            new = await _in_thread(lambda: self._load(name))
        except Exception as error:  # whatever is wrong with the new one, the old one is as good as before
            service.failed_changes[name] += 1
            self._warned(
                f"note: {name}: the file cannot be served, and version {service.changes[name] + 1} goes on: {error}"
            )
            return
        if new is None:
            return
        await service.replace(new)
        self._told(f"{name}: version {new.version} is served, {new.model.fingerprint.hex()}")

    def _load(self, name: str) -> Sessions | WholeModel | None:
        """Return what is to be served: ready, so that the event loop need only put it into its place; None if it is."""
        old, new = self._model(name), self._files[name].load()
        is_same = (
            new.fingerprint == old.fingerprint
            and new.vocabularies == old.vocabularies
            and new.signature == old.signature
        )
        return None if is_same else self._service.successor(name, new)

    def _model(self, name: str) -> Model:
        served = self._service.served(name)
        assert served is not None  # noqa: S101 - models are replaced, and not taken away
        return served.model


async def _in_thread(work: Callable[[], T]) -> T:
    """Return what work gives in a thread of its own, for which the end of the process does not wait."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if found.cancelled():
            return
        if error is None:
            found.set_result(result)  # type: ignore[arg-type]
        else:
            found.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as caught:  # it is raised where the result is awaited
            error = caught
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="grurt-model", daemon=True).start()
    return await found
