"""What people may send that is wrong: each gets a sentence that says what to do, nothing is kept.

A real server with real S3, Hub and Whisper (a tiny one), spoken to as the page's scripts do.
"""

from __future__ import annotations

import io
import wave
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.fixtures.app import RunningApp, Visitor, running_app
from tests.fixtures.evaluation import tiny_whisper
from tests.fixtures.hub import HubServer
from tests.fixtures.s3 import S3Server
from whisper_retrain.app.accounts import read_accounts, save_account
from whisper_retrain.app.correction_store import LISTING, PREFIX
from whisper_retrain.app.corrections import Role
from whisper_retrain.app.server import AppConfig, build_services
from whisper_retrain.app.uploads import MOST_BYTES, REMEDIES
from whisper_retrain.edges.hub import HubClient
from whisper_retrain.errors import InputError

pytestmark = pytest.mark.slow

PASSWORD = "correct horse battery"
FORM = {"text": "he takes amoxicillin now", "speaker": "s-7", "consent": "yes"}


def sound(
    seconds: float, rate_hz: int = 16_000, channels: int = 1, kind: str = "WAV", seed: int = 1
) -> bytes:
    """Noise as a file."""
    shape = (int(seconds * rate_hz), channels)
    noise = np.random.default_rng(seed).normal(0, 0.1, shape).astype(np.float32)
    sink = io.BytesIO()
    soundfile.write(sink, noise, rate_hz, format=kind)
    return sink.getvalue()


def silence(seconds: float, rate_hz: int, channels: int) -> bytes:
    """A small file that is large once it is decoded."""
    sink = io.BytesIO()
    with soundfile.SoundFile(sink, "w", rate_hz, channels, format="FLAC") as file:
        for _ in range(int(seconds)):
            file.write(np.zeros((rate_hz, channels), dtype=np.int16))
    return sink.getvalue()


def archive() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as file:
        file.writestr("a.wav", sound(1))
    return sink.getvalue()


