"""The connection to an MQTT broker: made again whenever it breaks, and nothing acknowledged before it was answered."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import aiomqtt
from paho.mqtt.client import MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from grurt.errors import GrurtError
from grurt.escaping import described

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
"""Seconds until a connection that broke is made again: at first, and at last."""
_KEEPALIVE = 20
_MAX_QUEUED = 10_000
"""Replies that wait until the broker has acknowledged others; more are lost, and counted."""
_MAX_TOPIC_AND_PROPERTIES = 1 << 17
_DO_NOT_SEND_RETAINED = 2

_CLIENT = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)

_silent = logging.getLogger("grurt.serving.mqtt")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


@dataclass(frozen=True)
class BrokerAddress:
    """Where a broker is, and who asks.

    Parameters
    ----------
    host, port
        Where.
    is_secure
        Whether by TLS.
    username, password
        None for none.
    """

    host: str
    port: int
    is_secure: bool
    username: str | None
    password: str | None

    def __str__(self) -> str:
        """Return the address, without the password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.is_secure else 'mqtt'}://{host}:{self.port}"


def check_client_name(name: str) -> str:
    """Return a name by which a broker may know the service. Raises GrurtError if it is none."""
    if not _CLIENT.fullmatch(name):
        raise GrurtError(f"--mqtt-client: expected 1 to 64 of A-Z a-z 0-9 . _ -, got {described(name)}")
    return name


def read_address(text: str) -> BrokerAddress:
    """Read ``mqtt://[USER:PASSWORD@]HOST[:PORT]``, or ``mqtts://`` with TLS. Raises GrurtError if it is none."""
    try:
        address = urlsplit(text)
        port = address.port or _PORTS[address.scheme]
    except (KeyError, ValueError):
        address, port = urlsplit(""), 0
    if not address.hostname or address.path.strip("/") or address.query or address.fragment:
        raise GrurtError(
            "--mqtt: expected mqtt://[USER:PASSWORD@]HOST[:PORT], or mqtts:// with TLS, got something else"
        )
    username, password = (None if part is None else unquote(part) for part in (address.username, address.password))
    return BrokerAddress(address.hostname, port, address.scheme == "mqtts", username, password)


class Delivery:
    """A message that the broker has sent, until it is answered."""

    def __init__(self, message: MQTTMessage) -> None:
        self.message = message
        self.is_answered = False


