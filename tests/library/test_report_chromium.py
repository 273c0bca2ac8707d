"""The report in a real browser: fits a phone, fetches nothing, says nothing in the console."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from websockets.sync.client import ClientConnection, connect

from tests.fixtures.evaluations import a_comparison
from whisper_retrain.report.html import html_report

pytestmark = [pytest.mark.slow, pytest.mark.browser]

NAMES = ("chromium", "chromium-browser", "google-chrome")


class Browser:
    """A headless Chromium, spoken to by the DevTools protocol."""

    def __init__(self, folder: Path) -> None:
        binary = next(filter(None, map(shutil.which, NAMES)), None)
        assert binary, f"no browser found ({', '.join(NAMES)}): apt-get install chromium"
        command = [binary, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        self.process = subprocess.Popen(
            [*command, "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        port_file = folder / "DevToolsActivePort"
        deadline = time.monotonic() + 60
        while not port_file.exists() or "\n" not in port_file.read_text():
            assert self.process.poll() is None, "the browser ended"
            assert time.monotonic() < deadline, "the browser does not answer"
            time.sleep(0.1)
        port, path = port_file.read_text().split("\n")[:2]
        self.socket: ClientConnection = connect(f"ws://127.0.0.1:{port}{path}", max_size=None)
        self.session: str | None = None
        self.events: list[dict[str, Any]] = []
        self.number = 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol; events that come meanwhile are kept."""
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.socket.send(json.dumps(message))
        while True:
            answer = json.loads(self.socket.recv(timeout=60))
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.events.append(answer)

    def open(self, page: Path, width: int, *, dark: bool = False) -> None:
        """Load a page in a window of this width and wait until it is there."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        found = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session, self.events = found["sessionId"], []
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=page.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(json.loads(self.socket.recv(timeout=60)))

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives on the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def seen(self, method: str) -> list[dict[str, Any]]:
        """Parameters of all events of one kind."""
        return [event["params"] for event in self.events if event.get("method") == method]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    try:
        yield browser
    finally:
        browser.socket.close()
        browser.process.terminate()
        browser.process.wait(20)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    page = tmp_path_factory.mktemp("report") / "report.html"
    flac = io.BytesIO()
    soundfile.write(flac, np.zeros(1600, dtype=np.float32), 16_000, format="FLAC")
    html = html_report(*a_comparison(0.15), audio=lambda _: flac.getvalue())
    page.write_text(html, encoding="utf-8")
    return page


@pytest.mark.parametrize("width", [320, 375, 768, 1280])
def test_nothing_is_wider_than_the_window(browser: Browser, report: Path, width: int) -> None:
    browser.open(report, width)
    assert browser.value("document.documentElement.scrollWidth") <= width
    small = "[...document.querySelectorAll('main *')].filter(e => e.textContent.trim() && "
    small += "parseFloat(getComputedStyle(e).fontSize) < 11).length"
    assert browser.value(small) == 0, "text too small to read"


def test_it_asks_nobody_for_anything_and_complains_about_nothing(
    browser: Browser, report: Path
) -> None:
    browser.open(report, 1280)
    browser.value("document.querySelector('audio').preload = 'auto'")
    playable = "document.querySelector('audio').duration"
    deadline = time.monotonic() + 60
    while browser.value(playable) != pytest.approx(0.1) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert browser.value(playable) == pytest.approx(0.1), "the recording cannot be played"
    asked = [one["request"]["url"] for one in browser.seen("Network.requestWillBeSent")]
    assert asked[0] == report.as_uri()
    assert all(url.startswith("data:") for url in asked[1:])
    assert browser.seen("Runtime.consoleAPICalled") == []
    assert [one["entry"]["text"] for one in browser.seen("Log.entryAdded")] == []


def test_the_decision_is_seen_without_scrolling_on_a_phone(browser: Browser, report: Path) -> None:
    browser.open(report, 375)
    place = "document.querySelector('#decision h1').getBoundingClientRect().bottom"
    assert 0 < browser.value(place) < 800


def test_dark_mode_is_dark_and_paper_is_white(browser: Browser, report: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    browser.open(report, 1280, dark=True)
    assert browser.value(ground) == "rgb(16, 23, 30)"
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.value(ground) == "rgb(255, 255, 255)"
    assert browser.value("getComputedStyle(document.querySelector('nav')).display") == "none"
