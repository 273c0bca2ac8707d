"""The web application in a real browser: spoken into, corrected, by keyboard, on a phone, at night.

Full Chromium with a file for a microphone, real S3, a real Hub, the real Whisper tiny.en.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.fixtures.app import RunningApp, Visitor, crown, running_app
from tests.fixtures.browser import Browser
from tests.fixtures.champions import SCRIPT, a_history, checkpoint_of, with_corrections
from tests.fixtures.evaluation import tiny_whisper
from tests.fixtures.hub import HubServer
from tests.fixtures.s3 import S3Server
from tests.fixtures.tools import lacking, need
from whisper_retrain.app.champions import read_history
from whisper_retrain.config import DatasetConfig, DecodingConfig
from whisper_retrain.data.refresh import refresh_dataset
from whisper_retrain.edges.hub import HubClient
from whisper_retrain.edges.store import S3Store
from whisper_retrain.evaluation.transformers_runtime import load_transcriber
from whisper_retrain.local.demo.base_model import convert_base_model
from whisper_retrain.local.demo.recording import record
from whisper_retrain.local.demo.speakers import TRAIN_SPEAKERS
from whisper_retrain.records import ModelRef

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
def store(s3_server: S3Server) -> Iterator[S3Store]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment().items():
            patch.setenv(name, value)
        yield s3_server.store()


@pytest.fixture(scope="module")
def dataset(store: S3Store, tmp_path_factory: pytest.TempPathFactory) -> DatasetConfig:
    """With corrections among its sources."""
    return with_corrections(store, tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="module")
def app(
    hub_server: HubServer,
    store: S3Store,
    dataset: DatasetConfig,
    model_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningApp]:
    """Tiny.en is champion after a model that only stammers, which is the base model too."""
    hub = HubClient(hub_server.endpoint, hub_server.token)
    stammering = tiny_whisper(tmp_path_factory.mktemp("model") / "stammering")
    repo, base = hub_server.new_name(), hub_server.new_name()
    start = ModelRef(
        name="base", model_digest="ba5e" * 16, repo=base, revision=crown(hub, base, stammering)
    )
    checkpoints = checkpoint_of(store, stammering), checkpoint_of(store, model_dir)
    a_history(hub, store, repo, start, checkpoints, refresh_dataset(dataset, store))
    with running_app(hub_server, store, repo, tmp_path_factory.mktemp("cache")) as app:
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
    need("npm", f"{AXE} can't be fetched")
    folder = tmp_path_factory.mktemp("axe")
    fetch = ["npm", "pack", AXE, "--silent", "--pack-destination", str(folder)]
    done = subprocess.run(fetch, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        lacking(f"npm can't fetch {AXE}: {done.stderr[-200:]}")
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        file = archive.extractfile("package/axe.min.js")
        assert file is not None
        return file.read().decode()


def ready(browser: Browser, app: RunningApp, width: int = 1280, *, dark: bool = False) -> None:
    """Open the first page and wait for the recorder."""
    browser.open(app.url, width, dark=dark)
    loaded(browser)


def loaded(browser: Browser) -> None:
    """Wait until the first page is whole; with other tests beside it that takes its time."""
    browser.wait("!!document.querySelector('#transcribe')", 60)
    browser.wait("!document.querySelector('.progress-text')", 60)


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


def upload(browser: Browser, path: Path) -> None:
    """Choose a file instead of speaking."""
    browser.value("document.querySelector('#recording [aria-label=\"Upload file\"]').click()")
    browser.choose("#recording input[type=file]", path)
    browser.wait("!!document.querySelector('#recording #waveform, #recording audio')")


def test_spoken_corrected_accepted_taken_up_withdrawn(
    browser: Browser, app: RunningApp, dataset: DatasetConfig, model_dir: Path
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
    before = refresh_dataset(dataset, store).taken
    browser.go(f"{app.url}/corrections/{one}")
    browser.value("document.querySelector('button[value=accept]').click()")
    browser.wait("document.body.innerText.includes('accepted by a reviewer')")
    assert refresh_dataset(dataset, store).taken == before + 1
    browser.value("document.querySelector('button.danger').click()")
    browser.wait("document.querySelector('h1').innerText === 'Withdrawn'")
    assert refresh_dataset(dataset, store).taken == before


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


@pytest.fixture(scope="module")
def pages(app: RunningApp, heard: str) -> list[str]:
    """One address of every kind."""
    visitor = Visitor(app.url)
    form = {"text": "He took amoxicillin.", "speaker": "s2", "consent": "yes"}
    sent = visitor.client.post(f"/correct/{heard}", data=form).headers["location"]
    config = app.services.release.config
    assert config is not None
    history = read_history(app.services.store, config)
    return [
        *("/", f"/transcripts/{heard}", f"/correct/{heard}", sent, "/champions"),
        f"/corrections/{sent.split('=')[1]}",
        f"/champions/{history.promotions[0].revision}",
        *(f"/decisions/{one.evidence.decision.digest}" for one in history.retrainings),
        *("/login", "/transcripts/none"),
    ]


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_window(
    browser: Browser, app: RunningApp, pages: list[str], width: int
) -> None:
    ready(browser, app, width)
    for path in pages:
        browser.go(app.url + path)
        if path == "/":
            browser.wait("!!document.querySelector('#transcribe')")
        found = browser.value("document.documentElement.scrollWidth")
        assert found <= width, f"{path} is {found} pixels wide"
        notice = "document.querySelector('.notice').getBoundingClientRect()"
        assert browser.value(f"{notice}.bottom") < 800, f"the notice of {path} is out of sight"


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_serious(
    browser: Browser, app: RunningApp, pages: list[str], axe: str, dark: bool
) -> None:
    ready(browser, app, dark=dark)
    for path in pages:
        browser.go(app.url + path)
        if browser.value("location.pathname") == "/":  # the login leads here on loopback
            loaded(browser)
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


def test_a_script_in_a_record_is_shown_and_never_run(
    browser: Browser, app: RunningApp, pages: list[str]
) -> None:
    """In the reason of a rejection, and in a reference of a report."""
    ready(browser, app)
    rejected = next(path for path in pages if path.startswith("/decisions/"))
    for path in (rejected, rejected.replace("decisions", "reports")):
        browser.go(app.url + path)
        assert SCRIPT in browser.value("document.body.textContent"), path
        assert browser.value("document.title") != "run", path


def test_a_long_file_is_chosen_and_heard_to_its_end_side_by_side(
    browser: Browser, app: RunningApp, spoken: Path, tmp_path: Path
) -> None:
    samples, rate_hz = soundfile.read(spoken, dtype="float32")
    pause = np.zeros(rate_hz * 34 - len(samples), dtype=np.float32)
    soundfile.write(tmp_path / "long.wav", np.concatenate([samples, pause, samples]), rate_hz)
    ready(browser, app, 360)
    upload(browser, tmp_path / "long.wav")
    press(browser, "Transcribe")
    browser.wait("document.querySelector('#result')?.dataset.state === 'done'", 120)
    cards = "[...document.querySelectorAll('.card')].map(c => c.className)"
    assert browser.value(cards) == ["card champion", "card previous", "card base"]
    champion = browser.value("document.querySelector('.words[data-role=champion]').innerText")
    assert champion.lower().count("left ear") == 2
    assert "over 30 s can" in browser.value("document.querySelector('#result').innerText")
    starts = "[...document.querySelectorAll('.champion .word')].map(w => +w.dataset.start)"
    assert browser.value(starts)[-1] > 34


def test_who_waits_sees_the_place_in_the_queue(
    browser: Browser, app: RunningApp, spoken: Path
) -> None:
    champion = app.services.release.roles()["champion"]
    ready(browser, app)
    upload(browser, spoken)
    with ThreadPoolExecutor(2) as pool:
        with app.services.models.use(champion):
            others = [pool.submit(Visitor(app.url).transcribe, spoken.read_bytes()) for _ in "ab"]
            time.sleep(3)
            press(browser, "Transcribe")
            browser.wait("/queue: [23]\\/[23]/.test(document.querySelector('#said').innerText)", 20)
        assert [one.result()[1] for one in others] == ["", ""]
    browser.wait("document.querySelector('#result')?.dataset.state === 'done'", 120)
