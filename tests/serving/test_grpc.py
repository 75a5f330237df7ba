"""The Open Inference Protocol over gRPC, with the unmodified client of Triton, and with messages that are none."""

from __future__ import annotations

import asyncio
import queue
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
from commandline import fail
from serving import Process, hello, mixed_model, saved, serving, wait_for

import grurt
from grurt.demo import MODEL_PATH, load_model
from grurt.installing import install_command

pytestmark = pytest.mark.slow

grpc = pytest.importorskip("grpc")
triton = pytest.importorskip("tritonclient.grpc")
from triton_sequences import EXPECTED, SAMPLES, expect_a_sequence_keeps_its_state  # noqa: E402
from tritonclient.grpc import service_pb2  # noqa: E402
from tritonclient.utils import InferenceServerException  # noqa: E402

from grurt.serving.access import Permit  # noqa: E402
from grurt.serving.grpc.calls import METHODS  # noqa: E402
from grurt.serving.grpc.schema import SERVICE, message_class  # noqa: E402
from grurt.serving.grpc.stream import RequestStream  # noqa: E402
from grurt.serving.limits import Limits  # noqa: E402
from grurt.serving.service import Service  # noqa: E402


def backwards() -> grurt.Model:
    """Return a model of whole sequences."""
    layer = grurt.GRU(name="gru", inputs=("x",), input_size=3, hidden_size=4, direction="reverse")
    return models.layer_model(layer, rng=np.random.default_rng(1), inputs=[grurt.Input("x", 3)])


def port_of(service: Process) -> int:
    (said,) = service.ways
    assert said.startswith("gRPC at 127.0.0.1:")
    return int(said.rpartition(":")[2])


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("serving")
    paths = (MODEL_PATH, saved(mixed_model(), folder, "mixed"), saved(backwards(), folder, "both"))
    with serving(*paths, "--grpc-port", 0, "--max-body", 1 << 16) as process:
        yield process


@pytest.fixture
def client(service: Process) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{port_of(service)}") as client:
        yield client


@pytest.fixture
def infer_bytes(service: Process) -> Iterator[Callable[..., bytes]]:
    """Yield what sends bytes to the method that infers."""
    with grpc.insecure_channel(f"127.0.0.1:{port_of(service)}") as channel:
        yield channel.unary_unary(f"/{SERVICE}/ModelInfer")


def tensor(samples: Any) -> Any:
    samples = np.ascontiguousarray(samples, np.float32)
    found = triton.InferInput("samples", samples.shape, "FP32")
    found.set_data_from_numpy(samples)
    return found


def infer(client: Any, samples: Any, **options: Any) -> Any:
    return client.infer("activity", [tensor(samples)], **options).as_numpy("probabilities")


class Stream:
    """A stream of a client, and what it receives."""

    def __init__(self, client: Any, **options: Any) -> None:
        self._client = client
        self._received: queue.Queue[tuple[Any, Any]] = queue.Queue()
        client.start_stream(lambda result, error: self._received.put((result, error)), **options)

    def send(self, samples: Any, **options: Any) -> None:
        self._client.async_stream_infer("activity", [tensor(samples)], **options)

    def answer(self) -> Any:
        result, error = self._received.get(timeout=20)
        assert error is None, error
        return result

    def error(self) -> InferenceServerException:
        result, error = self._received.get(timeout=20)
        assert result is None
        return error


