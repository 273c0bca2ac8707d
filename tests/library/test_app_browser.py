"""The web application in a real browser: spoken into, corrected, by keyboard, on a phone, at night.

Full Chromium with a file for a microphone, real S3, a real Hub, the real Whisper tiny.en.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.fixtures.app import RunningApp, Visitor, running_app
from tests.fixtures.browser import Browser
from tests.fixtures.hub import HubServer
from tests.fixtures.recordings import corpus, write_folder
from tests.fixtures.s3 import S3Server
from whisper_retrain.app.correction_store import SOURCE
from whisper_retrain.config import (
    Columns,
    DatasetConfig,
    DatasetSource,
    DecodingConfig,
    SplitPolicy,
)
from whisper_retrain.data.refresh import refresh_dataset
from whisper_retrain.evaluation.transformers_runtime import load_transcriber
from whisper_retrain.local.demo.base_model import convert_base_model
from whisper_retrain.local.demo.recording import record
from whisper_retrain.local.demo.speakers import TRAIN_SPEAKERS

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(300)]

SENTENCE = "He was given amoxicillin for the left ear."
AXE = "axe-core@4.11.0"
SERIOUS = (
    "axe.run().then(r => r.violations.filter(v => ['serious', 'critical'].includes(v.impact))"
    ".map(v => v.id + ': ' + v.nodes.map(n => n.html.slice(0, 160)).join(' | ')))"
)
"""What axe-core complains about, with the elements."""
BUTTON = "[...document.querySelectorAll('gradio-app button')].find(b => {})"


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert_base_model(tmp_path_factory.mktemp("base") / "whisper-tiny.en")


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence in a voice of the demo corpus, with silence after it, as a WAV file."""
    [flac] = list(record(TRAIN_SPEAKERS[0], [SENTENCE]))
    samples, rate_hz = soundfile.read(io.BytesIO(flac), dtype="float32")
    path = tmp_path_factory.mktemp("spoken") / "sentence.wav"
    soundfile.write(path, np.concatenate([samples, np.zeros(rate_hz * 2)]), rate_hz, "PCM_16")
    return path


