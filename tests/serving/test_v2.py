"""The Open Inference Protocol, with the unmodified client of Triton, with curl, and with requests that are none."""

from __future__ import annotations

import gzip
import json
import sqlite3
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import Process, curl, hello, mixed_model, saved, serving, wait_for

from grurt.demo import MODEL_PATH

pytestmark = pytest.mark.slow

triton = pytest.importorskip("tritonclient.http")
from triton_sequences import EXPECTED, SAMPLES, expect_a_sequence_keeps_its_state  # noqa: E402
from tritonclient.utils import InferenceServerException  # noqa: E402


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    mixed = saved(mixed_model(), tmp_path_factory.mktemp("serving"), "mixed")
    with serving(MODEL_PATH, mixed) as process:
        yield process


@pytest.fixture
def client(service: Process) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{service.port}") as client:
        yield client


def tensor(samples: Any, *, binary: bool = True) -> Any:
    samples = np.ascontiguousarray(samples, np.float32)
    found = triton.InferInput("samples", samples.shape, "FP32")
    found.set_data_from_numpy(samples, binary_data=binary)
    return found


def infer(client: Any, samples: Any, *, binary: bool = True, **options: Any) -> Any:
    return client.infer("activity", [tensor(samples, binary=binary)], **options).as_numpy("probabilities")


