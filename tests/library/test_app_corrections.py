"""When a correction is refused, accepted, listed; and that nothing is lost or kept in S3."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.fixtures.recordings import corpus, write_folder
from tests.fixtures.s3 import S3Server
from whisper_retrain.app.correction_store import LISTING, PREFIX, SOURCE, CorrectionStore
from whisper_retrain.app.corrections import (
    CONSENT,
    Correction,
    KnownSpeech,
    Review,
    Role,
    Verdict,
    Withdrawal,
    refuse,
    refuse_text,
    standing,
    to_listing,
)
from whisper_retrain.app.known import KnownSpeechReader
from whisper_retrain.app.transcription import Speech
from whisper_retrain.config import (
    Columns,
    DatasetConfig,
    DatasetSource,
    SplitPolicy,
    ValidationBounds,
)
from whisper_retrain.data.decoding import decode, to_flac
from whisper_retrain.data.manifest import load_manifest
from whisper_retrain.data.refresh import refresh_dataset
from whisper_retrain.edges.store import S3Store
from whisper_retrain.errors import InputError

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
TEXT = "He takes amoxicillin for the left ear"


def speech_of(seed: int = 1) -> tuple[Speech, bytes]:
    """Two seconds of noise."""
    noise = np.random.default_rng(seed).normal(0, 3000, 32_000).astype(np.int16)
    flac = to_flac(noise)
    audio = decode(flac)
    facts = (audio.sha256, 2.0, 32_000, 16_000, audio.level_dbfs, audio.clipped_share)
    return Speech(*facts), flac


def a_correction(
    text: str = TEXT,
    author: str = "ada",
    speaker: str = "s1",
    heard: str = "he takes a moxie for the left ear",
    seed: int = 1,
    minutes: int = 0,
) -> Correction:
    return Correction(
        audio_sha256=speech_of(seed)[0].audio_sha256,
        duration_s=2.0,
        text=text,
        speaker=speaker,
        author=author,
        consent=CONSENT,
        champion_repo="demo/whisper",
        champion_revision="c" * 40,
        champion_text=heard,
        at=NOON + timedelta(minutes=minutes),
    )


def a_review(
    of: Correction,
    who: str = "rex",
    role: Role = "reviewer",
    verdict: Verdict = "accept",
    at: int = 1,
) -> Review:
    return Review(
        correction=of.id, reviewer=who, role=role, verdict=verdict, at=NOON + timedelta(hours=at)
    )


def withdrawal_of(one: Correction) -> Withdrawal:
    return Withdrawal(correction=one.id, audio_sha256=one.audio_sha256, by=one.author, at=NOON)


class TestStanding:
    def test_it_waits_until_somebody_else_has_listened(self) -> None:
        one = a_correction()
        assert standing(one, []).state == "waiting"
        assert standing(one, [a_review(one, "ada", "author")]).state == "waiting"

    def test_a_reviewer_accepts(self) -> None:
        one = a_correction()
        assert standing(one, [a_review(one)]).state == "accepted"

    def test_a_second_author_accepts(self) -> None:
        one = a_correction()
        assert standing(one, [a_review(one, "bob", "author")]).state == "accepted"

    def test_a_joke_is_far_from_what_was_heard_and_waits_for_a_reviewer(self) -> None:
        joke = a_correction(text="my cat drives a very fast car")
        assert joke.is_far
        agreeing = [a_review(joke, who, "author") for who in ("bob", "eve")]
        assert standing(joke, agreeing).state == "waiting"
        assert standing(joke, [*agreeing, a_review(joke)]).state == "accepted"

    def test_where_the_champion_heard_nothing_a_reviewer_has_to_listen(self) -> None:
        assert a_correction(heard="").is_far

    def test_authors_who_disagree_leave_it_to_a_reviewer(self) -> None:
        one = a_correction()
        said = [a_review(one, "bob", "author"), a_review(one, "eve", "author", "reject")]
        assert standing(one, said).state == "waiting"
        assert standing(one, [*said, a_review(one, verdict="reject")]).state == "rejected"

    def test_the_latest_word_of_a_reviewer_counts(self) -> None:
        one = a_correction()
        said = [a_review(one, at=1), a_review(one, verdict="reject", at=2)]
        assert standing(one, said).state == "rejected"
        assert standing(one, said[::-1]).state == "rejected"


class TestRefusals:
    def refusal(self, one: Correction, known: KnownSpeech | None = None) -> str:
        found = refuse(one, speech_of()[0], known or KnownSpeech(), ValidationBounds())
        return found.reason if found else ""

    def test_a_good_one_is_taken(self) -> None:
        assert self.refusal(a_correction()) == ""

    def test_recording_speaker_and_phrase_of_the_test_set_leak(self) -> None:
        one = a_correction()
        for known in (
            KnownSpeech(test_audio=frozenset({one.audio_sha256})),
            KnownSpeech(test_speakers=frozenset({"s1"})),
            KnownSpeech(test_phrases=frozenset({"he takes amoxicillin for the left ear"})),
        ):
            assert self.refusal(one, known) == "test-set-leak"

    def test_a_recording_of_the_dataset_would_conflict_with_its_reference(self) -> None:
        one = a_correction()
        known = KnownSpeech(audio=frozenset({one.audio_sha256}))
        assert self.refusal(one, known) == "duplicate-audio"

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("...", "empty-reference"),
            ("word " * 30, "implausible-speaking-rate"),
            ("it doesn\ufffdt hurt", "mojibake"),
        ],
    )
    def test_what_the_refresh_would_quarantine_is_refused_with_its_reason(
        self, text: str, reason: str
    ) -> None:
        assert self.refusal(a_correction(text=text)) == reason

    def test_consent_and_pseudonym_come_first(self) -> None:
        def reason(speaker: str, *, consented: bool) -> str:
            found = refuse_text(TEXT, speaker, consented=consented)
            return found.reason if found else ""

        assert reason("s1", consented=False) == "no-consent"
        assert reason("s1", consented=True) == ""
        for name in ("", "x", "Dr. Ada Lovelace", "../etc", "<b>x</b>", "=1+1", "a" * 33):
            assert reason(name, consented=True) == "bad-pseudonym", name


class TestListing:
    def test_one_text_for_each_recording_the_first_that_was_sent(self) -> None:
        first = a_correction()
        second = a_correction(text=f"{TEXT} now", author="bob", minutes=5)
        reviews = {one.id: [a_review(one)] for one in (first, second)}
        assert to_listing([second, first], reviews, ()) == [first]
        assert to_listing([second, first], reviews, {first.id}) == [second]

    def test_equal_ones_are_one_whenever_they_are_sent(self) -> None:
        assert a_correction().id == a_correction(minutes=9).id
        assert a_correction().id != a_correction(author="bob").id


@pytest.fixture
def corrections(s3_store: S3Store) -> CorrectionStore:
    return CorrectionStore(s3_store)


class TestStore:
    def keys(self, store: S3Store) -> set[str]:
        return {key.removeprefix(f"{PREFIX}/") for key in store.keys(f"{PREFIX}/")}

    def test_sent_accepted_listed(self, corrections: CorrectionStore, s3_store: S3Store) -> None:
        one, flac = a_correction(), speech_of()[1]
        assert corrections.send(one, flac)
        corrections.rebuild()
        assert s3_store.read(LISTING).count(b"\n") == 1
        corrections.review(a_review(one))
        assert TEXT.encode() in s3_store.read(LISTING)
        assert s3_store.read(f"{SOURCE}/{one.audio_sha256}.flac") == flac
        assert corrections.load().items == {one.id: one}

    def test_sent_twice_it_counts_once(
        self, corrections: CorrectionStore, s3_store: S3Store
    ) -> None:
        assert corrections.send(a_correction(), speech_of()[1])
        before = self.keys(s3_store)
        assert not corrections.send(a_correction(minutes=9), speech_of()[1])
        assert self.keys(s3_store) == before

    def test_withdrawn_text_and_audio_are_gone_and_can_not_be_sent_again(
        self, corrections: CorrectionStore, s3_store: S3Store
    ) -> None:
        one = a_correction()
        corrections.send(one, speech_of()[1])
        corrections.review(a_review(one))
        corrections.withdraw(one, withdrawal_of(one))
        assert self.keys(s3_store) == {"accepted/listing.csv", f"withdrawn/{one.id}.json"}
        left = b"".join(s3_store.read(f"{PREFIX}/{key}") for key in self.keys(s3_store))
        assert TEXT.encode() not in left
        assert corrections.find(one.id) is None
        with pytest.raises(InputError, match="withdrawn"):
            corrections.send(one, speech_of()[1])

    def test_a_rejection_after_acceptance_takes_the_audio_off_the_source(
        self, corrections: CorrectionStore, s3_store: S3Store
    ) -> None:
        one = a_correction()
        corrections.send(one, speech_of()[1])
        corrections.review(a_review(one))
        corrections.review(a_review(one, verdict="reject", at=2))
        assert list(s3_store.keys(f"{SOURCE}/")) == [LISTING]
        assert corrections.audio(one) == speech_of()[1]

    def test_many_at_once_lose_nothing(self, s3_server: S3Server) -> None:
        store = s3_server.store()
        items = [a_correction(author=f"a{n}", seed=n) for n in range(6)]

        def send_and_accept(n: int) -> None:
            mine = CorrectionStore(S3Store(store.location, s3_server.client()))
            mine.send(items[n], speech_of(n)[1])
            mine.review(a_review(items[n]))

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(send_and_accept, range(6)))
        assert store.read(LISTING).count(b"\n") == 7

    @pytest.mark.parametrize("effect", ["create", "swap", "delete"])
    def test_a_withdrawal_that_was_cut_off_is_finished_by_whoever_comes_next(
        self, corrections: CorrectionStore, s3_store: S3Store, effect: str
    ) -> None:
        one = a_correction()
        corrections.send(one, speech_of()[1])
        corrections.review(a_review(one))
        dying = CorrectionStore(_dying_after(s3_store, effect))
        with pytest.raises(ConnectionError):
            dying.withdraw(one, withdrawal_of(one))
        corrections.rebuild()
        assert self.keys(s3_store) == {"accepted/listing.csv", f"withdrawn/{one.id}.json"}


def _dying_after(store: S3Store, effect: str) -> S3Store:
    """A store whose process dies right after one effect."""

    class Dying(S3Store):
        pass

    def call(*arguments: object) -> None:
        getattr(store, effect)(*arguments)
        raise ConnectionError

    dying = Dying(store.location, store._client)
    die: Callable[..., None] = call
    setattr(dying, effect, die)
    return dying


def test_the_refresh_takes_it_up_and_leaves_it_out_when_it_is_withdrawn(
    s3_environment: S3Server, tmp_path: Path
) -> None:
    store = s3_environment.store()
    corrections = CorrectionStore(store)
    corrections.rebuild()
    write_folder(tmp_path / "main", corpus())
    names = Columns(audio="file_name", id="id", speaker="speaker_id")
    main = DatasetSource(kind="folder", location=str(tmp_path / "main"), columns=names)
    sent = DatasetSource(
        name="corrections", kind="s3", location=store.uri(SOURCE), preset="corrections"
    )
    splits = SplitPolicy(test_speakers=("s0", "s4", "s8"))
    config = DatasetConfig(sources=(main, sent), splits=splits)
    before = refresh_dataset(config, store)
    one = a_correction(text='He takes "two", then\u2014rests')
    corrections.send(one, speech_of()[1])
    assert refresh_dataset(config, store).taken == before.taken
    corrections.review(a_review(one))
    revision = refresh_dataset(config, store)
    assert revision.taken == before.taken + 1
    rows = {row.id: row for row in load_manifest(store, revision, tmp_path)}
    row = rows[f"corrections/{one.id}"]
    assert (row.reference, row.speaker) == (one.text, "s1")
    assert (row.audio_sha256, row.split) == (one.audio_sha256, "train")
    known = KnownSpeechReader(store, tmp_path)()
    assert one.audio_sha256 in known.audio
    assert known.test_speakers == {"s0", "s4", "s8"}
    corrections.withdraw(one, withdrawal_of(one))
    assert refresh_dataset(config, store).taken == before.taken
