"""MQTT as a way into a service: topics are sessions, whose answers are published."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from prometheus_client.core import GaugeMetricFamily, Metric

from grurt.serving.errors import ServingError, TooLargeError
from grurt.serving.mqtt.broker import Broker, BrokerAddress, Delivery
from grurt.serving.mqtt.inbox import Inbox
from grurt.serving.mqtt.messages import STEP, Arrived, Reply
from grurt.serving.mqtt.topics import Route, session_of

if TYPE_CHECKING:
    from grurt.serving.access import Access
    from grurt.serving.service import Service

MAX_WAITING = 1024
"""Messages that wait, of all sessions; then nothing is read until half of them are answered."""
_GRACE = 2.0
_BYTES, _TEXT = 0, 1
"""Payload format indicators."""


class RetainedError(ServingError):
    """A message is one that the broker has kept."""

    kind = "retained"


class UnsentError(ServingError):
    """A reply cannot be published."""

    status = 503
    kind = "unsent"


@dataclass(frozen=True, kw_only=True)
class MqttSettings:
    """Which broker, and which topics.

    Parameters
    ----------
    address
        Of the broker.
    routes
        See `Route`; at least one.
    is_text
        Whether payloads are JSON that say nothing of it.
    name
        By which the broker knows the service when it comes back; None for none.
    tell
        Is given a line when the connection breaks, or is made again.
    """

    address: BrokerAddress
    routes: Sequence[Route]
    is_text: bool
    name: str | None
    tell: Callable[[str], None]


class MqttBridge:
    """Sessions over MQTT.

    Parameters
    ----------
    service
        Whose sessions.
    access
        Who may, which is the broker's to say here.
    settings
        See there.
    """

    def __init__(self, service: Service, access: Access, *, settings: MqttSettings) -> None:
        self._service = service
        self._settings = settings
        self._inboxes: dict[tuple[str, str], Inbox] = {}
        self._broker = Broker(
            settings.address,
            [route.subscribed for route in settings.routes],
            take=self._take,
            tell=settings.tell,
            unsent=self._note_unsent,
            name=settings.name,
            keep=service.limits.idle,
            max_payload=service.limits.frame,
            max_waiting=MAX_WAITING,
        )
        self._n_waiting = 0
        self._connection: asyncio.Task[None] | None = None
        service.more_metrics.append(self._metrics)

    async def start(self) -> str:
        """Subscribe, and return what to say of it. Raises GrurtError if that cannot be."""
        for route in self._settings.routes:
            self._service.sessions_of(route.model)
        first = asyncio.get_running_loop().create_future()
        self._connection = asyncio.create_task(self._broker.run(first))
        await first
        topics = ", ".join(route.subscribed for route in self._settings.routes)
        return f"MQTT by {self._settings.address}: {topics}"

    async def stop(self) -> None:
        """Let the broker have the replies to what was answered, and disconnect."""
        work = [inbox.work for inbox in self._inboxes.values() if inbox.work is not None]
        if work:
            await asyncio.wait(work, timeout=_GRACE)
        await self._broker.confirmed(_GRACE)
        if self._connection is not None:
            self._connection.cancel()
            await asyncio.wait([self._connection], timeout=_GRACE)

    def _metrics(self) -> Iterable[Metric]:
        connected = GaugeMetricFamily("grurt_mqtt_connected", "Whether there is a connection to the broker")
        connected.add_metric([], self._broker.is_connected)
        yield connected

    def _take(self, delivery: Delivery) -> None:
        """Take a message; what comes when the service ends is not acknowledged: the broker may send it again."""
        found = self._found(delivery)
        if self._service.is_ending:
            return
        if found is None:
            self._broker.acknowledge(delivery)
            return
        route, matched = found
        message = delivery.message
        publish = partial(self._publish, delivery, route, matched)
        properties = dict(getattr(message.properties, "UserProperty", ()))
        indicator = getattr(message.properties, "PayloadFormatIndicator", None)
        is_text = self._settings.is_text if indicator is None else indicator == _TEXT
        arrived = self._refusal(message) or Arrived(bytes(message.payload), is_text, properties.get(STEP), message.dup)
        self._inbox(route, session_of(matched)).take(arrived, publish)
        self._n_waiting += 1
        if self._n_waiting >= MAX_WAITING:
            self._broker.pause()

    def _found(self, delivery: Delivery) -> tuple[Route, list[str]] | None:
        """Return by which route a message has come, and what its wildcards have matched."""
        try:
            topic = delivery.message.topic
        except UnicodeDecodeError:
            return None
        for route in self._settings.routes:
            matched = route.matched(topic)
            if matched is not None:
                return route, matched
        return None

    def _refusal(self, message: Any) -> ServingError | None:
        if message.retain:
            return RetainedError("expected a message of now, got one that the broker has kept: it was sent before")
        limit = self._service.limits.frame
        if len(message.payload) > limit:
            return TooLargeError(f"payload: expected at most {limit:,} bytes, got more: see --max-message")
        return None

    def _inbox(self, route: Route, name: str) -> Inbox:
        model = self._service.sessions_of(route.model).name
        place = (model, name)
        inbox = self._inboxes.get(place)
        if inbox is None:
            inbox = self._inboxes[place] = Inbox(self._service, model, name, lambda: self._forget(place))
        return inbox

    def _forget(self, place: tuple[str, str]) -> None:
        self._inboxes.pop(place, None)

    def _publish(self, delivery: Delivery, route: Route, matched: list[str], reply: Reply, is_error: bool) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.PayloadFormatIndicator = _TEXT if reply.is_text else _BYTES
        properties.UserProperty = [("session", session_of(matched))]
        if reply.steps is not None:
            properties.UserProperty = ("steps", str(reply.steps))
        if reply.is_renewed:
            properties.UserProperty = ("renewed", "1")
        correlation = getattr(delivery.message.properties, "CorrelationData", None)
        if correlation is not None:
            properties.CorrelationData = correlation
        topic = route.errors_to(matched) if is_error else route.answers_to(matched)
        self._broker.reply(delivery, topic, reply.payload, properties)
        self._n_waiting -= 1
        if self._n_waiting <= MAX_WAITING // 2:
            self._broker.resume()

    def _note_unsent(self, reason: str) -> None:
        self._service.note_refusal(UnsentError(f"a reply could not be published: {reason}"))