def test_what_there_is(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("activity")
    assert client.is_model_ready("mixed", "1")
    assert not client.is_model_ready("nothing")
    assert {"sequence", "binary_tensor_data"} <= set(client.get_server_metadata()["extensions"])
    assert [model["name"] for model in client.get_model_repository_index()] == ["activity", "mixed"]
    assert client.get_model_metadata("mixed") == {
        "name": "mixed",
        "versions": ["1"],
        "platform": "grurt",
        "inputs": [
            {"name": "sensor", "datatype": "FP32", "shape": [-1, 3]},
            {"name": "word", "datatype": "INT64", "shape": [-1]},
        ],
        "outputs": [
            {"name": "answer", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "hidden", "datatype": "FP32", "shape": [-1, 4]},
        ],
    }
    assert client.get_model_config("activity")["input"] == [
        {"name": "samples", "data_type": "TYPE_FP32", "dims": [-1, 6]}
    ]
    for name, expected in (("activity", ["activity"]), ("", ["activity", "mixed"])):
        found = client.get_inference_statistics(name)["model_stats"]
        assert [statistics["name"] for statistics in found] == expected


@pytest.mark.parametrize("binary", [True, False])
def test_a_request_without_a_sequence_leaves_nothing(client: Any, binary: bool) -> None:
    for i in range(2):
        np.testing.assert_array_equal(infer(client, SAMPLES[i], binary=binary), EXPECTED[i])
        np.testing.assert_array_equal(infer(client, SAMPLES[i, 0], sequence_id=0), EXPECTED[i, :1])


@pytest.mark.parametrize("sequence", [5, 2**64 - 1, "5", "device/7"])
def test_a_sequence_keeps_its_state(client: Any, sequence: int | str) -> None:
    expect_a_sequence_keeps_its_state(partial(infer, client), sequence)


def test_a_number_and_a_text_are_two_sequences(client: Any) -> None:
    infer(client, SAMPLES[0, :9], sequence_id=7, sequence_start=True)
    infer(client, SAMPLES[1, :4], sequence_id="7", sequence_start=True)
    np.testing.assert_array_equal(infer(client, SAMPLES[0, 9], sequence_id=7), EXPECTED[0, 9:10])
    np.testing.assert_array_equal(infer(client, SAMPLES[1, 4], sequence_id="7"), EXPECTED[1, 4:5])


def test_start_begins_anew(client: Any) -> None:
    for _ in range(2):
        answer = infer(client, SAMPLES[0, 0], sequence_id="anew", sequence_start=True)
        np.testing.assert_array_equal(answer, EXPECTED[0, :1])


def test_several_inputs_and_chosen_outputs(client: Any) -> None:
    rng = np.random.default_rng(2)
    sensor, word = rng.normal(size=(5, 3)).astype("f4"), rng.integers(7, size=5)
    inputs = [triton.InferInput("word", [5], "INT64"), triton.InferInput("sensor", [5, 3], "FP32")]
    inputs[0].set_data_from_numpy(word, binary_data=False)
    inputs[1].set_data_from_numpy(sensor)
    outputs = [triton.InferRequestedOutput("hidden", binary_data=True), triton.InferRequestedOutput("answer", False)]
    result = client.infer("mixed", inputs, outputs=outputs, request_id="r1")
    expected = mixed_model().stream().run({"sensor": sensor, "word": word})
    for name, array in expected.items():
        np.testing.assert_array_equal(result.as_numpy(name), array)
    assert result.get_response()["id"] == "r1"
    assert result.get_output("answer").get("parameters") is None


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed(client: Any, algorithm: str) -> None:
    answer = infer(
        client, SAMPLES[0], request_compression_algorithm=algorithm, response_compression_algorithm=algorithm
    )
    np.testing.assert_array_equal(answer, EXPECTED[0])


def test_a_websocket_and_a_sequence_are_one_session(service: Process, client: Any) -> None:
    infer(client, SAMPLES[2, :9], sequence_id="both", sequence_start=True)
    with service.connect("model=activity&session=both") as connection:
        assert hello(connection)["steps"] == 9
        with pytest.raises(InferenceServerException, match="in use by a connection"):
            infer(client, SAMPLES[2, 9], sequence_id="both")
    np.testing.assert_array_equal(infer(client, SAMPLES[2, 9], sequence_id="both"), EXPECTED[2, 9:10])


def test_a_bad_sample_leaves_the_sequence_as_it_was(client: Any) -> None:
    infer(client, SAMPLES[2, :9], sequence_id="bad", sequence_start=True)
    for bad in (np.full(6, np.nan), np.full((3, 6), np.inf)):
        with pytest.raises(InferenceServerException, match="expected finite numbers"):
            infer(client, bad, sequence_id="bad")
    np.testing.assert_array_equal(infer(client, SAMPLES[2, 9], sequence_id="bad"), EXPECTED[2, 9:10])


def test_errors_have_the_form_of_triton(client: Any) -> None:
    with pytest.raises(InferenceServerException, match="Request for unknown model: 'nothing' is not found"):
        client.infer("nothing", [tensor(SAMPLES[0])])
    with pytest.raises(InferenceServerException, match=r"expected shape \[n, 6\], got \[2, 5\]"):
        infer(client, np.zeros((2, 5)))
    with pytest.raises(InferenceServerException, match="expected 1 to 128"):
        infer(client, SAMPLES[0], sequence_id="../x")


def test_plain_json_by_curl(service: Process) -> None:
    body = {"inputs": [{"name": "samples", "shape": [2, 6], "datatype": "FP32", "data": SAMPLES[0, :2].tolist()}]}
    status, answer = curl("-d", json.dumps(body), f"{service.address}/v2/models/activity/infer")
    assert status == 200
    (output,) = answer["outputs"]
    assert (output["name"], output["shape"], output["datatype"]) == ("probabilities", [2, 4], "FP32")
    np.testing.assert_array_equal(np.array(output["data"], "f4").reshape(2, 4), EXPECTED[0, :2])
    assert curl(f"{service.address}/v2/models/activity/versions/1")[0] == 200
    assert curl(f"{service.address}/v2/models/activity/versions/2")[0] == 404
    assert curl(f"{service.address}/nothing")[0] == 404


ONE = {"name": "samples", "shape": [1, 6], "datatype": "FP32", "data": [0] * 6}


def changed(**changes: Any) -> dict[str, Any]:
    return {"inputs": [ONE | changes]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "request: expected JSON, with finite numbers"),
        ("[]", "request: expected an object, got list"),
        ("{}", "inputs: expected a list of tensors"),
        ('{"inputs": [3]}', "expected an object"),
        ('{"inputs": [{}]}', "inputs: expected a name in each tensor"),
        ("[" * 100_000, "expected JSON"),
        (changed(datatype="FP64"), "input 'samples': expected datatype FP32, got 'FP64'"),
        (changed(shape="x"), "expected a shape, a list of integers, got"),
        (changed(shape=[True, 6]), "expected a shape"),
        (changed(shape=[-1, 6]), "expected shape"),
        (changed(shape=[0, 6], data=[]), "expected shape"),
        (changed(shape=[1 << 62, 6]), "expected shape"),
        (changed(shape=[1 << 39, 6]), "as many numbers"),
        (changed(data=[1]), "expected as many numbers in data as shape [1, 6] has, got 1"),
        (changed(data=None), "expected data, a list of numbers, got None"),
        (changed(data=["1"] * 6), "expected numbers, got str '1'"),
        (changed(data=[10**400] * 6), "expected JSON, with finite numbers"),
        (changed(parameters={"binary_data_size": 24}), "binary_data_size: expected at most 0 bytes, got 24"),
        (changed(parameters={"binary_data_size": -1}), "at most 0 bytes"),
        (changed(parameters=3), "expected an object"),
        ({"inputs": [ONE, ONE]}, "inputs: expected each of samples once, got 'samples'"),
        (changed(name="x"), "once"),
        (changed() | {"id": 5}, "id: expected a text, got 5"),
        (changed() | {"parameters": {"sequence_id": 1.5}}, "an integer or a text"),
        (changed() | {"parameters": {"sequence_id": True}}, "an integer or a text"),
        (changed() | {"parameters": {"sequence_id": -1}}, "from 1 to"),
        (changed() | {"parameters": {"sequence_id": 1, "sequence_start": 1}}, "true or false"),
        (changed() | {"outputs": [{"name": "x"}]}, "outputs: expected some of probabilities, got 'x'"),
        (
            changed() | {"outputs": [{"name": "probabilities", "parameters": {"classification": 3}}]},
            "outputs: expected the parameter binary_data at most, got",
        ),
    ],
)
def test_requests_that_are_none(service: Process, body: Any, message: str) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    request = urllib.request.Request(f"{service.address}/v2/models/activity/infer", content.encode(), method="POST")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=20)
    with caught.value as response:
        assert response.code == 400
        assert message in json.loads(response.read())["error"]