@pytest.fixture(scope="module")
def app(
    hub_server: HubServer,
    s3_server: S3Server,
    model_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningApp]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment().items():
            patch.setenv(name, value)
        cache = tmp_path_factory.mktemp("cache")
        with running_app(hub_server, s3_server.store(), model_dir, cache) as app:
            yield app


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, spoken: Path) -> Iterator[Browser]:
    browser = Browser(
        tmp_path_factory.mktemp("chromium"),
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={spoken}%noloop",
        # No finger has touched the page when a script clicks on a word.
        "--autoplay-policy=no-user-gesture-required",
    )
    try:
        yield browser
    finally:
        browser.close()


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """axe-core's source, fetched by npm; in CI it must be there, elsewhere it may be skipped."""
    missing = pytest.fail if os.environ.get("CI") else pytest.skip
    if shutil.which("npm") is None:
        missing(f"no npm on the PATH: {AXE} can't be fetched")
    folder = tmp_path_factory.mktemp("axe")
    fetch = ["npm", "pack", AXE, "--silent", "--pack-destination", str(folder)]
    done = subprocess.run(fetch, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        missing(f"npm can't fetch {AXE}: {done.stderr[-200:]}")
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        file = archive.extractfile("package/axe.min.js")
        assert file is not None
        return file.read().decode()


def ready(browser: Browser, app: RunningApp, width: int = 1280, *, dark: bool = False) -> None:
    """Open the first page and wait for the recorder."""
    browser.open(app.url, width, dark=dark)
    browser.wait("!!document.querySelector('#transcribe')")


def press(browser: Browser, text: str) -> None:
    """Click a button of the recorder by its text."""
    button = BUTTON.format(f"b.textContent.trim() === '{text}' && b.offsetParent")
    browser.wait(f"!!({button})")
    browser.value(f"({button}).click()")


def speak(browser: Browser, seconds: float = 5.0) -> str:
    """Record what the microphone gives, and let it be transcribed; returns the token."""
    press(browser, "Record")
    time.sleep(seconds)
    press(browser, "Stop")
    browser.wait("!!document.querySelector('#recording audio, #recording #waveform')")
    time.sleep(1)
    press(browser, "Transcribe")
    browser.wait("document.querySelector('#result')?.dataset.state === 'done'", 120)
    return str(browser.value("document.querySelector('#result').dataset.token"))


def test_spoken_corrected_accepted_taken_up_withdrawn(
    browser: Browser, app: RunningApp, model_dir: Path, tmp_path: Path
) -> None:
    ready(browser, app)
    token = speak(browser)
    entry = app.services.desk.get(token, "local")
    assert entry is not None
    [expected] = load_transcriber(model_dir, DecodingConfig()).transcribe(
        [app.services.desk.samples(entry)]
    )
    assert "ear" in expected.text.lower()
    shown = "document.querySelector('.words[data-role=champion]').innerText"
    assert browser.value(shown).split() == expected.text.split()
    browser.value("[...document.querySelectorAll('.champion .word')].at(-1).click()")
    playing = "!document.querySelector('#player').paused"
    browser.wait(f"{playing} && document.querySelector('#player').currentTime > 0.5", 10)

    browser.go(f"{app.url}/correct/{token}")
    browser.value("document.querySelector('#text').select()")
    browser.type(SENTENCE)
    browser.value("document.querySelector('#speaker').focus()")
    browser.type("s1")
    browser.value("document.querySelector('[name=consent]').click()")
    browser.value("document.querySelector('[data-editor] form').requestSubmit()")
    browser.wait("location.search.startsWith('?sent=')")
    one = browser.value("location.search.slice(6)")

    store = app.services.store
    write_folder(tmp_path / "main", corpus())
    names = Columns(audio="file_name", id="id", speaker="speaker_id")
    main = DatasetSource(kind="folder", location=str(tmp_path / "main"), columns=names)
    sent = DatasetSource(
        name="corrections", kind="s3", location=store.uri(SOURCE), preset="corrections"
    )
    splits = SplitPolicy(test_speakers=("s0", "s4", "s8"))
    config = DatasetConfig(sources=(main, sent), splits=splits)
    before = refresh_dataset(config, store).taken
    browser.go(f"{app.url}/corrections/{one}")
    browser.value("document.querySelector('button[value=accept]').click()")
    browser.wait("document.body.innerText.includes('accepted by a reviewer')")
    assert refresh_dataset(config, store).taken == before + 1
    browser.value("document.querySelector('button.danger').click()")
    browser.wait("document.querySelector('h1').innerText === 'Withdrawn'")
    assert refresh_dataset(config, store).taken == before


def test_it_asks_nobody_else_and_complains_about_nothing(browser: Browser, app: RunningApp) -> None:
    ready(browser, app)
    browser.wait("document.readyState === 'complete'")
    time.sleep(2)
    asked = [one["request"]["url"] for one in browser.seen("Network.requestWillBeSent")]
    own = (app.url, f"blob:{app.url}", "data:")
    assert [url for url in asked if not url.startswith(own)] == []
    assert [one["entry"]["text"] for one in browser.seen("Log.entryAdded")] == []
    assert browser.seen("Runtime.exceptionThrown") == []


def test_the_notice_is_there_before_any_script_runs(browser: Browser, app: RunningApp) -> None:
    browser.open("about:blank")
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.go(app.url)
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    assert "Not for clinical use" in browser.value("document.body.innerText")
    assert browser.value("!document.querySelector('#transcribe')")


@pytest.fixture(scope="module")
def heard(app: RunningApp, spoken: Path) -> str:
    """A recording that was heard before."""
    token, said = Visitor(app.url).transcribe(spoken.read_bytes())
    assert token, said
    return token


def pages(token: str) -> list[str]:
    return ["/", f"/transcripts/{token}", f"/correct/{token}", "/correct", "/champions"]


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_window(
    browser: Browser, app: RunningApp, heard: str, width: int
) -> None:
    ready(browser, app, width)
    for path in pages(heard):
        browser.go(app.url + path)
        if path == "/":
            browser.wait("!!document.querySelector('#transcribe')")
        found = browser.value("document.documentElement.scrollWidth")
        assert found <= width, f"{path} is {found} pixels wide"
        notice = "document.querySelector('.notice').getBoundingClientRect()"
        assert browser.value(f"{notice}.bottom") < 800, f"the notice of {path} is out of sight"


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_serious(
    browser: Browser, app: RunningApp, heard: str, axe: str, dark: bool
) -> None:
    ready(browser, app, dark=dark)
    for path in pages(heard):
        browser.go(app.url + path)
        if path == "/":
            browser.wait("!!document.querySelector('#transcribe')")
            time.sleep(1)
        browser.value(f"{axe}; true")
        found = browser.value(SERIOUS)
        assert found == [], f"{path}, {'dark' if dark else 'light'}"


def test_dark_mode_is_dark(browser: Browser, app: RunningApp) -> None:
    ready(browser, app, dark=True)
    ground = "getComputedStyle(document.body).backgroundColor"
    assert browser.value(ground) == "rgb(16, 23, 30)"


def focused(browser: Browser) -> str:
    return str(browser.value("document.activeElement.outerHTML.slice(0, 200)"))


def test_by_keyboard_alone_from_the_page_to_a_sent_correction(
    browser: Browser, app: RunningApp, heard: str
) -> None:
    ready(browser, app)
    reached: list[str] = []
    for _ in range(25):
        browser.key("Tab")
        reached.append(focused(browser))
    for wanted in ("skip", "Correct</a>", "Record", "Transcribe"):
        assert any(wanted in one for one in reached), f"{wanted} is not reached: {reached}"
    browser.go(f"{app.url}/correct/{heard}")
    browser.value("document.querySelector('#player').muted = true")
    browser.key("Escape")
    browser.wait("!document.querySelector('#player').paused")
    browser.key("Escape")
    browser.wait("document.querySelector('#player').paused")
    for _ in range(30):
        browser.key("Tab")
        if 'id="text"' in focused(browser):
            break
    browser.key("a", "KeyA", 2)
    browser.type(SENTENCE)
    browser.key("Tab")
    browser.type("s-keyboard")
    browser.key("Tab")
    browser.key(" ", "Space")
    browser.key("Enter", "Enter", 2)
    browser.wait("location.search.startsWith('?sent=')")
    assert SENTENCE in browser.value("document.querySelector('.done').innerText")


def test_a_script_in_a_model_card_is_text(browser: Browser, app: RunningApp) -> None:
    """The card of the tests' champion holds one."""
    ready(browser, app)
    browser.go(f"{app.url}/champions")
    assert browser.value("document.querySelectorAll('main script').length") == 0
