"""A headless Chromium, driven through its own DevTools; knows no page."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

__all__ = ["CHROMIUM", "Tab", "tab"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
LONG = 60.0
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # containers run tests as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)


class Tab:
    """One page: go somewhere, evaluate JavaScript, take a picture."""

    def __init__(self, tools: ClientConnection) -> None:
        self._tools = tools
        self._number = 0
        self._session: str | None = None
        self.problems: list[str] = []  # exceptions and errors that the page logged
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        found = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = found["sessionId"]
        self.ask("Page.enable")
        self.ask("Runtime.enable")
        self.ask("Log.enable")

    def ask(self, method: str, **parameters: Any) -> Any:
        """Send a command of the protocol and return its result; note what the page complains of."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._tools.send(json.dumps(message))
        while True:
            answer = json.loads(self._tools.recv(LONG))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        if event["method"] == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(event["params"]["exceptionDetails"]))
        if event["method"] == "Log.entryAdded":
            entry = event["params"]["entry"]
            if entry["level"] in ("error", "warning"):
                self.problems.append(f"{entry['text']} {entry.get('url', '')}")

    def size(self, width: int, height: int, *, scale: float = 1, dark: bool = False) -> None:
        """Set the window's size, the pixels of one of CSS, and the scheme of colours."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url: str) -> None:
        self.ask("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """Evaluate an expression, wait for its promise, and return its value."""
        options = {"returnByValue": True, "awaitPromise": True, "userGesture": True}
        found = self.ask("Runtime.evaluate", expression=script, **options)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + LONG
        while not self.run(script):
            assert time.monotonic() < end, (script, self.problems)
            time.sleep(0.01)

    def picture(self) -> bytes:
        """Return a PNG of the window."""
        return base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])


@contextmanager
def tab() -> Iterator[Tab]:
    """Start a browser with one page."""
    from websockets.sync.client import connect

    assert CHROMIUM is not None
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        subprocess.Popen(
            [CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", "about:blank"],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        ) as browser,
    ):
        try:
            with connect(_tools(browser), max_size=None, compression=None) as tools:
                found = Tab(tools)
                yield found
                found._session = None
                found.ask("Browser.close")
        finally:
            browser.kill()


def _tools(browser: subprocess.Popen[str]) -> str:
    """Return where the browser listens, which it says on stderr."""
    assert browser.stderr is not None
    said = []
    for line in browser.stderr:
        said.append(line)
        if line.startswith("DevTools listening on "):
            return line.split()[-1]
    raise AssertionError("".join(said))
