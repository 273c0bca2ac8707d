"""The report in a real browser: fits a phone, fetches nothing, says nothing in the console."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.fixtures.browser import Browser
from tests.fixtures.evaluations import a_comparison
from whisper_retrain.report.html import html_report

pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    try:
        yield browser
    finally:
        browser.close()


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
    browser.open(report.as_uri(), width)
    assert browser.value("document.documentElement.scrollWidth") <= width
    small = "[...document.querySelectorAll('main *')].filter(e => e.textContent.trim() && "
    small += "parseFloat(getComputedStyle(e).fontSize) < 11).length"
    assert browser.value(small) == 0, "text too small to read"


def test_it_asks_nobody_for_anything_and_complains_about_nothing(
    browser: Browser, report: Path
) -> None:
    browser.open(report.as_uri(), 1280)
    browser.value("document.querySelector('audio').preload = 'auto'")
    playable = "document.querySelector('audio').duration"
    deadline = time.monotonic() + 60
    while browser.value(playable) != pytest.approx(0.1) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert browser.value(playable) == pytest.approx(0.1), "the recording cannot be played"
    asked = [one["request"]["url"] for one in browser.seen("Network.requestWillBeSent")]
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
    assert browser.seen("Runtime.consoleAPICalled") == []
    assert [one["entry"]["text"] for one in browser.seen("Log.entryAdded")] == []


def test_the_decision_is_seen_without_scrolling_on_a_phone(browser: Browser, report: Path) -> None:
    browser.open(report.as_uri(), 375)
    place = "document.querySelector('#decision h1').getBoundingClientRect().bottom"
    assert 0 < browser.value(place) < 800


def test_dark_mode_is_dark_and_paper_is_white(browser: Browser, report: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    browser.open(report.as_uri(), 1280, dark=True)
    assert browser.value(ground) == "rgb(16, 23, 30)"
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.value(ground) == "rgb(255, 255, 255)"
    assert browser.value("getComputedStyle(document.querySelector('nav')).display") == "none"
