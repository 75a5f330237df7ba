"""Drives a headless Chromium by its DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0")


def find_browser() -> str | None:
    """Return the path of Chromium; None if it is not installed."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def browsing() -> Iterator[Browser]:
    """Run a headless Chromium with one page."""
    program = find_browser()
    assert program is not None
    with tempfile.TemporaryDirectory(prefix="grurt-browser-", ignore_cleanup_errors=True) as folder:
        log = Path(folder) / "log"
        with log.open("w") as stderr:
            command = [program, *OPTIONS, f"--user-data-dir={folder}/profile", "about:blank"]
            process = subprocess.Popen(command, stderr=stderr, stdout=subprocess.DEVNULL)
        try:
            with connect(_page_address(log), max_size=None, compression=None) as connection:
                yield Browser(connection)
        finally:
            process.terminate()
            process.wait(timeout=20)


def _page_address(log: Path) -> str:
    """Return the address at which the one page of a browser that starts can be driven."""
    deadline = time.monotonic() + 60
    while not (found := re.search(r"ws://([^/]+)/", log.read_text())):
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    with urllib.request.urlopen(f"http://{found[1]}/json", timeout=20) as response:
        targets = json.loads(response.read())
    return next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page")  # type: ignore[no-any-return]


class Browser:
    """The page of a headless Chromium."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol, and return its result; errors of the page are collected meanwhile."""
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(timeout=60))
            if message.get("method") == "Runtime.exceptionThrown":
                self.errors.append(str(message["params"]["exceptionDetails"]))
            if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.errors.append(str(message["params"]["entry"]))
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]  # type: ignore[no-any-return]

    def open(self, address: str) -> None:
        """Go to an address."""
        self.call("Page.navigate", url=address)
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression on the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until an expression holds on the page, for 30 seconds at most."""
        deadline = time.monotonic() + 30
        while not self.evaluate(condition):
            assert time.monotonic() < deadline, (condition, self.evaluate("document.body.innerText"), self.errors)
            time.sleep(0.05)

    def look(self, path: Path, *, width: int, dark: bool) -> None:
        """Write a picture of the page as it looks on a screen of some width."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        self.evaluate("new Promise((done) => setTimeout(done, 150))")
        content = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(content))
