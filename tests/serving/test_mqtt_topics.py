"""Topics of MQTT as sessions, what is none, and messages as a broker would hardly send them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from commandline import fail

from grurt.demo import MODEL_PATH, load_model
from grurt.errors import GrurtError
from grurt.installing import install_command
from grurt.serving.access import Access
from grurt.serving.limits import Limits
from grurt.serving.service import Service

pytest.importorskip("aiomqtt")

from grurt.serving.mqtt.bridge import MAX_WAITING, MqttBridge, MqttSettings
from grurt.serving.mqtt.broker import Delivery, read_address
from grurt.serving.mqtt.topics import Route, overlap, read_routes


@pytest.mark.parametrize(
    ("subscribed", "topic", "matched"),
    [
        ("sensors/+/imu", "sensors/ann/imu", ["ann"]),
        ("sensors/+/imu", "sensors//imu", [""]),
        ("sensors/+/imu", "sensors/ann", None),
        ("sensors/+/imu", "sensors/ann/imu/x", None),
        ("sensors/+/imu", "sensors/ann/gps", None),
        ("+/+", "a/b", ["a", "b"]),
        ("a/#", "a/b/c", ["b/c"]),
        ("a/#", "a", None),
        ("+/x/#", "a/x/b", ["a", "b"]),
    ],
)
def test_what_the_wildcards_match(subscribed: str, topic: str, matched: list[str] | None) -> None:
    assert Route(None, subscribed, "x").matched(topic) == matched


def test_where_replies_go() -> None:
    route = Route(None, "+/x/#", "to/{2}/of/{1}")
    assert route.answers_to(["a", "b/c"]) == "to/b/c/of/a"
    assert route.errors_to(["a", "b/c"]) == "to/b/c/of/a/error"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a/+", "a/b", True),
        ("a/+", "b/+", False),
        ("a/+", "a/b/c", False),
        ("a/#", "a/b/c", True),
        ("a/#", "a", True),
        ("+/b", "a/+", True),
        ("a/b", "a/b", True),
    ],
)
def test_filters_that_overlap(one: str, other: str, expected: bool) -> None:
    assert overlap(one, other) == overlap(other, one) == expected


@pytest.mark.parametrize(
    ("subscribed", "published", "message"),
    [
        ([], [], "expected --subscribe and --publish, as often as each other, got 0 and 0"),
        (["a/+"], [], "got 1 and 0 of them"),
        (["a/b"], ["c"], "expected a wildcard, + or #: what it matches names the session"),
        (["a/b+"], ["c"], "--subscribe: expected a topic filter, whose levels are names, + or, the last one, #, got"),
        (["a/#/b"], ["c"], "expected a topic filter"),
        (["$share/x/+"], ["c"], "expected a topic filter"),
        (["a\n/+"], ["c"], "expected a topic filter"),
        (["a/+"], ["c/+"], "--publish: expected a topic, in which {1} is the first wildcard, got 'c/+'"),
        (["a/+"], ["c/{x}"], "expected a topic, in which"),
        (["a/+"], [""], "expected a topic, in which"),
        (["a/+"], ["c/{2}"], "--publish c/{2}: expected places from {1} to {1}, as a/+ has"),
        (["a/+"], ["c/{0}"], "expected places from {1}"),
        (["a/+"], ["a/{1}"], "choose a topic that no subscription matches"),
        (["a/+/error"], ["a/{1}"], "what is published there would come back by --subscribe a/+/error"),
        (["#"], ["b/{1}"], "would come back"),
        (["a/+", "b/+"], ["b/{1}", "c/{1}"], "would come back"),
    ],
)
def test_routes_that_are_none(subscribed: list[str], published: list[str], message: str) -> None:
    with pytest.raises(GrurtError) as caught:
        read_routes(subscribed, published, ["m"])
    assert message in str(caught.value)


def test_the_model_of_a_route() -> None:
    models = ["one", "two"]
    assert read_routes(["two=a/+"], ["b/{1}"], models) == [Route("two", "a/+", "b/{1}")]
    assert read_routes(["x=a/+"], ["b/{1}"], ["one"]) == [Route(None, "x=a/+", "b/{1}")]
    with pytest.raises(GrurtError, match="expected MODEL=FILTER, as there are several models"):
        read_routes(["a/+"], ["b/{1}"], models)


def test_addresses() -> None:
    found = read_address("mqtts://me:p%40ss@broker.example:99")
    assert (found.host, found.port, found.is_secure, found.username, found.password) == (
        "broker.example",
        99,
        True,
        "me",
        "p@ss",
    )
    assert str(found) == "mqtts://broker.example:99"
    assert str(read_address("mqtt://[::1]")) == "mqtt://[::1]:1883"
    assert (read_address("mqtt://h").port, read_address("mqtts://h/").port) == (1883, 8883)
    for text in ("mqtt://", "http://h", "h", "mqtt://h:x", "mqtt://h/path", "mqtt://h?x=1", "mqtt://h:99999"):
        with pytest.raises(GrurtError, match=r"--mqtt: expected mqtt://\[USER:PASSWORD@\]HOST") as caught:
            read_address(text)
        assert "path" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--subscribe", "a/+"), "--subscribe, --publish and --mqtt-client: give --mqtt, too"),
        (("--mqtt", "mqtt://localhost"), "expected --subscribe and --publish"),
        (
            ("--mqtt", "mqtt://me:secret@192.0.2.1", "--subscribe", "a/+", "--publish", "b"),
            "--mqtt mqtt://192.0.2.1:1883: what goes there can be read on its way: use mqtts://, or --insecure",
        ),
        (
            ("--mqtt", "mqtt://localhost", "--subscribe", "a/+", "--publish", "b", "--mqtt-client", ""),
            "--mqtt-client: expected 1 to 64 of A-Z a-z 0-9 . _ -, got ''",
        ),
        (("--mqtt", "x", "--subscribe", "a/+", "--publish", "b"), "--mqtt: expected mqtt://"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str) -> None:
    assert message in fail("serve", MODEL_PATH, "--port", 0, *arguments)


def test_it_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grurt.cli.serve.find_spec", lambda name: None if name == "aiomqtt" else object())
    message = fail("serve", MODEL_PATH, "--port", 0, "--mqtt", "mqtt://h")
    assert f"--mqtt needs the package aiomqtt: {install_command('mqtt')}" in message


class Broker:
    """Stands in for the connection."""

    def __init__(self) -> None:
        self.replies: list[tuple[str, Any]] = []
        self.acknowledged: list[Delivery] = []
        self.calls: list[str] = []
        self.is_connected = True

    def reply(self, delivery: Delivery, topic: str, payload: bytes, properties: Any) -> None:
        self.replies.append((topic, orjson.loads(payload)))
        self.acknowledge(delivery)

    def acknowledge(self, delivery: Delivery) -> None:
        self.acknowledged.append(delivery)

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")


class Message:
    """A message as paho hands it on."""

    def __init__(self, topic: str, payload: str, *, retain: bool = False, dup: bool = False) -> None:
        self._topic = topic
        self.payload, self.retain, self.dup, self.qos = payload.encode(), retain, dup, 1
        self.properties = SimpleNamespace()

    @property
    def topic(self) -> str:
        if self._topic == "none":
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no text")
        return self._topic


SAMPLE = "[0, 0, 0, 0, 0, 0]"


def delivered(*messages: Message, is_ending: bool = False) -> tuple[Broker, Service]:
    """Return what a broker got to hear of messages."""
    broker = Broker()

    async def run() -> Service:
        loop = asyncio.get_running_loop()
        service = Service({"activity": load_model()}, Limits(), None, loop.call_soon)
        service.is_ending = is_ending
        settings = MqttSettings(
            address=read_address("mqtt://h"), routes=[Route(None, "s/+", "r/{1}")], is_text=True, name=None, tell=print
        )
        bridge = MqttBridge(service, Access(permits=None), settings=settings)
        bridge._broker = broker  # type: ignore[assignment]
        for message in messages:
            bridge._take(Delivery(message))  # type: ignore[arg-type]
        while work := [inbox.work for inbox in bridge._inboxes.values() if inbox.work is not None]:
            await asyncio.wait(work)
        return service

    return broker, asyncio.run(run())


def test_what_the_broker_has_kept_is_no_sample() -> None:
    broker, service = delivered(Message("s/a", SAMPLE, retain=True))
    ((topic, told),) = broker.replies
    assert topic == "r/a/error"
    assert "expected a message of now, got one that the broker has kept" in told["error"]["message"]
    assert service.refused == {"retained": 1}


def test_what_may_have_been_answered_is_not_answered_without_a_step() -> None:
    numbered = '{"step": 1, "inputs": ' + SAMPLE + "}"
    broker, _ = delivered(Message("s/a", SAMPLE), Message("s/a", SAMPLE, dup=True), Message("s/a", numbered, dup=True))
    assert [topic for topic, _ in broker.replies] == ["r/a", "r/a/error", "r/a"]
    assert "whether it was answered cannot be known" in broker.replies[1][1]["error"]["message"]
    assert broker.replies[2][1]["steps"] == 2


def test_a_topic_that_is_none() -> None:
    broker, _ = delivered(Message("none", SAMPLE), Message("other/a", SAMPLE))
    assert (broker.replies, len(broker.acknowledged)) == ([], 2)


def test_what_comes_when_the_service_ends_is_left_to_the_broker() -> None:
    broker, service = delivered(Message("s/a", SAMPLE), is_ending=True)
    assert (broker.replies, broker.acknowledged, len(service)) == ([], [], 0)


def test_what_is_begun_when_the_service_ends_is_left_to_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    open_session = Service.open

    async def open_at_the_end(self: Service, *args: Any, **options: Any) -> Any:
        session = await open_session(self, *args, **options)
        self.is_ending = True
        return session

    monkeypatch.setattr(Service, "open", open_at_the_end)
    broker, service = delivered(Message("s/a", SAMPLE), Message("s/a", SAMPLE))
    assert (broker.replies, broker.acknowledged, service.rooms["activity"].turns.counts.samples) == ([], [], 0)


def test_nothing_is_read_while_too_many_wait() -> None:
    broker, service = delivered(*[Message(f"s/{i % 9}", SAMPLE) for i in range(MAX_WAITING)])
    assert len(broker.replies) == MAX_WAITING
    assert broker.calls[0] == "pause"
    assert set(broker.calls[1:]) == {"resume"}
    assert len(broker.calls) == 1 + MAX_WAITING // 2 + 1
    assert len(service) == 9
