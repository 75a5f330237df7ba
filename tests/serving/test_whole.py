"""Models of whole sequences, by the client of Triton and plain JSON, against the float64 reference."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import encoders
import models
import numpy as np
import pytest
from serving import Process, asked, curl, hello, mixed_model, saved, serving, wait_for
from websockets.exceptions import ConnectionClosed

import grurt
from grurt import reference
from grurt.errors import InputShapeError, InputTypeError
from grurt.serving.errors import BusyError
from grurt.serving.threads import Threads
from grurt.serving.whole import WholeModel
from grurt.serving.whole_requests import read_request, write_response

triton = pytest.importorskip("tritonclient.http")
from tritonclient.utils import InferenceServerException  # noqa: E402


def backwards(seed: int = 1) -> grurt.Model:
    """Return a model that reads sequences in both directions."""
    layers: list[Any] = [
        grurt.GRU(name="forward", inputs=("x",), input_size=3, hidden_size=4),
        grurt.GRU(name="backward", inputs=("x",), input_size=3, hidden_size=4, direction="reverse"),
        grurt.Concat(name="both", inputs=("forward", "backward")),
    ]
    inputs = [grurt.Input("x", 3)]
    return models.layer_model(*layers, rng=np.random.default_rng(seed), inputs=inputs)


def expected(model: grurt.Model, xs: Any) -> Any:
    """Return what the float64 reference makes of a batch."""
    return np.stack([reference.run(model, {"x": x})[0]["y"] for x in np.asarray(xs, np.float64)])


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("whole")
    translator = encoders.encoder_decoder(np.random.default_rng(2))
    paths = [saved(backwards(), folder, "both"), saved(translator, folder, "translator")]
    with serving(*paths, saved(mixed_model(), folder, "mixed")) as process:
        yield process


@pytest.fixture
def client(service: Process) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{service.port}") as client:
        yield client


def tensor(name: str, array: Any, *, binary: bool = True) -> Any:
    found = triton.InferInput(name, array.shape, "FP32" if array.dtype == np.float32 else "INT64")
    found.set_data_from_numpy(array, binary_data=binary)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("binary", [True, False])
def test_a_batch_of_sequences(client: Any, binary: bool) -> None:
    xs = np.random.default_rng(5).normal(size=(4, 17, 3)).astype("f4")
    found = client.infer("both", [tensor("x", xs, binary=binary)]).as_numpy("y")
    assert found.tobytes() == backwards().run(xs).tobytes()
    np.testing.assert_allclose(found, expected(backwards(), xs), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_several_inputs_of_different_lengths(client: Any) -> None:
    model = encoders.encoder_decoder(np.random.default_rng(2))
    rng = np.random.default_rng(6)
    feed = {"source": rng.normal(size=(2, 9, 5)).astype("f4"), "target": rng.integers(9, size=(2, 4))}
    result = client.infer("translator", [tensor(name, array) for name, array in feed.items()], request_id="r")
    assert result.as_numpy("y").tobytes() == model.run(feed)["y"].tobytes()
    assert result.get_response()["id"] == "r"


@pytest.mark.slow
def test_what_there_is(client: Any, service: Process) -> None:
    found = client.get_model_metadata("both")
    assert (found["inputs"], found["outputs"]) == (
        [{"name": "x", "datatype": "FP32", "shape": [-1, -1, 3]}],
        [{"name": "y", "datatype": "FP32", "shape": [-1, -1, 8]}],
    )
    assert "sequence_batching" not in client.get_model_config("both")
    assert client.is_model_ready("both", "1")
    before = client.get_inference_statistics("both")["model_stats"][0]["inference_count"]
    client.infer("both", [tensor("x", np.zeros((1, 2, 3), "f4"))])
    assert client.get_inference_statistics("both")["model_stats"][0]["inference_count"] == before + 1
    assert f'grurt_whole_requests_total{{model="both"}} {before + 1}.0' in service.get("/metrics")


@pytest.mark.slow
def test_sessions_of_it_are_refused_with_the_reason(client: Any, service: Process) -> None:
    reason = str(backwards().unstreamable_reason)
    with pytest.raises(InferenceServerException, match=re.escape(f"whole sequences only: {reason}")):
        client.infer("both", [tensor("x", np.zeros((1, 2, 3), "f4"))], sequence_id=3, sequence_start=True)
    with service.connect("model=both&session=ann") as connection:
        with pytest.raises(ConnectionClosed):
            connection.recv(timeout=20)
        assert connection.close_code == 1008
        assert "both has no sessions, but answers to v2 requests: " in str(connection.close_reason)


@pytest.mark.slow
def test_others_go_on_while_a_long_sequence_runs(service: Process, client: Any) -> None:
    xs = np.zeros((1, 80_000, 3), "f4")
    times: list[float] = []
    with service.connect("model=mixed") as connection:
        hello(connection)
        thread = threading.Thread(
            target=lambda: times.append(len(client.infer("both", [tensor("x", xs)]).as_numpy("y")))
        )
        thread.start()
        answers = 0
        while thread.is_alive():
            asked(connection, {"sensor": [0, 0, 0], "word": 1})
            answers += 1
        thread.join()
    assert times == [1]
    assert answers > 5


@pytest.mark.slow
def test_a_file_that_is_replaced(tmp_path: Path) -> None:
    path = saved(backwards(), tmp_path, "both")
    process = Process(path)
    body = {"inputs": [{"name": "x", "shape": [1, 2, 3], "datatype": "FP32", "data": [0.5] * 6}]}
    for seed in (1, 2):
        saved(backwards(seed), tmp_path, "both")
        process._process.send_signal(signal.SIGHUP)
        wait_for(lambda: process.get("/v2/models/both")["versions"] == [str(seed)])  # noqa: B023
        _, answer = curl("-d", json.dumps(body), f"{process.address}/v2/models/both/infer")
        assert answer["model_version"] == str(seed)
        found = np.array(answer["outputs"][0]["data"], "f4").reshape(1, 2, 8)
        assert found.tobytes() == backwards(seed).run(np.full((1, 2, 3), 0.5, "f4")).tobytes()
    saved(mixed_model(), tmp_path, "both")
    process._process.send_signal(signal.SIGHUP)
    wait_for(lambda: 'grurt_model_change_failures_total{model="both"} 1.0' in process.get("/metrics"))
    code, errors = process.end()
    assert code == 0
    assert "expected a model that needs whole sequences, as the one before: start the service again" in errors


def test_no_more_wait_at_once_than_may() -> None:
    model = WholeModel("both", backwards(), most_waiting=2)

    async def run() -> list[Any]:
        threads = Threads(1, "test")
        calls = (model.run({"x": np.zeros((1, 5, 3), "f4")}, ["y"], threads) for _ in range(3))
        found = await asyncio.gather(*calls, return_exceptions=True)
        threads.close()
        return found

    *answers, refused = asyncio.run(run())
    assert [answer[0].shape for answer in answers] == [(1, 5, 8)] * 2
    with pytest.raises(BusyError, match="expected at most 2 requests at once, and there are as many: come back"):
        raise refused
    assert model.counts.requests == 2


ONE = {"name": "x", "shape": [1, 2, 3], "datatype": "FP32", "data": [0] * 6}


@pytest.mark.parametrize(
    ("tensor", "error", "message"),
    [
        ({"name": "z"}, InputShapeError, "inputs: expected each of x once, got 'z'"),
        ({"datatype": "FP64"}, InputTypeError, "input 'x': expected datatype FP32, got 'FP64'"),
        ({"shape": [1, 1, 3]}, InputShapeError, r"as many numbers in data as shape \[1, 1, 3\] has, got 6"),
        ({"shape": [-1, -2, 3]}, InputShapeError, r"input 'x': expected shape \[-1, -1, 3\], got"),
        ({"data": ["1"] * 6}, InputTypeError, "expected numbers, got str '1'"),
        ({"data": None}, InputShapeError, "expected data, a list of numbers, got None"),
    ],
)
def test_tensors_that_do_not_fit(tensor: dict[str, Any], error: type[Exception], message: str) -> None:
    model = WholeModel("both", backwards(), most_waiting=1)
    with pytest.raises(error, match=message):
        read_request(json.dumps({"inputs": [ONE | tensor]}).encode(), None, model)


def test_bytes_of_another_length_and_every_dtype() -> None:
    ports = [grurt.Input("x", 2)]
    layer = grurt.GRU(name="gru", input_size=2, hidden_size=2, direction="reverse")
    plain = models.layer_model(layer, rng=np.random.default_rng(1), inputs=ports)
    (given,), (shown,) = plain.signature.inputs, plain.signature.outputs
    for dtype, datatype in (("float64", "FP64"), ("float16", "FP16"), ("int64", "INT64"), ("bool", "BOOL")):
        signature = type(plain.signature)(
            inputs=(grurt.ValuePort(name="x", value="x", dtype=dtype, axes=given.axes),), outputs=(shown,)
        )
        model = WholeModel("typed", plain.replaced(signature=signature), most_waiting=1)
        xs = np.array([[[1, 0], [0, 1]]], dtype)
        head = {"name": "x", "shape": [1, 2, 2], "datatype": datatype, "parameters": {"binary_data_size": xs.nbytes}}
        text = json.dumps({"inputs": [head], "parameters": {"binary_data_output": True}}).encode()
        request = read_request(text + xs.tobytes(), str(len(text)).encode(), model)
        assert request.feed["x"].dtype == dtype
        answers = model.session.run(None, dict(request.feed))
        body, length = write_response(model, request, answers)
        assert body[length:] == plain.run(xs.astype("f4")).tobytes()
        wrong = json.dumps({"inputs": [head | {"parameters": {"binary_data_size": 3}}]}).encode()
        with pytest.raises(InputShapeError, match=f"expected {xs.nbytes} bytes for shape"):
            read_request(wrong + b"abc", str(len(wrong)).encode(), model)