class Broker(aiomqtt.Client):
    """A connection to a broker, which outlives its breaks.

    Messages are handed on as they come, acknowledged when they were answered, and not read while too many wait. aiomqtt
    does nothing of that; what is overridden here is not public, and pyproject.toml holds it at the releases that fit.

    Parameters
    ----------
    address
        Where.
    subscribed
        Topic filters.
    take
        Is given each message.
    tell
        Is given a line when the connection breaks, or is made again.
    unsent
        Is given the reason for which a reply could not be published.
    name
        By which the broker knows the service when it comes back, and keeps what was sent meanwhile; None for none.
    keep
        Seconds for which it does.
    max_payload
        Bytes of a payload.
    max_waiting
        Messages of QoS 1 that are not acknowledged: the broker sends no more.
    """

    def __init__(
        self,
        address: BrokerAddress,
        subscribed: Sequence[str],
        *,
        take: Callable[[Delivery], None],
        tell: Callable[[str], None],
        unsent: Callable[[str], None],
        name: str | None,
        keep: float,
        max_payload: int,
        max_waiting: int,
    ) -> None:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.ReceiveMaximum = max_waiting
        properties.MaximumPacketSize = max_payload + _MAX_TOPIC_AND_PROPERTIES
        if name is not None:
            properties.SessionExpiryInterval = int(keep)
        super().__init__(
            address.host,
            address.port,
            username=address.username,
            password=address.password,
            identifier=name,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=name is None,
            keepalive=_KEEPALIVE,
            max_queued_outgoing_messages=_MAX_QUEUED,
            properties=properties,
            tls_context=ssl.create_default_context() if address.is_secure else None,
            logger=_silent,
        )
        self._client.manual_ack_set(True)
        self._address = address
        self._subscribed = subscribed
        self._take = take
        self._tell = tell
        self._unsent = unsent
        self._unanswered: deque[Delivery] = deque()
        """In the order in which they came: in which they must be acknowledged."""
        self._unconfirmed: dict[int, Delivery] = {}
        """By the number of the reply that was published."""
        self._is_paused = False
        self.is_connected = False

    async def run(self, first: asyncio.Future[None]) -> None:
        """Be connected until this is cancelled; whoever waits for the first connection learns of it, or why not."""
        pause, connected_at = _PAUSE, self._loop.time()
        while True:
            self._connected = asyncio.Future()  # aiomqtt takes the last connection's for this one's
            self._is_paused = False
            try:
                async with self:
                    await self._subscribe()
                    if first.done():
                        self._tell(f"{self._address}: connected again")
                    else:
                        first.set_result(None)
                    connected_at = self._loop.time()
                    await self._disconnected
                reason = "the broker has ended it"
            except Exception as error:  # of any kind, as aiomqtt hands on what went wrong while it read
                reason = str(error) or type(error).__name__
            if not first.done():
                first.set_exception(GrurtError(f"{self._address}: cannot connect to the broker: {reason}"))
                return
            if self.is_connected:
                self._tell(f"{self._address}: the connection to the broker has ended: {reason}; trying again")
            if self.is_connected and self._loop.time() - connected_at > _LONGEST_PAUSE:
                pause = _PAUSE  # not so for two services of one name, which would take the connection from each other
            self.is_connected = False
            self._forget()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _subscribe(self) -> None:
        options = SubscribeOptions(qos=1, noLocal=True, retainHandling=_DO_NOT_SEND_RETAINED)
        codes: Any = await self.subscribe([(topic, options) for topic in self._subscribed])
        refused = [str(code) for code in codes if code.is_failure]
        if refused:
            raise aiomqtt.MqttError(f"it refuses the subscription: {refused[0]}")
        self.is_connected = True

    def _forget(self) -> None:
        """Forget what another connection has brought: the broker sends again what was not acknowledged."""
        self._unanswered.clear()
        self._unconfirmed.clear()

    def _on_message(self, client: Any, userdata: Any, message: MQTTMessage) -> None:
        delivery = Delivery(message)
        if message.qos:
            self._unanswered.append(delivery)
        self._take(delivery)

    def reply(self, delivery: Delivery, topic: str, payload: bytes, properties: Properties) -> None:
        """Publish the reply to a message, which is acknowledged after that."""
        try:
            sent = self._client.publish(topic, payload, qos=1, properties=properties)
        except ValueError as error:
            self._give_up(delivery, str(error))
            return
        if sent.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            self._give_up(delivery, f"{_MAX_QUEUED:,} wait until the broker takes them")
        else:
            self._unconfirmed[sent.mid] = delivery

    def _give_up(self, delivery: Delivery, reason: str) -> None:
        self._unsent(reason)
        self.acknowledge(delivery)

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason_code: Any, properties: Any) -> None:
        if reason_code.is_failure:
            self._unsent(f"the broker says: {reason_code}")
        delivery = self._unconfirmed.pop(mid, None)
        if delivery is not None:
            self.acknowledge(delivery)

    def acknowledge(self, delivery: Delivery) -> None:
        """Let the broker forget a message, when all that came before have been answered, too."""
        delivery.is_answered = True
        while self._unanswered and self._unanswered[0].is_answered:
            message = self._unanswered.popleft().message
            self._client.ack(message.mid, message.qos)

    def pause(self) -> None:
        """Read no more for now. What brokers may send without an acknowledgement is no limit: some send more."""
        socket = self._client.socket()
        if socket is not None and not self._is_paused:
            self._is_paused = True
            self._loop.remove_reader(socket.fileno())

    def resume(self) -> None:
        """Read again."""
        socket = self._client.socket()
        if socket is not None and self._is_paused:
            self._is_paused = False
            self._loop.add_reader(socket.fileno(), self._read)
            self._loop.call_soon(self._read)  # what TLS has read already, the system does not tell again

    def _read(self) -> None:
        try:
            if not self._is_paused:
                self._client.loop_read()
        except Exception as error:  # whatever it is, the connection is made again
            if not self._disconnected.done():
                self._disconnected.set_exception(error)

    async def confirmed(self, seconds: float) -> None:
        """Wait until the broker has all replies, but not for ever."""
        deadline = self._loop.time() + seconds
        while self._unconfirmed and self.is_connected and self._loop.time() < deadline:
            await asyncio.sleep(0.01)
