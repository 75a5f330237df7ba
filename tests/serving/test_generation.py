"""Texts and generation over the service: the tokens of a stream, whoever else is there, and the state behind them."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
from serving import Process, asked, curl, hello, mixed_model, saved, serving, wait_for
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

import grurt
from grurt.errors import GrurtError, InputShapeError, InputTypeError, InputValueError
from grurt.serving.errors import BusyError, SessionEndedError
from grurt.serving.generation_requests import read_generation
from grurt.serving.layout import layout_of
from grurt.serving.limits import Limits
from grurt.serving.service import Service
from grurt.serving.session_generation import SessionGeneration

LETTERS = grurt.Vocabulary(tokens=tuple(".abcdefghijklmnopqrstuvwxyz,' "), split="characters", end=0)
WORDS = grurt.Vocabulary(tokens=("", "[UNK]", *(f"w{i}" for i in range(28))), unknown=1, padding=0)


def writer(vocabulary: grurt.Vocabulary = LETTERS, hidden: int = 24) -> grurt.Model:
    layers = [
        grurt.Embedding(name="embedding", vocabulary_size=30, size=8),
        grurt.GRU(name="gru", input_size=8, hidden_size=hidden),
        grurt.Linear(name="fc", input_size=hidden, output_size=30),
    ]
    model = models.layer_model(*layers, rng=np.random.default_rng(4), inputs=[grurt.TokenInput("x", 30)])
    return model.replaced(vocabularies={"x": vocabulary})


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("generation")
    paths = [saved(writer(), folder, "letters"), saved(writer(WORDS), folder, "words")]
    paths += [saved(writer(hidden=700), folder, "large"), saved(mixed_model(), folder, "mixed")]
    with serving(*paths, "--max-tokens", 2000, "--max-generation", 2) as process:
        yield process


def generated(connection: ClientConnection, **options: Any) -> tuple[list[int], str | None, dict[str, Any]]:
    """Return all tokens that a request gives, their text, and the last reply."""
    connection.send(json.dumps({"command": "generate"} | options))
    tokens: list[int] = []
    texts: list[str] = []
    while True:
        reply = json.loads(connection.recv(timeout=20))
        if "generated" not in reply:
            return tokens, None, reply
        tokens += reply["generated"]["tokens"]
        texts += [reply["generated"]["text"]] if "text" in reply["generated"] else []
        if "done" in reply:
            return tokens, "".join(texts) if texts else None, reply


@pytest.mark.slow
def test_a_text_is_samples(service: Process) -> None:
    expected = writer().run_text("once upon")
    with service.connect("model=letters") as connection:
        assert hello(connection)["inputs"][0]["takes_text"] is True
        for message in ("once ", {"x": "upon"}):
            reply = asked(connection, message)
            found = np.array(reply["outputs"]["y"], "f4")
            np.testing.assert_array_equal(found, expected[reply["steps"] - len(found) : reply["steps"]])
        assert "expected what is in the vocabulary, got 'Ö'" in asked(connection, "Ö")["error"]["message"]
        assert "as many samples of each input, and not none" in asked(connection, "")["error"]["message"]
        assert asked(connection, "a")["steps"] == 10


@pytest.mark.slow
def test_blocks_come_as_a_stream_gives_them_and_the_session_goes_on_behind(service: Process) -> None:
    stream = writer().stream()
    options: dict[str, Any] = {"temperature": 0.8, "top_k": 20, "seed": 7}
    with service.connect("model=letters&session=goes-on") as connection:
        hello(connection)
        asked(connection, "ka")
        stream.run("ka")
        prompt: Any = "lo"
        for _ in range(3):
            expected = np.concatenate([*stream.generate(prompt, 50, block_size=8, stop=[0], **options)]).tolist()
            tokens, text, last = generated(connection, prompt=prompt, max_tokens=50, block_size=8, stop=0, **options)
            assert tokens == expected
            assert text == (LETTERS.decode(expected) if isinstance(prompt, str) else None)
            assert (last["done"], last["steps"]) == ("stop" if expected[-1] == 0 else "length", stream.steps)
            assert base64.b64decode(asked(connection, {"command": "snapshot"})["snapshot"]) == stream.snapshot()
            prompt = [tokens[-1]]
            options["seed"] += 1


@pytest.mark.slow
def test_words_are_joined_as_texts_are(service: Process) -> None:
    with service.connect("model=words") as connection:
        hello(connection)
        _, text, last = generated(connection, prompt="w3 w4", max_tokens=40, seed=3, block_size=7, top_p=0.9)
    assert last["done"] == "length"
    assert text == writer(WORDS).generate_text("w3 w4", 40, seed=3, top_p=0.9)


@pytest.mark.slow
def test_what_comes_while_it_generates_waits_and_replies_keep_their_order(service: Process) -> None:
    stream = writer().stream()
    tokens = np.concatenate([*stream.generate([3, 1], 100, seed=2)])
    sample = np.array(5, "<i8").tobytes()
    with service.connect("model=letters") as connection:
        hello(connection)
        connection.send(json.dumps({"command": "generate", "prompt": [3, 1], "max_tokens": 100, "seed": 2}))
        connection.send(sample)
        connection.send(json.dumps({"command": "generate", "prompt": [40], "max_tokens": 10}))
        connection.send(sample)
        found: list[int] = []
        while len(found) < 100:
            found += json.loads(connection.recv(timeout=20))["generated"]["tokens"]
        assert found == tokens.tolist()
        assert connection.recv(timeout=20) == stream.step(5).tobytes()
        error = json.loads(connection.recv(timeout=20))
        assert "expected a token id in [0, 30), got 40" in error["error"]["message"]
        assert error["steps"] == stream.steps
        assert connection.recv(timeout=20) == stream.step(5).tobytes()


@pytest.mark.slow
def test_others_go_on_while_it_generates_and_two_take_turns(service: Process) -> None:
    order: list[str] = []

    def generate(name: str) -> None:
        with service.connect("model=large") as connection:
            hello(connection)
            connection.send(json.dumps({"command": "generate", "prompt": [1], "max_tokens": 400, "block_size": 8}))
            while "done" not in json.loads(connection.recv(timeout=20)):
                order.append(name)

    threads = [threading.Thread(target=generate, args=(name,)) for name in ("a", "b")]
    with service.connect("model=mixed") as connection:
        hello(connection)
        for thread in threads:
            thread.start()
        answers = 0
        while any(thread.is_alive() for thread in threads):
            asked(connection, {"sensor": [0, 0, 0], "word": 1})
            answers += 1
    assert answers > 20
    middle = order[20:80]
    assert 20 <= middle.count("a") <= 40, order


@pytest.mark.slow
def test_who_breaks_off_leaves_the_session_as_it_was(service: Process) -> None:
    stream = writer(hidden=700).stream()
    with service.connect("model=large&session=broken") as connection:
        hello(connection)
        asked(connection, "ab")
        stream.run("ab")
        connection.send(json.dumps({"command": "generate", "prompt": "c", "max_tokens": 1900, "stop": []}))
        assert "done" not in json.loads(connection.recv(timeout=20))
    with service.connect("model=large&session=broken") as connection:
        assert hello(connection)["steps"] == 2
        connection.send(json.dumps({"command": "generate", "prompt": "c", "max_tokens": 1900, "stop": []}))
        connection.recv(timeout=20)
        with service.connect("model=large&session=broken&takeover=1") as other:
            assert hello(other)["steps"] == 2
            sample = np.array(3, "<i8").tobytes()
            assert asked(other, sample) == stream.step(3).tobytes()
            with pytest.raises(ConnectionClosed, match="4001"):
                all(connection.recv(timeout=20) for _ in range(1000))
    wait_for(lambda: "grurt_generating_requests 0.0" in service.get("/metrics"))


@pytest.mark.slow
def test_it_ends_when_its_time_is_over(tmp_path: Path) -> None:
    path = saved(writer(hidden=700), tmp_path, "large")
    with serving(path, "--max-generation", 0.05) as process, process.connect("session=s") as connection:
        hello(connection)
        tokens, _, last = generated(connection, prompt=[1], max_tokens=4000, block_size=8, stop=[])
        assert last["done"] == "time"
        assert last["steps"] == len(tokens)
        assert len(tokens) < 4000


@pytest.mark.slow
def test_a_session_that_replays_does_not_generate(service: Process) -> None:
    with service.connect("model=letters&session=exact&replay=1") as connection:
        hello(connection)
        _, _, reply = generated(connection, prompt=[1])
        assert "generate: a session that replays counts on from sample to sample" in reply["error"]["message"]


@pytest.mark.slow
def test_what_generates_when_the_service_ends_is_told_to_come_back(tmp_path: Path) -> None:
    path = saved(writer(hidden=700), tmp_path, "large")
    with serving(path) as process, process.connect("session=s") as connection:
        hello(connection)
        connection.send(json.dumps({"command": "generate", "prompt": [1], "max_tokens": 4000, "stop": []}))
        replies: list[Any] = []
        body = {"tokens": [1], "max_tokens": 4000}
        asking = threading.Thread(target=lambda: replies.append(post(process, "large/generate", body)))
        asking.start()
        wait_for(lambda: "grurt_generating_requests 2.0" in process.get("/metrics"))
        process._process.send_signal(signal.SIGTERM)
        asking.join()
        assert replies == [(503, {"error": "the service restarts: come back"})]
        with pytest.raises(ConnectionClosed, match="1012"):
            all(connection.recv(timeout=20) for _ in range(1000))
        assert process.end(None) == (0, "")


def post(service: Process, path: str, body: Any) -> tuple[int, Any]:
    return curl("-d", json.dumps(body), f"{service.address}/v2/models/{path}")


@pytest.mark.slow
def test_over_http(service: Process) -> None:
    options = {"max_tokens": 60, "seed": 5, "temperature": 0.9}
    expected = writer().generate("ab", 60, seed=5, temperature=0.9, stop=0)
    status, answer = post(service, "letters/generate", {"text_input": "ab", "id": "r1", "parameters": options})
    assert (status, answer["tokens"], answer["id"]) == (200, expected.tolist(), "r1")
    assert answer["text_output"] == writer().generate_text("ab", 60, seed=5, temperature=0.9)
    assert (answer["model_name"], answer["model_version"]) == ("letters", "1")
    status, answer = post(service, "letters/versions/1/generate", {"tokens": [1, 2], "stop": [], **options})
    assert (answer["done"], "text_output" in answer) == ("length", False)
    assert answer["tokens"] == writer().generate([1, 2], 60, seed=5, temperature=0.9).tolist()


@pytest.mark.slow
def test_a_sequence_goes_on_over_http(service: Process) -> None:
    stream = writer().stream()
    prompt: list[int] = [3, 4]
    for turn in range(3):
        expected = np.concatenate([*stream.generate(prompt, 20, seed=turn)]).tolist()
        parameters = {"sequence_id": "novel", "sequence_start": turn == 0, "sequence_end": turn == 2}
        body = {"tokens": prompt, "max_tokens": 20, "seed": turn, "parameters": parameters}
        _, answer = post(service, "letters/generate", body)
        assert answer["tokens"] == expected
        prompt = expected[-1:]
    status, answer = post(service, "letters/generate", {"tokens": [1], "parameters": {"sequence_id": "novel"}})
    assert (status, "must specify the START flag" in answer["error"]) == (400, True)


@pytest.mark.slow
def test_events_come_as_blocks(service: Process) -> None:
    body = {"text_input": "ab", "parameters": {"max_tokens": 50, "block_size": 16, "stop": [], "seed": 1}}
    address = f"{service.address}/v2/models/letters/generate_stream"
    with urllib.request.urlopen(urllib.request.Request(address, json.dumps(body).encode()), timeout=20) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.read().decode().split("\n\n")
    assert lines.pop() == ""
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert [len(event["tokens"]) for event in events] == [16, 16, 16, 2]
    assert [event.get("done") for event in events] == [None, None, None, "length"]
    expected = writer().generate("ab", 50, seed=1)
    assert [token for event in events for token in event["tokens"]] == expected.tolist()
    assert "".join(event["text_output"] for event in events) == LETTERS.decode(expected)
    status, answer = post(service, "letters/generate_stream", {"tokens": [50]})
    assert (status, "expected a token id in [0, 30), got 50" in answer["error"]) == (400, True)


@pytest.mark.slow
def test_what_http_refuses(service: Process) -> None:
    for body in ({}, {"tokens": [1], "text_input": "a"}):
        status, answer = post(service, "letters/generate", body)
        message = "generate: expected text_input, a text, or tokens, a list of token ids, and not both"
        assert (status, answer["error"]) == (400, message)
    status, answer = post(service, "mixed/generate", {"tokens": [1]})
    assert (status, "Stream.generate" in answer["error"]) == (400, True)
    assert post(service, "nothing/generate", {"tokens": [1]})[0] == 404


def test_what_was_reset_while_it_generated_is_not_overwritten() -> None:
    async def run() -> None:
        model = writer()
        loop = asyncio.get_running_loop()
        service = Service({"letters": model}, Limits(runs=1), None, loop.call_soon)
        session = await service.open(service.rooms["letters"], "ann", None)
        request = read_generation({"prompt": [1], "max_tokens": 40}, model, service.limits)
        generation = SessionGeneration(service, session, request)
        blocks = generation.blocks()
        await anext(blocks)
        with pytest.raises(BusyError, match="expected at most 1 requests at once, and there are as many: come back"):
            SessionGeneration(service, session, request)
        service.end(session)
        with pytest.raises(SessionEndedError, match="the session has ended, or was reset, while it generated"):
            [block async for block in blocks]
        assert service.generators.n_running == 0
        with pytest.raises(
            InputShapeError, match="message: expected samples whose answers take at most 67,108,864 bytes"
        ):
            service.expect_room_for(service.rooms["letters"].layout, 1 << 20)

    asyncio.run(run())


@pytest.mark.slow
@pytest.mark.parametrize("path", ["generate", "generate_stream"])
def test_a_client_of_http_that_goes_away_leaves_the_sequence_as_it_was(service: Process, path: str) -> None:
    start = {"sequence_id": f"away-{path}", "sequence_start": True}
    post(service, "large/generate", {"tokens": [1, 2], "max_tokens": 1, "parameters": start})
    body = {"tokens": [3], "max_tokens": 1900, "parameters": {"sequence_id": f"away-{path}"}}
    content = json.dumps(body).encode()
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as bare:
        head = f"POST /v2/models/large/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
        bare.sendall(head.encode() + content)
        wait_for(lambda: "grurt_generating_requests 1.0" in service.get("/metrics"))
    begun = time.monotonic()
    wait_for(lambda: "grurt_generating_requests 0.0" in service.get("/metrics"))
    assert time.monotonic() - begun < 1.5, "not when its time is over"
    with service.connect(f"model=large&session=away-{path}") as connection:
        assert hello(connection)["steps"] == 2


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, InputTypeError, "generate: prompt: expected a text, or a list of token ids, got None"),
        ({"prompt": 3}, InputTypeError, "expected a text, or a list of token ids"),
        ({"prompt": [1.5]}, InputTypeError, "generate: prompt: expected integers, got float 1.5"),
        ({"prompt": [2**64 - 1]}, InputValueError, "expected integers of 64 bits, got a larger one"),
        ({"prompt": "É"}, InputValueError, "expected what is in the vocabulary"),
        ({"prompt": [1], "beams": 3}, InputTypeError, "expected prompt, and some of max_tokens, .* got 'beams'"),
        ({"prompt": [1], "temperature": "hot"}, InputTypeError, "temperature: expected a number, got 'hot'"),
        ({"prompt": [1], "seed": 1.0}, InputTypeError, "generate: seed: expected an integer, got 1.0"),
        ({"prompt": [1], "stop": [[1]]}, InputTypeError, "generate: stop: expected integers, got list"),
        ({"prompt": [1], "allowed": [0.5]}, InputTypeError, "allowed: expected true, false, 0 or 1, got float"),
        ({"prompt": [1], "allowed": [[True], []]}, InputShapeError, "expected lists of equal lengths"),
        ({"prompt": [1], "inputs": [1]}, InputTypeError, "inputs: expected an object of inputs by name, got"),
        ({"prompt": [1], "output": 1}, InputTypeError, "generate: output: expected a text, got 1"),
        ({"prompt": [1] * 9, "max_tokens": 2}, InputShapeError, "at most 10 with the 9 of the prompt, got max_"),
        ({"prompt": [1], "max_tokens": 0}, InputShapeError, "generate: expected at least 1 token, and at most 10"),
        ({"prompt": [1] * 10}, InputShapeError, "at most 10 with the 10 of the prompt, got max"),
    ],
)
def test_requests_that_are_none(given: dict[str, Any], error: type[GrurtError], message: str) -> None:
    with pytest.raises(error, match=message):
        read_generation(given, writer(), Limits(tokens=10))


def test_every_option_is_taken() -> None:
    model = writer()
    given = {
        "prompt": "ab", "max_tokens": 5, "seed": 3, "block_size": 2, "temperature": 1, "top_k": 4, "top_p": 0.5,
        "repetition_penalty": 1.5, "stop": 7, "prefix": "b", "allowed": [True] * 30, "inputs": {}, "output": "y",
    }  # fmt: skip
    asked_for = read_generation(given, model, Limits())
    found = [*model.stream().generate(asked_for.prompt, asked_for.max_tokens, seed=3, **asked_for.options)]
    options = {name: given[name] for name in ("temperature", "top_k", "top_p", "repetition_penalty", "stop")}
    assert np.concatenate(found).tolist() == model.generate("ab", 5, seed=3, prefix=[2], **options).tolist()  # type: ignore[arg-type]
    assert asked_for.stop == {7}
    assert (asked_for.block_size, asked_for.as_text) == (2, True)


def test_texts_are_told_from_samples() -> None:
    layout = layout_of(writer())
    assert not layout.is_single("a")
    assert layout.is_single(3)
    with pytest.raises(InputTypeError, match="expected integers, got str"):
        layout_of(mixed_model()).from_json({"sensor": [0, 0, 0], "word": "a"})
