"""A page in a real browser: Debian's chromium without a window, asked over its debugging pipe. Knows no neurosim.

The pipe carries Chromium's own protocol as JSON with a zero byte behind each message, on file descriptors 3 and 4, so
neither a web socket nor a driver is needed.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

_PATIENCE = 60.0  # seconds for one answer


def chromium() -> str:
    """The program; in CI it must be there."""
    found = shutil.which("chromium")
    if found is None and os.environ.get("CI"):
        pytest.fail("chromium is missing: apt-get install chromium")
    return found or pytest.skip("chromium is not installed")


class Browser:
    """One page. `seen` holds every event of the protocol since the page was made, as (method, parameters)."""

    def __init__(self, to: int, from_: int) -> None:
        self.to, self.from_, self.rest, self.number, self.session = to, from_, b"", 0, None
        self.seen: list[tuple[str, dict]] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: object) -> dict:
        """One command and its answer."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while (found := self._next()).get("id") != self.number:
            self.seen.append((found.get("method", ""), found.get("params", {})))
        if "error" in found:
            raise AssertionError(f"{method}: {found['error']}")
        return found["result"]

    def _next(self) -> dict:
        end = time.monotonic() + _PATIENCE
        while b"\0" not in self.rest:
            if not select.select([self.from_], [], [], max(end - time.monotonic(), 0))[0]:
                raise AssertionError(f"chromium said nothing for {_PATIENCE:g} s")
            if not (more := os.read(self.from_, 1 << 20)):
                raise AssertionError("chromium has ended")
            self.rest += more
        one, self.rest = self.rest.split(b"\0", 1)
        return json.loads(one)

    def open(self, page: Path, width: int = 1100, scheme: str = "light", media: str = "") -> None:
        """Show a file in a window of this many CSS pixels, light or dark, on a screen or on "print"."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        self.ask("Emulation.setEmulatedMedia", media=media,
                 features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.seen.clear()
        self.ask("Page.navigate", url=page.resolve().as_uri())
        end = time.monotonic() + _PATIENCE
        while not any(method == "Page.loadEventFired" for method, _ in self.seen):
            assert time.monotonic() < end, "the page did not load"
            found = self._next()
            self.seen.append((found.get("method", ""), found.get("params", {})))
        self.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def value(self, expression: str) -> object:
        """What a JavaScript expression, or its promise, gives."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True,
                         userGesture=True)
        if "exceptionDetails" in found:
            raise AssertionError(found["exceptionDetails"])
        return found["result"].get("value")

    def complaints(self) -> list[str]:
        """Console messages, uncaught exceptions and log entries of the page since it was opened."""
        return [json.dumps(parameters) for method, parameters in self.seen
                if method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")]

    def requests(self) -> list[str]:
        """Everything that the page asked for, itself and what lies in it (`data:`) left out."""
        asked = [parameters for method, parameters in self.seen if method == "Network.requestWillBeSent"]
        return [one["request"]["url"] for one in asked
                if not one["request"]["url"].startswith("data:") and one.get("type") != "Document"]

    def screenshot(self, path: Path, clip: Mapping[str, float] | None = None) -> None:
        """The whole page as a PNG file."""
        found = self.ask("Page.captureScreenshot", captureBeyondViewport=True, **({"clip": clip} if clip else {}))
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser with an empty profile; ended with the block."""
    (read_here, from_), (to_there, to) = os.pipe(), os.pipe()
    with TemporaryDirectory() as folder:
        # the browser reads from descriptor 3 and writes to 4; no sandbox: root has none in a container
        script = 'exec 3<&"$1" 4>&"$2"; shift 2; exec "$@"'
        process = subprocess.Popen(
            ["bash", "-c", script, "bash", str(to_there), str(from_), chromium(), "--headless=new", "--no-sandbox",
             "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--hide-scrollbars", f"--user-data-dir={folder}", "--remote-debugging-pipe",
             "about:blank"], pass_fds=(to_there, from_), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_there)
        os.close(from_)
        try:
            yield Browser(to, read_here)
        finally:
            process.terminate()
            process.wait(20)
            os.close(to)
            os.close(read_here)
