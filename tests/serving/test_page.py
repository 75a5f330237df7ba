"""The page, in headless Chromium: what it shows is what the service does, and names of clients do nothing."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from browser import Page, browsing, find_browser
from serving import Process, asked, hello, mixed_model, saved, serving
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from grurt.demo import MODEL_PATH, load_model, load_recordings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_browser() is None, reason="Chromium is not installed"),
]


@pytest.fixture(scope="module")
def service() -> Iterator[Process]:
    with serving(MODEL_PATH) as process:
        yield process


@pytest.fixture
def page(service: Process, tmp_path: Path) -> Iterator[Page]:
    with browsing(tmp_path / "profile") as browser:
        browser.open(service.address)
        browser.wait_for("document.getElementById('state').className === 'good'")
        yield browser
        assert browser.errors == []


def table(page: Page, rows: str) -> list[list[str]]:
    cells = f"[...document.querySelectorAll('#{rows} tr')].map((row) => [...row.cells].map((cell) => cell.innerText))"
    return page.ask(cells)  # type: ignore[no-any-return]


def choose(page: Page, **values: Any) -> None:
    for name, value in values.items():
        page.ask(f"document.getElementById('stream-{name}').value = {json.dumps(value)}")
        page.ask(f"document.getElementById('stream-{name}').dispatchEvent(new Event('change'))")


def test_a_recording_is_streamed_and_seen_live(service: Process, page: Page) -> None:
    page.wait_for("document.getElementById('stream-source').options.length === 5")
    choose(page, session="from-the-page", source="recording: Walking", rate=500)
    page.ask("document.getElementById('stream-start').click()")
    page.wait_for("document.getElementById('stream-state').innerText === '100 of 100 samples answered: done'")
    page.wait_for("document.getElementById('live-note').innerText === '100 messages seen'")
    assert page.ask("document.getElementById('live-name').innerText") == "from-the-page"
    legend = page.ask("[...document.querySelectorAll('#output-legend b')].map((b) => b.innerText)")
    assert legend == [f"probabilities {i}" for i in range(4)]
    drawn = "(id) => new Set(document.getElementById(id).getContext('2d').getImageData(0, 0, 900, 140).data).size"
    assert all(page.ask(f"({drawn})('{canvas}')") > 20 for canvas in ("inputs", "outputs"))
    page.wait_for("document.querySelector('#session-rows tr')?.cells[2].innerText === '100'")
    (row,) = (row for row in table(page, "session-rows") if row[0] == "from-the-page")
    assert row[1] == "activity"
    recordings = load_recordings()
    walking = recordings.samples[recordings.labels == recordings.classes.index("Walking")][0]
    expected = load_model().run(walking)[-1]
    found = page.ask("document.querySelector('#session-rows .bars').title")
    np.testing.assert_allclose([float(value) for value in found.split()], expected, rtol=6e-3, atol=1e-9)


def test_a_csv_file(page: Page) -> None:
    page.wait_for("document.getElementById('stream-source').options.length === 5")
    parse = "import('/streaming.js').then(({ parseCsv }) => parseCsv(%s, 2))"
    assert page.ask(parse % json.dumps("a,b\n1,2\n\n3.5;-4\r\n")) == [[1, 2], [3.5, -4]]
    for text, message in (("1,2\n3", "line 2: expected 2 numbers, got 3"), ("", "got none"), ("1,2\n1,x", "line 2")):
        caught = page.ask((parse % json.dumps(text)) + ".catch((error) => error.message)")
        assert message in caught
    choose(page, source="a CSV file")
    page.ask("document.getElementById('stream-start').click()")
    page.wait_for("document.getElementById('stream-state').innerText === 'choose a CSV file'")


def test_sessions_of_others_and_what_is_refused(service: Process, page: Page) -> None:
    with service.connect("session=device-7") as connection:
        hello(connection)
        asked(connection, load_recordings().samples[0, :5].tobytes())
        asked(connection, b"x")
        page.wait_for(
            "[...document.querySelectorAll('#session-rows tr')].some((r) => r.innerText.includes('device-7'))"
        )
        page.wait_for("document.getElementById('refusal-rows').innerText.includes('samples of 24 bytes')")
        (row,) = (row for row in table(page, "session-rows") if row[0] == "device-7")
        assert (row[2], row[5]) == ("5", "connected")
    name = quote("<img src=x onerror=\"document.title='taken'\">")
    with service.connect(f"session={name}") as connection, pytest.raises(ConnectionClosed):
        connection.recv(timeout=20)
    page.wait_for("document.getElementById('refusal-rows').innerText.includes('<img src=x')")
    assert page.ask("document.title") == "grurt serve"
    assert page.ask("document.images.length") == 0


def test_sessions_without_a_name_and_those_of_numbers_can_be_seen_live(service: Process) -> None:
    address = f"ws{service.address.removeprefix('http')}/watch?model=activity&session={{}}"
    sample = load_recordings().samples[0, 0]
    with service.connect() as connection:
        key = hello(connection)["session"]
        with connect(address.format(quote(key)), compression=None) as watcher:
            answer = np.frombuffer(asked(connection, sample.tobytes()), "<f4")
            seen = json.loads(watcher.recv(timeout=20))
    assert seen["n"] == 1
    np.testing.assert_array_equal(np.array(seen["inputs"]["samples"], "f4"), sample[np.newaxis])
    np.testing.assert_array_equal(np.array(seen["outputs"]["probabilities"], "f4"), answer[np.newaxis])


def test_it_asks_for_a_token(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("token-of-everybody-1\n")
    with serving(MODEL_PATH, "--tokens", path) as process, browsing(tmp_path / "profile") as browser:
        browser.open(process.address)
        browser.wait_for("!document.getElementById('token-form').hidden")
        browser.ask("document.getElementById('token').value = 'token-of-everybody-1'")
        browser.ask("document.querySelector('#token-form button').click()")
        browser.wait_for("document.getElementById('state').className === 'good'")
        browser.wait_for("document.getElementById('stream-source').options.length === 5")
        choose(browser, rate=500)
        browser.ask("document.getElementById('stream-start').click()")
        browser.wait_for("document.getElementById('stream-state').innerText.endsWith(': done')")


def test_it_tells_which_model_is_served(tmp_path: Path) -> None:
    path = saved(mixed_model(1), tmp_path, "mixed")
    with serving(path) as process, browsing(tmp_path / "profile") as browser:
        browser.open(process.address)
        models = "document.getElementById('model-list').innerText"
        browser.wait_for(f"{models}.startsWith('mixed: ')")
        with process.connect("session=old") as connection:
            hello(connection)
            saved(mixed_model(2), tmp_path, "mixed")
            process._process.send_signal(signal.SIGHUP)
            browser.wait_for(f"{models}.includes('mixed (version 1), replaced: 1 session')")
            assert "mixed (version 2): 0 samples" in browser.ask(models)
            browser.wait_for(
                "document.querySelector('#session-rows td:nth-child(2)').innerText === 'mixed (version 1)'"
            )
            asked(connection, {"sensor": [0, 0, 0], "word": 1})
            connection.send('{"command": "end"}')
            with pytest.raises(ConnectionClosed):
                connection.recv(timeout=20)
        browser.wait_for(f"!{models}.includes('replaced')")
        assert browser.errors == []


@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_is_wider_than_the_screen(page: Page, width: int) -> None:
    for scheme in ("light", "dark"):
        page.show_on(width, 900, scheme)
        assert page.ask("document.documentElement.scrollWidth") <= width
        assert page.screenshot().startswith(b"\x89PNG")
    assert page.ask("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"


def test_the_page_names_no_other_host(service: Process) -> None:
    for path in ("/", "/page.css", "/page.js", "/chart.js", "/streaming.js"):
        assert not re.search(r"https?://|//[a-z]+\.", service.get(path)), path