@pytest.mark.parametrize(
    ("size", "extra", "message"),
    [
        (24, 5, "body: expected 24 bytes behind the JSON, got 29"),
        (20, 0, "expected 24 bytes for shape [1, 6], got 20"),
    ],
)
def test_binary_tensors_of_other_sizes(service: Process, size: int, extra: int, message: str) -> None:
    tensor = {"name": "samples", "shape": [1, 6], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [tensor]}).encode()
    status, answer = post(service, head + bytes(size + extra), {"Inference-Header-Content-Length": str(len(head))})
    assert (status, message in answer["error"]) == (400, True)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([("sensor", "FP32", [1, 3], [0] * 3)], "inputs: expected sensor, word, of as many timesteps each"),
        (
            [("sensor", "FP32", [1, 3], [0] * 3), ("word", "INT64", [2], [1, 1])],
            "inputs: expected sensor, word, of as many timesteps each",
        ),
        (
            [("sensor", "FP32", [1, 3], [0] * 3), ("word", "INT64", [1], [2**64 - 1])],
            "expected integers of 64 bits, got a larger one",
        ),
    ],
)
def test_several_inputs_that_do_not_fit(service: Process, inputs: list[Any], message: str) -> None:
    tensors = [dict(zip(("name", "datatype", "shape", "data"), tensor, strict=True)) for tensor in inputs]
    body = json.dumps({"inputs": tensors})
    status, answer = curl("-d", body, f"{service.address}/v2/models/mixed/infer")
    assert (status, message in answer["error"]) == (400, True)