def test_what_there_is(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("activity")
    assert client.is_model_ready("mixed", "1")
    assert not client.is_model_ready("mixed", "2")
    assert not client.is_model_ready("nothing")
    assert "sequence" in client.get_server_metadata(as_json=True)["extensions"]
    index = client.get_model_repository_index(as_json=True)["models"]
    assert [(model["name"], model["state"]) for model in index] == [
        ("activity", "READY"),
        ("mixed", "READY"),
        ("both", "READY"),
    ]
    assert client.get_model_metadata("mixed", as_json=True) == {
        "name": "mixed",
        "versions": ["1"],
        "platform": "grurt",
        "inputs": [
            {"name": "sensor", "datatype": "FP32", "shape": ["-1", "3"]},
            {"name": "word", "datatype": "INT64", "shape": ["-1"]},
        ],
        "outputs": [
            {"name": "answer", "datatype": "FP32", "shape": ["-1", "2"]},
            {"name": "hidden", "datatype": "FP32", "shape": ["-1", "4"]},
        ],
    }
    config = client.get_model_config("activity", as_json=True)["config"]
    assert config["input"] == [{"name": "samples", "data_type": "TYPE_FP32", "dims": ["-1", "6"]}]
    assert config["sequence_batching"] == {"max_sequence_idle_microseconds": "3600000000"}


def test_statistics(client: Any) -> None:
    infer(client, SAMPLES[0])
    (one,) = client.get_inference_statistics("activity", as_json=True)["model_stats"]
    assert int(one["inference_count"]) >= len(SAMPLES[0])
    assert [each["name"] for each in client.get_inference_statistics(as_json=True)["model_stats"]] == [
        "activity",
        "mixed",
        "both",
    ]


def test_a_request_without_a_sequence_leaves_nothing(client: Any) -> None:
    for i in range(2):
        np.testing.assert_array_equal(infer(client, SAMPLES[i]), EXPECTED[i])
        np.testing.assert_array_equal(infer(client, SAMPLES[i, 0], sequence_id=""), EXPECTED[i, :1])


@pytest.mark.parametrize("sequence", [5, 2**63 - 1, "5", "device/7"])
def test_a_sequence_keeps_its_state(client: Any, sequence: int | str) -> None:
    expect_a_sequence_keeps_its_state(partial(infer, client), sequence)


def test_a_sequence_is_the_session_of_all_ways(service: Process, client: Any) -> None:
    infer(client, SAMPLES[2, :9], sequence_id="both", sequence_start=True)
    with service.connect("model=activity&session=both") as connection:
        assert hello(connection)["steps"] == 9
        with pytest.raises(InferenceServerException, match="in use by a connection") as caught:
            infer(client, SAMPLES[2, 9], sequence_id="both")
        assert caught.value.status() == "StatusCode.ABORTED"
        connection.send(SAMPLES[2, 9].astype("<f4").tobytes())
        connection.recv(timeout=20)
    np.testing.assert_array_equal(infer(client, SAMPLES[2, 10], sequence_id="both"), EXPECTED[2, 10:11])


def test_several_inputs_and_chosen_outputs(client: Any) -> None:
    rng = np.random.default_rng(2)
    sensor, word = rng.normal(size=(5, 3)).astype("f4"), rng.integers(7, size=5)
    inputs = [triton.InferInput("word", [5], "INT64"), triton.InferInput("sensor", [5, 3], "FP32")]
    inputs[0].set_data_from_numpy(word)
    inputs[1].set_data_from_numpy(sensor)
    expected = mixed_model().stream().run({"sensor": sensor, "word": word})
    result = client.infer("mixed", inputs, request_id="r1")
    assert result.get_response().id == "r1"
    for name, array in expected.items():
        np.testing.assert_array_equal(result.as_numpy(name), array)
    result = client.infer("mixed", inputs, outputs=[triton.InferRequestedOutput("hidden")])
    assert [output.name for output in result.get_response().outputs] == ["hidden"]
    np.testing.assert_array_equal(result.as_numpy("hidden"), expected["hidden"])


def test_whole_sequences(client: Any, infer_bytes: Callable[..., bytes]) -> None:
    xs = np.random.default_rng(5).normal(size=(2, 9, 3)).astype("f4")
    expected = backwards().run(xs)
    assert client.get_model_metadata("both", as_json=True)["inputs"][0]["shape"] == ["-1", "-1", "3"]
    sequences = triton.InferInput("x", xs.shape, "FP32")
    sequences.set_data_from_numpy(xs)
    np.testing.assert_array_equal(client.infer("both", [sequences]).as_numpy("y"), expected)
    stream = Stream(client)
    client.async_stream_infer("both", [sequences], request_id="r")
    client.async_stream_infer("both", [sequences], sequence_id=3)
    result = stream.answer()
    assert result.get_response().id == "r"
    np.testing.assert_array_equal(result.as_numpy("y"), expected)
    assert "answers to whole sequences only" in str(stream.error())


def test_typed_contents(infer_bytes: Callable[..., bytes]) -> None:
    rng = np.random.default_rng(5)
    sensor, word = rng.normal(size=(4, 3)).astype("f4"), rng.integers(7, size=4)
    request = service_pb2.ModelInferRequest(model_name="mixed")
    tensors = request.inputs.add(name="sensor", datatype="FP32", shape=[4, 3])
    tensors.contents.fp32_contents.extend(sensor.ravel().tolist())
    request.inputs.add(name="word", datatype="INT64", shape=[4]).contents.int64_contents.extend(word.tolist())
    response = service_pb2.ModelInferResponse.FromString(infer_bytes(request.SerializeToString()))
    expected = mixed_model().stream().run({"sensor": sensor, "word": word})
    for output, content in zip(response.outputs, response.raw_output_contents, strict=True):
        found = np.frombuffer(content, "<f4").reshape(output.shape)
        np.testing.assert_array_equal(found, expected[output.name])


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed(client: Any, algorithm: str) -> None:
    np.testing.assert_array_equal(infer(client, SAMPLES[0], compression_algorithm=algorithm), EXPECTED[0])


def test_a_stream_answers_in_order(client: Any) -> None:
    stream = Stream(client)
    for k in range(3):
        for t in range(50):
            flags = {"sequence_start": t == 0, "sequence_end": t == 49}
            stream.send(SAMPLES[k, t], sequence_id="one", request_id=f"one {k} {t}", **flags)
            stream.send(SAMPLES[k + 3, t], sequence_id=77, request_id=f"two {k} {t}", **flags)
    for k in range(3):
        for t in range(50):
            for name, expected in (("one", EXPECTED[k, t]), ("two", EXPECTED[k + 3, t])):
                result = stream.answer()
                assert result.get_response().id == f"{name} {k} {t}"
                np.testing.assert_array_equal(result.as_numpy("probabilities")[0], expected)


def test_what_a_stream_refuses_leaves_the_sequence_as_it_was(client: Any) -> None:
    stream = Stream(client)
    stream.send(SAMPLES[1, :9], sequence_id="bad", sequence_start=True)
    stream.send(np.full(6, np.nan), sequence_id="bad", request_id="nan")
    stream.send(np.full((40, 6), np.inf), sequence_id="bad")
    stream.send(np.zeros((2, 5)), sequence_id="bad")
    stream.send(SAMPLES[1, 9], sequence_id="bad")
    stream.send(SAMPLES[1, 9], sequence_id="../x")
    np.testing.assert_array_equal(stream.answer().as_numpy("probabilities"), EXPECTED[1, :9])
    for message in ("expected finite numbers", "expected finite numbers", "expected shape [n, 6], got [2, 5]"):
        assert message in str(stream.error())
    np.testing.assert_array_equal(stream.answer().as_numpy("probabilities"), EXPECTED[1, 9:10])
    assert "expected 1 to 128" in str(stream.error())


def test_the_final_response_is_marked_if_that_is_wished(client: Any) -> None:
    stream = Stream(client)
    stream.send(SAMPLES[0, 0], enable_empty_final_response=True)
    stream.send(SAMPLES[0, 0])
    assert stream.answer().get_response().parameters["triton_final_response"].bool_param
    assert not stream.answer().get_response().parameters


def test_a_stream_that_is_broken_off_leaves_nothing_behind(service: Process) -> None:
    before = service.get("/api/sessions")["n_sessions"]
    with triton.InferenceServerClient(f"127.0.0.1:{port_of(service)}") as client:
        stream = Stream(client)
        for _ in range(20):
            stream.send(SAMPLES[0])
        stream.answer()
        client.stop_stream(cancel_requests=True)
    wait_for(lambda: service.get("/api/sessions")["n_sessions"] == before)


def test_errors_have_the_form_of_triton(client: Any) -> None:
    with pytest.raises(InferenceServerException, match="Request for unknown model: 'nothing' is not found") as caught:
        client.infer("nothing", [tensor(SAMPLES[0])])
    assert caught.value.status() == "StatusCode.NOT_FOUND"
    with pytest.raises(InferenceServerException, match="'activity' version '2' is not found: expected 1"):
        infer(client, SAMPLES[0], model_version="2")
    with pytest.raises(InferenceServerException, match=r"expected shape \[n, 6\], got \[2, 5\]") as caught:
        infer(client, np.zeros((2, 5)))
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    with pytest.raises(InferenceServerException, match="Received message larger than max"):
        infer(client, np.zeros((1 << 15, 6)))
    with pytest.raises(InferenceServerException, match="Decompressed message larger than max"):
        infer(client, np.zeros((1 << 20, 6)), compression_algorithm="gzip")
    with pytest.raises(InferenceServerException, match="Method not found"):
        client.load_model("activity")


def test_refusals_are_counted(service: Process, client: Any) -> None:
    with pytest.raises(InferenceServerException):
        infer(client, np.full(6, np.nan))
    assert 'grurt_refused_total{kind="InputValueError"}' in service.get("/metrics")


ONE: dict[str, Any] = {"name": "samples", "datatype": "FP32", "shape": [1, 6]}


@pytest.mark.parametrize(
    ("request_fields", "message"),
    [
        (b"\xff\xff\xff", "request: expected a message of the protocol, got something else"),
        (b"", "Request for unknown model: '' is not found"),
        ({}, "inputs: expected a list of tensors"),
        ({"inputs": [ONE]}, "expected as many numbers in data as shape [1, 6] has, got 0"),
        ({"inputs": [ONE | {"datatype": "BOOL"}]}, "input 'samples': expected datatype FP32, got 'BOOL'"),
        ({"inputs": [ONE | {"contents": {"fp64_contents": [0.0] * 6}}]}, "as many numbers"),
        ({"inputs": [ONE], "raw_input_contents": [bytes(24)] * 2}, "raw_input_contents: expected one for each of 1"),
        ({"inputs": [ONE], "raw_input_contents": [bytes(20)]}, "expected 24 bytes for shape [1, 6], got 20"),
        (
            {"inputs": [ONE | {"contents": {"fp32_contents": [0.0] * 6}}], "raw_input_contents": [bytes(24)]},
            "input 'samples': expected contents or raw_input_contents, got both",
        ),
        (
            {"inputs": [ONE | {"parameters": {"shared_memory_region": {"string_param": "x"}}}]},
            "input 'samples': expected contents in the request, got shared memory",
        ),
        (
            {"inputs": [ONE], "raw_input_contents": [bytes(24)], "parameters": {"sequence_id": {"double_param": 1.5}}},
            "sequence_id: expected an integer or a text, got 1.5",
        ),
        (
            {"inputs": [ONE], "raw_input_contents": [bytes(24)], "parameters": {"sequence_id": {}}},
            "or a text, got None",
        ),
        (
            {"inputs": [ONE], "raw_input_contents": [bytes(24)], "parameters": {"sequence_start": {"int64_param": 1}}},
            "sequence_start: expected true or false, got 1",
        ),
        (
            {
                "inputs": [ONE],
                "raw_input_contents": [bytes(24)],
                "outputs": [{"name": "probabilities", "parameters": {"classification": {"int64_param": 2}}}],
            },
            "outputs: expected the parameter binary_data at most, got",
        ),
    ],
)
def test_requests_that_are_none(infer_bytes: Callable[..., bytes], request_fields: Any, message: str) -> None:
    if isinstance(request_fields, dict):
        request_fields = message_class("ModelInferRequest")(model_name="activity", **request_fields).SerializeToString()
    with pytest.raises(grpc.RpcError) as caught:
        infer_bytes(request_fields, timeout=20)
    assert message in caught.value.details()
    assert caught.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)


