"""Headless Chromium for tests, as Debian's packages chromium and chromium-driver bring it."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""How W3C's WebDriver names the field that holds an element's id."""


class Browser:
    """Chromium, through chromedriver's WebDriver interface."""

    def __init__(self, driver: str) -> None:
        self.driver = driver
        self.session = ""

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if method == "GET" else json.dumps(body or {}).encode()
        request = urllib.request.Request(
            f"{self.driver}{path}", data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=300) as response:
            return json.load(response)["value"]

    def begin(self) -> None:
        arguments = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,800"]
        options = {"args": arguments, "binary": shutil.which("chromium")}
        logs = {"browser": "ALL", "performance": "ALL"}
        capabilities = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": logs}}
        self.session = self.ask("POST", "/session", {"capabilities": capabilities})["sessionId"]

    def act(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return self.ask(method, f"/session/{self.session}{path}", body)

    def open(self, url: str) -> None:
        self.act("POST", "/url", {"url": url})

    def run(self, script: str) -> Any:
        return self.act("POST", "/execute/sync", {"script": script, "args": []})

    def text(self) -> str:
        return str(self.run("return document.body ? document.body.innerText : ''"))

    def elements(self, css: str) -> list[str]:
        return [one[ELEMENT] for one in self.act("POST", "/elements", {"using": "css selector", "value": css})]

    def picture(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self.act("GET", "/screenshot")))

    def devtools(self, command: str, **parameters: Any) -> Any:
        """A command of Chromium's own DevTools protocol."""
        return self.act("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """The size of the page's window in CSS pixels, narrower ones than a window can be included."""
        scale = {"deviceScaleFactor": 2 if phone else 1, "mobile": phone}
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, **scale)

    def click(self, css: str, place: int = 0) -> None:
        self.act("POST", f"/element/{self.elements(css)[place]}/click")

    def press(self, *keys: str) -> None:
        """Keys, to whatever has the focus."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.act("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def log(self) -> list[dict[str, Any]]:
        """What the page wrote to its console since the last call, errors and refused requests included."""
        return list(self.act("POST", "/se/log", {"type": "browser"}))

    def traffic(self) -> list[str]:
        """Addresses that the browser asked, or wanted to ask, since the last call."""
        messages = [
            json.loads(one["message"])["message"] for one in self.act("POST", "/se/log", {"type": "performance"})
        ]
        return [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser of its own, for as long as it is used."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        browser = Browser(f"http://127.0.0.1:{port}")
        wait(lambda: browser.ask("GET", "/status")["ready"])
        browser.begin()
        yield browser
        browser.act("DELETE", "")
    finally:
        driver.terminate()
        driver.wait(30)


@pytest.fixture
def browser() -> Iterator[Browser]:
    if shutil.which("chromedriver") is None or shutil.which("chromium") is None:
        pytest.skip("Debian's packages chromium and chromium-driver are not there")
    with chromium() as found:
        yield found


def wait(condition: Callable[[], Any], seconds: float = 240) -> Any:
    """Until a condition holds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := condition():
                return found
        except (urllib.error.URLError, ConnectionError):
            pass
        assert time.monotonic() < deadline
        time.sleep(0.3)