def post(
    service: Process, content: bytes, headers: dict[str, str], path: str = "/v2/models/activity/infer"
) -> tuple[int, Any]:
    request = urllib.request.Request(f"{service.address}{path}", content, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (gzip.compress(b" " * (64 << 20)), {"Content-Encoding": "gzip"}, 413),
        (zlib.compress(b" " * (2 << 20)), {"Content-Encoding": "deflate"}, 413),
        (b"x" * 100, {"Content-Encoding": "gzip"}, 415),
        (gzip.compress(b"{}")[:-4], {"Content-Encoding": "gzip"}, 415),
        (b"{}", {"Content-Encoding": "br"}, 415),
        (b" " * (2 << 20), {}, 413),
        (b"{}", {"Inference-Header-Content-Length": "3"}, 400),
        (b"{}", {"Inference-Header-Content-Length": "-1"}, 400),
        (b"{}", {"Inference-Header-Content-Length": "9" * 5000}, 400),
        (b"{}", {"Origin": "https://evil.example"}, 403),
        (b"{}", {"Host": "evil.example"}, 403),
    ],
)
def test_bodies_and_headers_that_are_refused(
    service: Process, content: bytes, headers: dict[str, str], status: int
) -> None:
    found, answer = post(service, content, headers)
    assert found == status, answer
    assert "error" in answer


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/nothing", {}, 404),
        ("/v2/models/nothing/infer", {}, 404),
        ("/v2/models/activity/infer", {"Host": "evil.example"}, 403),
        ("/metrics", {}, 405),
    ],
)
def test_who_is_refused_while_a_large_body_comes_is_told_why(
    service: Process, path: str, headers: dict[str, str], status: int
) -> None:
    found, answer = post(service, b" " * (8 << 20), headers, path)
    assert found == status, answer
    assert answer["error"]


def test_metrics_and_health(service: Process, client: Any) -> None:
    infer(client, SAMPLES[0])
    text = service.get("/metrics")
    assert 'grurt_samples_total{model="activity"}' in text
    assert 'grurt_batch_samples_bucket{le="+Inf",model="activity"}' in text
    assert "grurt_loop_lag_seconds" in text
    assert (service.get("/livez"), service.get("/readyz")) == ("live\n", "ready\n")


def test_tokens_bind_sequences_too(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("token-of-everybody-1\ntoken-of-ann-alone-2 ann/\n")
    with (
        serving(MODEL_PATH, "--tokens", path) as process,
        triton.InferenceServerClient(f"127.0.0.1:{process.port}") as client,
    ):
        assert client.is_server_live()
        with pytest.raises(InferenceServerException, match="expected the header"):
            infer(client, SAMPLES[0])
        ann = {"headers": {"Authorization": "Bearer token-of-ann-alone-2"}}
        infer(client, SAMPLES[0], sequence_id="ann/1", sequence_start=True, **ann)
        for sequence in (5, "bob"):
            with pytest.raises(InferenceServerException, match="'ann/' only"):
                infer(client, SAMPLES[0], sequence_id=sequence, sequence_start=True, **ann)
        with pytest.raises(urllib.error.HTTPError, match="403") as caught:
            process.get("/metrics", ann["headers"])
        caught.value.close()
        found = process.get("/api/sessions", ann["headers"])
        assert ([session["session"] for session in found["sessions"]], found["refusals"]) == (["ann/1"], [])


def test_sequences_outlive_the_process(tmp_path: Path) -> None:
    state = f"sqlite:///{tmp_path / 'states.db'}"
    for start, end in ((0, 30), (30, 60)):
        with (
            serving(MODEL_PATH, "--state", state) as process,
            triton.InferenceServerClient(f"127.0.0.1:{process.port}") as client,
        ):
            answers = infer(client, SAMPLES[0, start:end], sequence_id=9, sequence_start=start == 0)
            np.testing.assert_array_equal(answers, EXPECTED[0, start:end])


def test_a_service_that_cannot_write_is_not_ready(tmp_path: Path) -> None:
    path = tmp_path / "states.db"
    with serving(MODEL_PATH, "--state", f"sqlite:///{path}") as process:
        with sqlite3.connect(path, isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            wait_for(lambda: process.status("/readyz") == (503, f"{path}: database is locked\n"))
            other.execute("ROLLBACK")
        wait_for(lambda: process.status("/readyz") == (200, "ready\n"))