def test_bytes_that_are_no_grpc_disturb_nobody(service: Process, client: Any) -> None:
    opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for content in (b"GET / HTTP/1.1\r\n\r\n", bytes(1000), b"\x16\x03\x01" * 99, opening, opening + b"\xff" * 99):
        with socket.create_connection(("127.0.0.1", port_of(service))) as connection:
            connection.sendall(content)
            np.testing.assert_array_equal(infer(client, SAMPLES[0]), EXPECTED[0])


def test_messages_have_the_numbers_and_types_of_tritons() -> None:
    stub = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert METHODS.keys() <= {method.name for method in stub.methods}
    for method in stub.methods:
        if method.name in METHODS:
            for ours, theirs in zip(METHODS[method.name], (method.input_type, method.output_type), strict=True):
                expect_same(message_class(ours).DESCRIPTOR, theirs)


def expect_same(ours: Any, theirs: Any) -> None:
    for field in ours.fields:
        other = theirs.fields_by_name[field.name]
        assert (field.number, field.type, field.is_repeated) == (other.number, other.type, other.is_repeated)
        if field.message_type is not None:
            expect_same(field.message_type, other.message_type)
        if field.enum_type is not None:
            names = {value.name: value.number for value in other.enum_type.values}
            assert {value.name: value.number for value in field.enum_type.values}.items() <= names.items()


