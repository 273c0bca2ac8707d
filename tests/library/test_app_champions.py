"""Champions in the browser: the history, why one was turned down, lineage, and who sees reports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from tests.fixtures.app import RunningApp, Visitor, running_app
from tests.fixtures.champions import SCRIPT, a_history, with_corrections
from tests.fixtures.evidence import REVISION, a_checkpoint
from tests.fixtures.hub import HubServer
from tests.fixtures.releases import NOON
from tests.fixtures.s3 import S3Server
from whisper_retrain.app.accounts import save_account
from whisper_retrain.app.correction_store import CorrectionStore
from whisper_retrain.app.corrections import CONSENT, Correction, Review
from whisper_retrain.app.models import Release
from whisper_retrain.data.decoding import decode, to_flac
from whisper_retrain.data.refresh import refresh_dataset
from whisper_retrain.edges.hub import HubClient
from whisper_retrain.edges.store import S3Store
from whisper_retrain.records import ModelRef, Promotion
from whisper_retrain.release.evidence import Evidence

pytestmark = pytest.mark.slow

PASSWORD = "correct horse battery"
BASE = ModelRef(
    name="tiny", model_digest="ba5e" * 16, repo="demo/whisper-tiny.en", revision=REVISION
)
HELD_OUT_SPEAKER = "s-held"
ESCAPED = SCRIPT.replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#39;")


@dataclass
class Past:
    app: RunningApp
    store: S3Store
    heard: Correction
    """Trained on."""
    held_out: Correction
    """In the frozen test set."""
    first: Promotion
    second: Promotion
    rejected: Evidence

    def visitor(self, name: str) -> Visitor:
        one = Visitor(self.app.url)
        assert one.sign_in(name, PASSWORD).status_code == 303
        return one

    def page(self, path: str, name: str = "lia") -> str:
        answer = self.visitor(name).client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text


@pytest.fixture(scope="module")
def past(
    hub_server: HubServer, s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Past]:
    folder = tmp_path_factory.mktemp("app")
    accounts = folder / "accounts.toml"
    save_account(accounts, "lia", "listener", PASSWORD)
    save_account(accounts, "rex", "reviewer", PASSWORD)
    store, repo = s3_server.store(), hub_server.new_name()
    hub = HubClient(hub_server.endpoint, hub_server.token)
    heard, held_out = a_correction(store, 1, "s1"), a_correction(store, 2, HELD_OUT_SPEAKER)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment().items():
            patch.setenv(name, value)
        config = with_corrections(store, folder / "recordings", HELD_OUT_SPEAKER)
        dataset = refresh_dataset(config, store)
    checkpoints = a_checkpoint(store, b"first"), a_checkpoint(store, b"second")
    found = a_history(hub, store, repo, BASE, checkpoints, dataset)
    served = running_app(hub_server, store, repo, folder / "cache", accounts=accounts)
    with served as app:
        yield Past(app, store, heard, held_out, *found)


def a_correction(store: S3Store, seed: int, speaker: str) -> Correction:
    """One that was accepted before the first refresh."""
    noise = np.random.default_rng(seed).normal(0, 3000, 32_000).astype(np.int16)
    flac = to_flac(noise)
    correction = Correction(
        audio_sha256=decode(flac).sha256,
        duration_s=2.0,
        text=f"he takes amoxicillin number {seed}",
        speaker=speaker,
        author="ada",
        consent=CONSENT,
        champion_repo="demo/whisper",
        champion_revision="c" * 40,
        champion_text="he takes a moxie",
        at=NOON,
    )
    corrections = CorrectionStore(store)
    corrections.send(correction, flac)
    said = Review(
        correction=correction.id, reviewer="rex", role="reviewer", verdict="accept", at=NOON
    )
    corrections.review(said)
    return correction


def test_the_history_names_promotions_with_intervals_and_the_champion_of_now(past: Past) -> None:
    page = past.page("/champions")
    newest, oldest = (page.index(one.revision[:8]) for one in (past.second, past.first))
    assert newest < oldest
    assert page.count("promotion</td>") == 2
    assert page.count('<span class="chip accepted">now</span>') == 1
    assert "5.0 %" in page
    assert "3.0 to 7.0 %" in page
    assert 'class="plot" src="data:image/svg+xml' in page


def test_what_was_turned_down_is_there_with_its_reason_and_its_script_is_text(past: Past) -> None:
    page = past.page("/champions")
    assert ESCAPED in page
    assert SCRIPT not in page
    decision = past.page(f"/decisions/{past.rejected.decision.digest}")
    assert "The champion stayed" in decision
    assert ESCAPED in decision


def test_lineage_is_walked_backwards_from_the_hub_to_the_sources(past: Past) -> None:
    page = past.page(f"/champions/{past.second.revision}")
    steps = [
        f"{past.second.repo}@{past.second.revision}",
        str(past.second.decision_digest)[:12],
        "test set",
        "Training run",
        f"{BASE.repo}@",
        "Dataset revision",
        "main at",
        "corrections at",
    ]
    places = [page.index(step) for step in steps]
    assert places == sorted(places)
    assert "Intended use" in page or "Limitations" in page, "the model card"


def test_reports_are_for_reviewers(past: Past) -> None:
    """They hold references of the test set."""
    path = f"/reports/{past.second.decision_digest}"
    assert past.visitor("lia").client.get(path).status_code == 403
    assert path not in past.page(f"/decisions/{past.second.decision_digest}")
    assert path in past.page(f"/decisions/{past.second.decision_digest}", "rex")
    answer = past.visitor("rex").client.get(path)
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert SCRIPT not in answer.text
    assert "metformin" in answer.text


@pytest.mark.parametrize("path", ["champions", "decisions", "reports"])
def test_what_is_not_there_is_said(past: Past, path: str) -> None:
    for name in ("f" * 40, "..%2f..%2fetc", "x"):
        answer = past.visitor("rex").client.get(f"/{path}/{name}")
        assert answer.status_code == 404
        assert "<h1>Not taken</h1>" in answer.text or "no such" in answer.text.lower()


def test_without_a_repo_named_it_is_the_one_that_was_retrained_last(past: Past) -> None:
    release = Release(past.app.hub, past.store)
    assert release.config is not None
    assert release.config.repo == past.app.repo
    assert {role: str(at.revision) for role, at in release.roles().items()} == {
        "champion": past.second.revision,
        "previous": past.first.revision,
        "base": REVISION,
    }


def test_withdrawn_after_training_the_page_names_the_champions_that_had_heard_it(
    past: Past,
) -> None:
    rex = past.visitor("rex")
    before = rex.client.get(f"/corrections/{past.heard.id}").text
    page = rex.client.post(f"/corrections/{past.heard.id}/withdraw").text
    for promotion in (past.first, past.second):
        assert promotion.revision[:8] in before
        assert promotion.revision in page
    assert "leaves the utterance out" in page
    assert past.heard.id not in past.page("/correct", "rex")


def test_withdrawn_out_of_a_frozen_test_set_the_page_says_that_it_stays_and_what_to_do(
    past: Past,
) -> None:
    page = past.visitor("rex").client.post(f"/corrections/{past.held_out.id}/withdraw").text
    assert "leaves the utterance out" not in page
    assert f"corrections/{past.held_out.id},exclude" in page
    assert "No champion was trained on it" in page
