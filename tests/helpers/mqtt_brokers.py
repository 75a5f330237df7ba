"""MQTT brokers of the tests' own, on loopback, and devices that publish there."""

from __future__ import annotations

import json
import os
import queue
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class Mosquitto:
    """A broker, which can be stopped and started again on its port; skip the test if it is not installed."""

    def __init__(self, folder: Path, *settings: str) -> None:
        program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            pytest.skip("mosquitto is not installed")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        path = folder / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", "user root", *(settings or ["allow_anonymous true"]), ""]
        path.write_text("\n".join(lines))  # started by root, it would become a user who may read nothing of the tests
        self._command = [program, "-c", str(path)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=20)
            self._process = None


@contextmanager
def mosquitto(folder: Path, *settings: str) -> Iterator[Mosquitto]:
    """Run a broker."""
    broker = Mosquitto(folder, *settings)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


class Device:
    """A client that publishes samples, and receives what comes of them."""

    def __init__(self, broker: Mosquitto, *topics: str) -> None:
        from paho.mqtt.client import Client, MQTTv5
        from paho.mqtt.enums import CallbackAPIVersion

        self._received: queue.Queue[Any] = queue.Queue()
        subscribed: queue.Queue[Any] = queue.Queue()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        self._client.on_message = lambda client, data, message: self._received.put(message)
        self._client.on_subscribe = lambda client, data, mid, codes, properties: subscribed.put(codes)
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        if topics:
            self._client.subscribe([(topic, 1) for topic in topics])
            subscribed.get(timeout=20)

    def publish(
        self, topic: str, value: Any, *, retain: bool = False, qos: int = 1, step: object = None, **properties: Any
    ) -> None:
        """Publish bytes, which say that they are, text, or what becomes JSON."""
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        if isinstance(value, bytes):
            properties = {"PayloadFormatIndicator": 0} | properties
        elif not isinstance(value, str):
            value = json.dumps(value)
        described = Properties(PacketTypes.PUBLISH)
        for name, each in properties.items():
            setattr(described, name, each)
        if step is not None:
            described.UserProperty = ("step", str(step))
        self._client.publish(topic, value, qos, retain, described).wait_for_publish(20)

    def receive(self, timeout: float = 20) -> Any:
        """Return the next message; its payload is that of JSON, where it is that."""
        message = self._received.get(timeout=timeout)
        if message.properties.PayloadFormatIndicator:
            message.payload = json.loads(message.payload)
        return message

    def send(self, topic: str, value: str) -> None:
        """Publish text, and do not wait."""
        self._client.publish(topic, value, 1)

    def hears_nothing(self, seconds: float = 0.3) -> bool:
        try:
            self._received.get(timeout=seconds)
        except queue.Empty:
            return True
        return False

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self._client._reset_sockets()  # else the sockets that wake its thread stay open