def test_tokens_and_tls(certificate: Path, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("token-of-everybody-1\ntoken-of-ann-alone-2 ann/\n")
    with serving(MODEL_PATH, "--grpc-port", 0, "--tokens", tokens, "--certificate", certificate) as process:
        options = {"ssl": True, "root_certificates": str(certificate)}
        with triton.InferenceServerClient(f"localhost:{port_of(process)}", **options) as client:
            assert client.is_server_live()
            with pytest.raises(InferenceServerException, match="expected the header") as caught:
                infer(client, SAMPLES[0])
            assert caught.value.status() == "StatusCode.UNAUTHENTICATED"
            ann = {"headers": {"authorization": "Bearer token-of-ann-alone-2"}}
            infer(client, SAMPLES[0], sequence_id="ann/1", sequence_start=True, **ann)
            for sequence in (5, "bob"):
                with pytest.raises(InferenceServerException, match="'ann/' only"):
                    infer(client, SAMPLES[0], sequence_id=sequence, sequence_start=True, **ann)
            stream = Stream(client, **ann)
            stream.send(SAMPLES[0], sequence_id="bob", sequence_start=True)
            assert "'ann/' only" in str(stream.error())
            client.stop_stream()
            assert "expected the header" in str(Stream(client).error())


def test_sequences_outlive_the_process_and_streams_are_told(tmp_path: Path) -> None:
    state = f"sqlite:///{tmp_path / 'states.db'}"
    for start, end in ((0, 30), (30, 60)):
        with (
            serving(MODEL_PATH, "--state", state, "--grpc-port", 0) as process,
            triton.InferenceServerClient(f"127.0.0.1:{port_of(process)}") as client,
        ):
            stream = Stream(client)
            stream.send(SAMPLES[0, start:end], sequence_id=9, sequence_start=start == 0)
            np.testing.assert_array_equal(stream.answer().as_numpy("probabilities"), EXPECTED[0, start:end])
            assert process.end(signal.SIGTERM) == (0, "")
            assert "the service restarts: come back" in str(stream.error())


class Unread:
    """The context of a stream whose client reads nothing."""

    def __init__(self) -> None:
        self.ended: list[Any] = []

    async def write(self, content: bytes) -> None:
        await asyncio.sleep(60)

    async def abort(self, code: Any, message: str) -> None:
        self.ended.append((code, message))
        raise RuntimeError("aborted")


@pytest.mark.parametrize("fields", [{"inputs": [ONE], "raw_input_contents": [bytes(24)]}, {}])
def test_who_does_not_read_is_read_no_further_and_cut_off(fields: dict[str, Any]) -> None:
    request = message_class("ModelInferRequest")(model_name="activity", **fields).SerializeToString()
    n_read = 0

    async def requests() -> AsyncIterator[bytes]:
        nonlocal n_read
        for _ in range(1000):
            n_read += 1
            yield request

    async def run() -> tuple[list[Any], int]:
        limits, loop = Limits(slow_reader=0.05, waiting=8), asyncio.get_running_loop()
        service = Service({"activity": load_model()}, limits, None, loop.call_soon)
        context = Unread()
        with pytest.raises(RuntimeError, match="aborted"):
            await RequestStream(service, Permit(), context).run(requests())
        assert service.refused["slow reader"] == 1
        return context.ended, len(service)

    ended, n_sessions = asyncio.run(run())
    assert ended == [(grpc.StatusCode.ABORTED, "the client did not read its answers")]
    assert n_read < 20
    assert n_sessions == 0


def test_a_port_that_is_taken(service: Process) -> None:
    port = port_of(service)
    message = fail("serve", MODEL_PATH, "--port", 0, "--grpc-port", port)
    assert f"127.0.0.1, port {port}: gRPC cannot have it; another may be free: see --grpc-port" in message


def test_it_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grurt.cli.serve.find_spec", lambda name: None if name.startswith("grpc") else object())
    message = fail("serve", MODEL_PATH, "--port", 0, "--grpc-port", 0)
    assert f"--grpc-port needs the package grpc: {install_command('grpc')}" in message
