"""Runs a service on a port, from the first connection to the last word."""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import signal
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
import uvloop

from grurt.errors import GrurtError
from grurt.serving.keeper import Keeper
from grurt.serving.protocol import front_of, front_protocol, websocket_protocol
from grurt.serving.reloading import Reloader
from grurt.serving.routes import application
from grurt.serving.service import Service
from grurt.serving.stores import open_store

if TYPE_CHECKING:
    from grurt.model import Model
    from grurt.serving.access import Access
    from grurt.serving.limits import Limits
    from grurt.serving.reloading import ModelFile
    from grurt.serving.ways import MakeWay, Way

RECEIVE_BUFFER = 1 << 15
"""Bytes that the system keeps of a connection: so much is read of one that floods before the others have their turn."""
_GRACE = 2.0
"""Seconds for which connections may take to close at the end."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is served, where, and to whom.

    Parameters
    ----------
    models
        By name; each can stream. They are taken out of it: one that is replaced is in memory no longer than it must be.
    files
        Where each of them was read.
    watches, renews
        Whether to look every second at whether a file was replaced; whether sessions begin anew on the new model.
    access
        Who may.
    limits
        How much of everything.
    host, port
        Where; port 0 is any that is free.
    state
        Address of the store of states; None for none.
    certificate, key
        Files in PEM format, for TLS; None for none.
    threads
        Over how many a call of a pool is spread.
    ways
        Ways in beside the port.
    started
        Is told the address, and what each of the ways says of itself, once connections are accepted.
    told, warned
        Is given a line about a model that was replaced, or one that could not be.
    """

    models: dict[str, Model]
    files: Mapping[str, ModelFile]
    watches: bool = False
    renews: bool = False
    access: Access
    limits: Limits
    host: str = "127.0.0.1"
    port: int = 8000
    state: str | None = None
    certificate: Path | None = None
    key: Path | None = None
    threads: int = 1
    ways: Sequence[MakeWay] = ()
    started: Callable[..., None] = lambda address, *ways: None
    told: Callable[[str], None] = lambda line: None
    warned: Callable[[str], None] = lambda line: None


def serve(settings: Settings) -> signal.Signals:
    """Serve until a signal says to end, and return which one.

    At SIGTERM and SIGINT no connection is accepted any more, what waits is answered, all states are written, and
    clients are told to come back.

    Raises
    ------
    GrurtError, OSError
        If the port, the certificate or the store cannot be used.
    """
    if settings.certificate is not None:
        _expect_certificate(settings.certificate, settings.key)
    _allow_many_files(settings.limits.connections)
    gc.collect()
    gc.freeze()  # what is there now stays: no later collection need look at it
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings))


async def _serve(settings: Settings) -> signal.Signals:
    loop = asyncio.get_running_loop()
    with _listen(settings.host, settings.port) as listener:
        keeper = None
        if settings.state is not None:
            keeper = Keeper(open_store(settings.state), idle=settings.limits.idle)
        service = Service(
            settings.models,
            settings.limits,
            keeper,
            loop.call_soon,
            threads=settings.threads,
            renews=settings.renews,
        )
        settings.models.clear()
        reloader = Reloader(
            service, settings.files, watches=settings.watches, told=settings.told, warned=settings.warned
        )
        ways = [make(service, settings.access) for make in settings.ways]
        server = _Server(_configured(settings, service), service, reloader, ways)
        server.announce = partial(settings.started, _address(settings, listener))
        work = loop.create_task(_work(service, reloader))
        work.add_done_callback(server.end_with)
        try:
            await server.serve(sockets=[listener])
        finally:
            work.cancel()
            await asyncio.wait([work])
    if server.failure is not None:
        raise server.failure
    return server.signal or signal.SIGTERM


async def _work(service: Service, reloader: Reloader) -> None:
    """Do what is to be done beside answering, until this is cancelled."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(service.run())
        tasks.create_task(reloader.run())


def _configured(settings: Settings, service: Service) -> uvicorn.Config:
    """Return what uvicorn is to do; it says nothing by itself of clients that break off: the service counts them."""
    logger = logging.getLogger("uvicorn")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # which warns of each answer to a client that has gone
    config = uvicorn.Config(
        application(service, settings.access),
        http=front_protocol(settings.limits, service.n_websockets),
        ws=websocket_protocol(front_of(service, settings.access), settings.limits),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=int(_GRACE),
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.key,
    )
    config.load()
    return config


def _expect_certificate(certificate: Path, key: Path | None) -> None:
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise GrurtError(f"{certificate}: expected a certificate and its key in PEM format: {error}") from error


def _address(settings: Settings, listener: socket.socket) -> str:
    name = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'https' if settings.certificate else 'http'}://{name}:{listener.getsockname()[1]}"


class _Server(uvicorn.Server):
    """uvicorn's server, with a service that has a word to say at the end."""

    def __init__(self, config: uvicorn.Config, service: Service, reloader: Reloader, ways: Sequence[Way]) -> None:
        super().__init__(config)
        self._service = service
        self._reloader = reloader
        self._ways = ways
        self.announce: Callable[..., None] = lambda *ways: None
        self.signal: signal.Signals | None = None
        self.failure: BaseException | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        said = [await way.start() for way in self._ways]
        await super().startup(sockets)
        self.announce(*said)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End at a signal; a second one ends without waiting for anybody. At SIGHUP, read the models again."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._reloader.ask)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, number)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def end_with(self, work: asyncio.Task[None]) -> None:
        """End if what is to be done every second has failed: nothing would be written any more."""
        if not work.cancelled() and work.exception() is not None:
            self.failure = work.exception()
            self.should_exit = True

    def _end(self, number: signal.Signals) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True
        self.signal = self.signal or number

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        try:
            await self._service.finish()
        except GrurtError as error:
            self.failure = self.failure or error
        for way in self._ways:
            await way.stop()
        await super().shutdown(sockets)
        deadline = asyncio.get_running_loop().time() + _GRACE
        while self._service.connections and asyncio.get_running_loop().time() < deadline and not self.force_exit:
            await asyncio.sleep(0.01)


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, whose connections keep little that was not read."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise GrurtError(f"--host: {host!r} is no address of this machine: {error.strerror}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise GrurtError(
            f"{host}, port {port}: cannot listen there: {error.strerror}; choose another --port"
        ) from error
    listener.setblocking(False)
    return listener


def _allow_many_files(n_connections: int) -> None:
    """Let the process have as many open files as it has connections, if the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = n_connections + 100
    if soft != resource.RLIM_INFINITY and soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
