"""Sessions over MQTT, by mosquitto."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import fail
from mqtt_brokers import Device, Mosquitto, mosquitto
from serving import Process, hello, mixed_model, saved, serving, wait_for

from grurt.demo import MODEL_PATH, load_model, load_recordings

pytestmark = pytest.mark.slow

pytest.importorskip("aiomqtt")

SAMPLES = load_recordings().samples
EXPECTED = load_model().run(SAMPLES)
TOPICS = ("--subscribe", "sensors/+/imu", "--publish", "activity/{1}")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker


@pytest.fixture(scope="module")
def service(broker: Mosquitto) -> Iterator[Process]:
    with serving(MODEL_PATH, "--mqtt", broker.address, *TOPICS) as process:
        assert process.ways == [f"MQTT by {broker.address}: sensors/+/imu"]
        yield process


@pytest.fixture
def device(service: Process, broker: Mosquitto) -> Iterator[Device]:
    device = Device(broker, "activity/#")
    yield device
    device.close()


def outputs(message: Any) -> Any:
    if isinstance(message.payload, bytes):
        return np.frombuffer(message.payload, "<f4").reshape(-1, 4)
    return np.array(message.payload["outputs"]["probabilities"], "f4")


def test_what_the_wildcard_matches_is_the_session(device: Device) -> None:
    for t in range(20):
        for name, k in (("ann", 0), ("bob", 1)):
            device.publish(f"sensors/{name}/imu", {"step": t, "inputs": SAMPLES[k, t].tolist()})
    for _ in range(40):
        message = device.receive()
        k = ["activity/ann", "activity/bob"].index(message.topic)
        np.testing.assert_array_equal(outputs(message), EXPECTED[k, message.payload["steps"] - 1])


def test_bytes_and_lists(device: Device) -> None:
    topic = "sensors/forms/imu"
    device.publish(topic, SAMPLES[2, :7].astype("<f4").tobytes(), step=0, CorrelationData=b"mine")
    message = device.receive()
    np.testing.assert_array_equal(outputs(message), EXPECTED[2, :7])
    assert message.properties.UserProperty == [("session", "forms"), ("steps", "7")]
    assert message.properties.CorrelationData == b"mine"
    device.publish(topic, SAMPLES[2, 7:9].tolist(), step=7)
    np.testing.assert_array_equal(outputs(device.receive()), EXPECTED[2, 7:9])
    device.publish(topic, SAMPLES[2, 9].tolist(), qos=0)
    np.testing.assert_array_equal(outputs(device.receive()), EXPECTED[2, 9])


def test_what_was_answered_is_not_answered_again(device: Device) -> None:
    topic = "sensors/again/imu"
    for step, end, error in ((0, 5, None), (0, 5, "DuplicateError"), (4, 5, "DuplicateError"), (6, 9, "GapError")):
        device.publish(topic, {"step": step, "inputs": SAMPLES[3, step:end].tolist()})
        message = device.receive()
        assert (message.topic == "activity/again/error") == (error is not None)
        if error:
            assert (message.payload["error"]["kind"], message.payload["steps"]) == (error, 5)
    device.publish(topic, {"step": 3, "inputs": SAMPLES[3, 3:9].tolist()})
    message = device.receive()
    assert message.payload["steps"] == 9
    np.testing.assert_array_equal(outputs(message), EXPECTED[3, 5:9])


def test_a_burst_is_answered_in_order(device: Device) -> None:
    for name in ("one", "two"):
        for t in range(100):
            device.send(f"sensors/{name}/imu", f'{{"step": {t}, "inputs": {SAMPLES[4, t].tolist()}}}')
    answered = {"activity/one": 0, "activity/two": 0}
    for _ in range(200):
        message = device.receive()
        np.testing.assert_array_equal(outputs(message), EXPECTED[4, answered[message.topic]])
        answered[message.topic] += 1
    assert answered == {"activity/one": 100, "activity/two": 100}


@pytest.mark.parametrize(
    ("payload", "step", "message"),
    [
        ("x", None, "payload: expected JSON with finite numbers, or the payload format indicator of bytes"),
        ("[NaN, 0, 0, 0, 0, 0]", None, "expected JSON with finite numbers"),
        (b"12345", None, "expected samples of 24 bytes each"),
        (np.full(6, np.nan, "<f4").tobytes(), None, "expected finite numbers"),
        ([1.0], None, "expected shape (6,)"),
        ({"command": "snapshot"}, None, "command: expected reset or end, alone, got"),
        ({"command": ["reset"]}, None, "command: expected reset or end"),
        ([0.0] * 6, "-1", "user property step: expected a number of samples, got '-1'"),
        ([0.0] * 6, "9" * 30, "user property step: expected a number of samples"),
        ({"step": 1.5, "inputs": [0.0] * 6}, None, "step: expected a number of samples, that of the user property if"),
        ({"step": 1, "inputs": [0.0] * 6}, 0, "that of the user property if there is one, got 1"),
        ({"step": True, "inputs": [0.0] * 6}, None, "got True"),
        ({"step": 0, "inputs": [0.0] * 6, "x": 1}, None, "expected inputs by name"),
        ("x" * 70_000, None, "payload: expected at most 65,536 bytes, got more: see --max-message"),
    ],
)
def test_messages_that_are_none_change_nothing(device: Device, payload: Any, step: Any, message: str) -> None:
    device.publish("sensors/none/imu", payload, step=step)
    found = device.receive()
    assert found.topic == "activity/none/error"
    assert message in found.payload["error"]["message"]
    device.publish("sensors/none/imu", {"step": 0, "inputs": SAMPLES[0, 0].tolist()})
    np.testing.assert_array_equal(outputs(device.receive()), EXPECTED[0, 0])
    device.publish("sensors/none/imu", {"command": "end"})
    assert device.receive().payload == {"ended": True, "steps": None}


def test_names_that_are_none(device: Device) -> None:
    for name in ("..", "a b", "a" * 200, "<script>"):
        device.publish(f"sensors/{name}/imu", [0.0] * 6)
        message = device.receive()
        assert message.topic == f"activity/{name}/error"
        assert message.payload["error"]["kind"] == "SessionNameError"


def test_a_session_is_that_of_all_ways(service: Process, device: Device) -> None:
    device.publish("sensors/all/imu", SAMPLES[5, :9].tolist())
    device.receive()
    with service.connect("session=all") as connection:
        assert hello(connection)["steps"] == 9
        device.publish("sensors/all/imu", SAMPLES[5, 9].tolist())
        assert device.receive().payload["error"]["kind"] == "SessionInUseError"
    device.publish("sensors/all/imu", SAMPLES[5, 9].tolist())
    np.testing.assert_array_equal(outputs(device.receive()), EXPECTED[5, 9])
    device.publish("sensors/all/imu", {"command": "reset"})
    assert device.receive().payload == {"reset": True, "steps": 0}
    device.publish("sensors/all/imu", SAMPLES[5, 0].tolist())
    np.testing.assert_array_equal(outputs(device.receive()), EXPECTED[5, 0])


def test_metrics(service: Process, device: Device) -> None:
    device.publish("sensors/metrics/imu", {"step": 5, "inputs": [0.0] * 6})
    device.receive()
    text = service.get("/metrics")
    assert "grurt_mqtt_connected 1.0" in text
    assert 'grurt_refused_total{kind="gap"}' in text


def test_models_each_with_topics_and_what_was_kept_is_no_sample(broker: Mosquitto, tmp_path: Path) -> None:
    mixed = saved(mixed_model(), tmp_path, "mixed")
    topics = (
        "--subscribe",
        "activity=a/+/#",
        "--publish",
        "r/{2}/of/{1}",
        "--subscribe",
        "mixed=m/+",
        "--publish",
        "n/{1}",
    )
    device = Device(broker, "r/#", "n/#")
    device.publish("a/kept/b", [0.0] * 6, retain=True)
    with serving(MODEL_PATH, mixed, "--mqtt", broker.address, *topics, "--mqtt-payload", "binary"):
        device.publish("a/x/y/z", SAMPLES[0, 0].astype("<f4").tobytes())
        message = device.receive()
        assert (message.topic, message.properties.UserProperty[0]) == ("r/y/z/of/x", ("session", "x/y/z"))
        np.testing.assert_array_equal(outputs(message), EXPECTED[0, :1])
        device.publish("m/one", {"sensor": [0.5, -1.0, 2.0], "word": 3}, PayloadFormatIndicator=1)
        expected = mixed_model().stream().step({"sensor": np.array([0.5, -1.0, 2.0], "f4"), "word": 3})
        found = device.receive().payload["outputs"]
        for name, array in expected.items():
            np.testing.assert_array_equal(np.array(found[name], "f4"), array)
        device.publish("a/kept/b", "", retain=True)
        assert "expected samples of" in device.receive().payload["error"]["message"]
    device.close()


def test_the_broker_keeps_what_comes_while_the_service_is_away(broker: Mosquitto, tmp_path: Path) -> None:
    state = ("--state", f"sqlite:///{tmp_path / 'states.db'}", "--mqtt-client", "kept")
    arguments = (MODEL_PATH, "--mqtt", broker.address, "--subscribe", "kept/+", "--publish", "back/{1}", *state)
    device = Device(broker, "back/#")
    with serving(*arguments):
        device.publish("kept/ann", {"step": 0, "inputs": SAMPLES[0, :9].tolist()})
        np.testing.assert_array_equal(outputs(device.receive()), EXPECTED[0, :9])
    for t in range(9, 15):
        device.publish("kept/ann", {"step": t, "inputs": SAMPLES[0, t].tolist()})
    assert device.hears_nothing(0.1)
    with serving(*arguments):
        for t in range(9, 15):
            np.testing.assert_array_equal(outputs(device.receive()), EXPECTED[0, t])
    device.close()


@pytest.mark.long
def test_a_device_that_counts_loses_nothing_by_a_kill(broker: Mosquitto, tmp_path: Path) -> None:
    state = ("--state", f"sqlite:///{tmp_path / 'states.db'}", "--mqtt-client", "killed")
    arguments = (MODEL_PATH, "--mqtt", broker.address, "--subscribe", "killed/+", "--publish", "alive/{1}", *state)
    device = Device(broker, "alive/#")
    process = Process(*arguments)
    step, is_killed = 0, False
    answered: dict[int, Any] = {}
    while step < 40:
        device.publish("killed/ann", {"step": step, "inputs": SAMPLES[1, step].tolist()})
        if step == 25 and not is_killed:
            time.sleep(1.2)  # so that something was written
            process.end(signal.SIGKILL)
            process, is_killed = Process(*arguments), True
        message = device.receive()
        if message.topic == "alive/ann":
            answered[message.payload["steps"] - 1] = outputs(message)
        step = message.payload["steps"]
    assert process.end() == (0, "")
    np.testing.assert_array_equal([answered[t] for t in range(40)], EXPECTED[1, :40])
    device.close()


def test_a_broker_that_comes_back(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:
        process = Process(MODEL_PATH, "--mqtt", broker.address, *TOPICS)
        device = Device(broker, "activity/#")
        device.publish("sensors/ann/imu", SAMPLES[0, :5].tolist())
        device.receive()
        device.close()
        broker.stop()
        wait_for(lambda: "grurt_mqtt_connected 0.0" in process.get("/metrics"))
        broker.start()
        wait_for(lambda: "grurt_mqtt_connected 1.0" in process.get("/metrics"))
        device = Device(broker, "activity/#")
        device.publish("sensors/ann/imu", {"step": 5, "inputs": SAMPLES[0, 5].tolist()})
        np.testing.assert_array_equal(outputs(device.receive()), EXPECTED[0, 5])
        device.close()
        code, errors = process.end()
        assert code == 0
        assert "the connection to the broker has ended: " in errors
        assert errors.endswith(f"{broker.address}: connected again\n")


def test_by_tls_and_with_a_password(certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ["allow_anonymous false", f"certfile {certificate}", f"keyfile {certificate}"]
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with mosquitto(tmp_path, *settings) as broker:
        address = f"mqtts://user:secret@localhost:{broker.port}"
        message = fail("serve", MODEL_PATH, "--port", 0, "--mqtt", address, *TOPICS)
        assert f"mqtts://localhost:{broker.port}: cannot connect to the broker: " in message
        assert "uthori" in message
        assert "secret" not in message


def test_a_broker_that_is_not_there() -> None:
    message = fail("serve", MODEL_PATH, "--port", 0, "--mqtt", "mqtt://127.0.0.1:1", *TOPICS)
    assert "mqtt://127.0.0.1:1: cannot connect to the broker: " in message
