"""A headless Chromium that tests hold by its debugging pipe: pages are opened, asked, clicked and looked at."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe")
_LONGEST = 120  # seconds that a test holds a browser, which is ended then


class Page:
    """A page of a browser.

    Parameters
    ----------
    commands, answers
        File descriptors of the debugging pipe.
    """

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = os.fdopen(commands, "wb", buffering=0)
        self._answers = os.fdopen(answers, "rb")
        self._count = 0
        self._session: str | None = None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def close(self) -> None:
        """End the browser."""
        self._session = None
        self.send("Browser.close")
        self._commands.close()
        self._answers.close()

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the browser's answer to a command of the DevTools protocol."""
        self._count += 1
        command: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            command["sessionId"] = self._session
        self._commands.write(json.dumps(command).encode() + b"\0")
        while True:
            message = json.loads(self._next_message())
            if message.get("id") == self._count:
                assert "error" not in message, message
                return dict(message["result"])

    def _next_message(self) -> bytes:
        message = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            assert byte, "the browser has ended"
            message += byte
        return bytes(message)

    def open(self, address: str) -> None:
        """Go to an address."""
        self.send("Page.navigate", url=address)

    def ask(self, expression: str) -> Any:
        """Return what an expression of JavaScript is, or what it promises."""
        answer = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> Any:
        """Return what an expression is once it is true."""
        return self.ask(
            f"new Promise((done) => {{ const look = () => {{ let found; try {{ found = {condition}; }} catch {{}}"
            " found ? done(found) : setTimeout(look, 20); }; look(); })"
        )

    def choose(self, selector: str, path: Path) -> None:
        """Choose a file."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def show_on(self, width: int, height: int, scheme: str) -> None:
        """Show the page on a screen of a size in pixels, light or dark."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self) -> bytes:
        """Return a PNG of the whole page."""
        return base64.b64decode(self.send("Page.captureScreenshot", captureBeyondViewport=True)["data"])


def _pipe() -> tuple[int, int]:
    """Return the ends of a pipe, numbered beyond those that the browser expects its own to have."""
    ends = os.pipe()
    found = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return found[0], found[1]


@contextmanager
def browsing(profile: Path, *options: str) -> Iterator[Page]:
    """Start a browser with a folder of its own; skip the test if there is none."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        pytest.skip("Chromium is not installed")
    (read_here, write_there), (read_there, write_here) = _pipe(), _pipe()

    def as_the_browser_expects() -> None:
        os.dup2(read_there, 3)
        os.dup2(write_there, 4)

    process = subprocess.Popen(
        [browser, *_OPTIONS, *options, f"--user-data-dir={profile}"],
        preexec_fn=as_the_browser_expects,
        pass_fds=(3, 4),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = threading.Timer(_LONGEST, process.kill)
    end.start()
    os.close(read_there)
    os.close(write_there)
    try:
        with closing(Page(write_here, read_here)) as page:
            yield page
    finally:
        end.cancel()
        process.kill()
        process.wait()


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine; its address, which ends with a slash."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