def claims_much() -> bytes:
    """A WAV header that promises four gigabytes of samples, and none there."""
    sink = io.BytesIO()
    with wave.open(sink, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(b"")
    data = bytearray(sink.getvalue())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    return bytes(data)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_whisper(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("accounts") / "accounts.toml"
    people: dict[str, Role] = {"lia": "listener", "ada": "author", "bob": "author"}
    people["rex"] = "reviewer"
    for name, role in people.items():
        save_account(path, name, role, PASSWORD)
    return path


@pytest.fixture(scope="module")
def app(
    hub_server: HubServer,
    s3_server: S3Server,
    model_dir: Path,
    accounts: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningApp]:
    cache = tmp_path_factory.mktemp("cache")
    with running_app(hub_server, s3_server.store(), model_dir, cache, accounts=accounts) as app:
        yield app


def visitor(app: RunningApp, name: str) -> Visitor:
    someone = Visitor(app.url)
    assert someone.sign_in(name, PASSWORD).headers["location"] == "/"
    return someone


@pytest.fixture(scope="module")
def ada(app: RunningApp) -> Visitor:
    return visitor(app, "ada")


def stored(app: RunningApp) -> set[str]:
    return set(app.services.store.keys(f"{PREFIX}/"))


BAD_RECORDINGS = {
    "text named .wav": (b"He takes two tablets.", "undecodable"),
    "nothing at all": (b"", "undecodable"),
    "an archive": (archive(), "undecodable"),
    "a page with a script": (b"<html><script>alert(1)</script></html>", "undecodable"),
    "a truncated mp3": (sound(1, 44_100, kind="MP3")[:90], "undecodable"),
    "a header that lies": (claims_much(), "undecodable"),
    "0 s": (sound(0), "undecodable"),
    "a click of 50 ms": (sound(0.05), "too-short"),
    "silence": (silence(3, 16_000, 1), "silent"),
    "11 minutes": (silence(661, 16_000, 1), "too-long"),
    "8 channels at 192 kHz, 9 minutes": (silence(540, 192_000, 8), "too-large"),
    "numbers that are none": (b"", "undecodable"),
}


def not_a_number() -> bytes:
    sink = io.BytesIO()
    soundfile.write(sink, np.full(16_000, np.nan, dtype=np.float32), 16_000, "FLOAT", format="WAV")
    return sink.getvalue()


@pytest.mark.parametrize("kind", BAD_RECORDINGS)
def test_a_bad_recording_is_refused_with_the_refreshs_reason(
    app: RunningApp, ada: Visitor, kind: str
) -> None:
    data, reason = BAD_RECORDINGS[kind]
    token, said = ada.transcribe(not_a_number() if kind.startswith("numbers") else data)
    assert token == ""
    assert said.startswith(reason), said
    assert said.rstrip().endswith((".", "?")), said
    assert stored(app) == {LISTING}


def test_a_file_over_the_limit_is_refused_before_it_is_stored(ada: Visitor) -> None:
    answer = ada.upload(b"\0" * (MOST_BYTES + 8 * 2**20))
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../../etc/passwd", "http://127.0.0.1:1/a.wav", "file:///etc/passwd", 7]
)
def test_a_file_that_was_not_uploaded_can_not_be_named(ada: Visitor, path: object) -> None:
    """Gradio, mounted, would read it (see recorder_guard)."""
    recording = {"path": path, "meta": {"_type": "gradio.FileData"}}
    body = {"data": [recording], "fn_index": 0, "session_hash": "x"}
    answer = ada.client.post("/try/gradio_api/queue/join", json=body)
    assert answer.status_code == 403
    assert "choose a file" in answer.text


def test_the_button_may_be_pressed_again_until_the_file_is_gone(ada: Visitor) -> None:
    path = ada.upload(sound(1, seed=21)).json()[0]
    recording = {"path": path, "meta": {"_type": "gradio.FileData"}}
    first, second = (ada.press(recording) for _ in range(2))
    assert first[0]
    assert second[0] not in ("", first[0])
    Path(path).unlink()
    assert ada.press(recording) == ("", f"gone: {REMEDIES['gone']}")


def test_a_path_in_the_name_leads_nowhere(app: RunningApp, ada: Visitor, tmp_path: Path) -> None:
    token, _ = ada.transcribe(sound(1), name="../../../../tmp/escaped.wav")
    assert token
    assert not Path("/tmp/escaped.wav").exists()


@pytest.mark.parametrize(
    "path",
    ["gradio_api/proxy=http://a.b/", "gradio_api/api", "docs", "monitoring", "gradio_api/run/x"],
)
def test_nothing_of_gradio_is_open_but_what_the_page_uses(ada: Visitor, path: str) -> None:
    assert ada.client.get(f"/try/{path}").status_code == 404


@pytest.fixture(scope="module")
def token(ada: Visitor) -> str:
    """A recording that was heard."""
    token, said = ada.transcribe(sound(2, seed=5))
    assert token, said
    return token


BAD_FORMS = {
    "no consent": ({**FORM, "consent": ""}, "consent"),
    "no pseudonym": ({**FORM, "speaker": ""}, "pseudonym"),
    "a name as pseudonym": ({**FORM, "speaker": "Dr. Ada Lovelace"}, "pseudonym"),
    "a path as pseudonym": ({**FORM, "speaker": "../../x"}, "pseudonym"),
    "no text": ({**FORM, "text": "  "}, "empty"),
    "a book": ({**FORM, "text": "word " * 500}, "characters"),
    "no letters": ({**FORM, "text": "?!"}, "empty-reference"),
    "mojibake": ({**FORM, "text": "it doesn\ufffdt"}, "mojibake"),
    "spoken too fast": ({**FORM, "text": "word " * 100}, "implausible-speaking-rate"),
}


@pytest.mark.parametrize("kind", BAD_FORMS)
def test_a_bad_form_says_what_to_do_and_stores_nothing(
    app: RunningApp, ada: Visitor, token: str, kind: str
) -> None:
    form, said = BAD_FORMS[kind]
    answer = ada.client.post(f"/correct/{token}", data=form)
    assert answer.status_code == 422
    assert said in answer.text
    assert stored(app) == {LISTING}


def test_a_form_of_megabytes_is_not_read(ada: Visitor, token: str) -> None:
    answer = ada.client.post(f"/correct/{token}", data={**FORM, "text": "x" * 2**20})
    assert answer.status_code == 403
    assert "Shorten" in answer.text


def test_a_listener_can_not_correct_and_is_told_so(app: RunningApp, token: str) -> None:
    answer = visitor(app, "lia").client.post(f"/correct/{token}", data=FORM)
    assert answer.status_code == 403
    assert "needs the role author" in answer.text


def test_what_somebody_else_recorded_is_not_there(app: RunningApp, token: str) -> None:
    rex = visitor(app, "rex")
    for path in (f"/transcripts/{token}", f"/recordings/{token}.flac", f"/correct/{token}"):
        assert rex.client.get(path).status_code == 404


@pytest.mark.parametrize("cookie", ["", "forged", "eyJuYW1lIjogInJleCJ9.x.y"])
def test_a_forged_session_is_none(app: RunningApp, token: str, cookie: str) -> None:
    stranger = Visitor(app.url)
    stranger.client.cookies.set("whisper_retrain", cookie)
    assert stranger.client.get("/").headers["location"] == "/login"
    assert stranger.client.post(f"/correct/{token}", data=FORM).status_code == 401
    assert stranger.upload(sound(1)).status_code == 401
    assert stranger.client.get("/try/config").status_code == 401


def test_another_sites_form_and_another_sites_name_are_refused(ada: Visitor, token: str) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        answer = ada.client.post(f"/correct/{token}", data=FORM, headers=headers)
        assert answer.status_code == 403
    assert ada.client.get("/", headers={"Host": "evil.example:80"}).status_code == 403


def test_wrong_passwords_lock_a_name_for_a_while(app: RunningApp, accounts: Path) -> None:
    save_account(accounts, "eve", "listener", PASSWORD)
    stranger = Visitor(app.url)
    said = [stranger.sign_in("eve", "wrong") for _ in range(6)]
    assert [answer.status_code for answer in said] == [401] * 5 + [429]
    assert "wait 60 s" in said[-1].text
    assert stranger.sign_in("nobody", "wrong").status_code == 401


def test_script_in_a_text_is_text_and_a_replayed_correction_counts_once(
    app: RunningApp, ada: Visitor
) -> None:
    """From here on something is stored."""
    token, _ = ada.transcribe(sound(3, seed=9))
    script = "<script>alert(1)</script> he rests"
    sent = ada.client.post(f"/correct/{token}", data={**FORM, "text": script})
    assert sent.status_code == 303
    before = stored(app)
    again = ada.client.post(f"/correct/{token}", data={**FORM, "text": script})
    assert again.status_code == 409
    assert "counts once" in again.text
    assert stored(app) == before
    page = ada.client.get(sent.headers["location"]).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    one = sent.headers["location"].split("sent=")[1]
    own = ada.client.post(f"/corrections/{one}/review", data={"verdict": "accept"})
    assert own.status_code == 403
    nonsense = ada.client.post(f"/corrections/{one}/review", data={"verdict": "maybe"})
    assert nonsense.status_code == 422
    bob = visitor(app, "bob")
    assert bob.client.post(f"/corrections/{one}/withdraw").status_code == 403
    assert bob.client.get(f"/corrections/{'0' * 32}").status_code == 404
    assert bob.client.get("/corrections/..%2f..%2fx").status_code == 404
    rex = visitor(app, "rex")
    accepted = rex.client.post(f"/corrections/{one}/review", data={"verdict": "accept"})
    assert accepted.status_code == 303
    assert len(app.services.store.read(LISTING).splitlines()) == 2
    assert ada.client.post(f"/corrections/{one}/withdraw").status_code == 200
    assert stored(app) == {LISTING, f"{PREFIX}/withdrawn/{one}.json"}
    assert len(app.services.store.read(LISTING).splitlines()) == 1


def test_an_account_that_was_removed_is_out_at_once(app: RunningApp, accounts: Path) -> None:
    save_account(accounts, "tom", "author", PASSWORD)
    tom = visitor(app, "tom")
    assert tom.client.get("/correct").status_code == 200
    text = accounts.read_text()
    accounts.write_text(text[: text.index("[tom]")])
    assert tom.client.get("/correct").status_code == 303


@pytest.mark.parametrize("setting", [{"host": "0.0.0.0"}, {"url": "https://app.example.org"}])
def test_an_address_that_others_reach_demands_accounts(
    hub_server: HubServer, s3_server: S3Server, tmp_path: Path, setting: dict[str, str]
) -> None:
    """Behind a proxy too: everybody comes from its machine."""
    config = replace(AppConfig(cache_dir=tmp_path), **setting)
    with pytest.raises(InputError, match="demands accounts"):
        build_services(config, s3_server.store(), HubClient(hub_server.endpoint))


@pytest.mark.parametrize(
    "text", ["[ada]\nrole = 'king'", "[ada]\nrole = 'author'\npassword = 'x'", "[[", "a = 1"]
)
def test_a_file_of_accounts_that_makes_no_sense_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "accounts.toml").write_text(text)
    with pytest.raises(InputError, match="accounts"):
        read_accounts(tmp_path / "accounts.toml")


def test_short_passwords_and_odd_names_make_no_account(tmp_path: Path) -> None:
    for name, password in (("ada", "short"), ("local", PASSWORD), ("Ada ", PASSWORD)):
        with pytest.raises(InputError):
            save_account(tmp_path / "a.toml", name, "author", password)


def test_nothing_that_was_said_or_sent_is_logged(
    app: RunningApp, ada: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG", logger="whisper_retrain"):
        token, _ = ada.transcribe(sound(1, seed=3), name="patient-smith.wav")
        text = ada.client.get(f"/transcripts/{token}/file.txt").text.split("\n\n")[1].strip()
        ada.transcribe(b"no sound", name="patient-smith.wav")
    logged = caplog.text
    assert "patient-smith" not in logged
    assert token not in logged
    assert text[:30] not in logged
