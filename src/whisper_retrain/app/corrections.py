"""What a correction is, and when one is refused or accepted. Pure: no storage, no server.

A correction is a person's transcript of a recording that the champion was heard on. It is never
changed: reviews and a withdrawal are values of their own, and its standing follows from them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import jiwer
from pydantic import Field

from whisper_retrain.app.transcription import Speech
from whisper_retrain.config import ValidationBounds
from whisper_retrain.data.recordings import Recording
from whisper_retrain.data.text import fold_phrase, repair_reference
from whisper_retrain.data.validation import label_id_counter, validate
from whisper_retrain.normalizer import normalize
from whisper_retrain.records import Record, digest_of

Role = Literal["listener", "author", "reviewer"]
Verdict = Literal["accept", "reject"]
State = Literal["waiting", "accepted", "rejected"]

CONSENT = (
    "The speaker agrees that this recording and its transcript are kept and used to train speech "
    "models, and knows that the consent can be withdrawn."
)
"""What a person ticks. Another wording is another consent: it is stored with each correction."""
AUTHORS_NEEDED = 2
FAR_WER = 0.5
"""A text further than this from the champion's may be a joke: a reviewer has to listen."""
PSEUDONYM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{1,31}")
MOST_CHARACTERS = 2_000


class Correction(Record):
    """A transcript by a person, with consent; immutable."""

    audio_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of the 16 kHz samples."""
    duration_s: float
    """Of the recording."""
    text: str = Field(min_length=1, max_length=MOST_CHARACTERS)
    """What was really said."""
    speaker: str
    """A pseudonym; the dataset keeps speakers apart by it."""
    author: str
    """Account of the person who typed it."""
    consent: str
    """The sentence that was agreed to."""
    champion_repo: str
    """Whose text was corrected."""
    champion_revision: str
    """Its commit, 40 hex digits."""
    champion_text: str
    """What the champion had written."""
    at: datetime
    """When it was sent, UTC."""

    @property
    def id(self) -> str:
        """Equal for the same text of the same recording by the same person, whenever it is sent."""
        return digest_of([self.audio_sha256, self.text, self.speaker, self.author])[:32]

    @property
    def phrase(self) -> str:
        """The text without case and punctuation."""
        return fold_phrase(self.text)

    @property
    def distance(self) -> float:
        """WER of the champion's text against this one, normalised; 1 where nothing is left."""
        said, heard = normalize(self.text), normalize(self.champion_text)
        return float(jiwer.wer(said, heard)) if said else 1.0

    @property
    def is_far(self) -> bool:
        """Whether it is so far from what the champion heard that a reviewer must listen."""
        return self.distance > FAR_WER


class Review(Record):
    """What somebody who listened said of a correction."""

    correction: str
    """Its id."""
    reviewer: str
    """Name of the account."""
    role: Role
    """Of the account then."""
    verdict: Verdict
    """What was said."""
    at: datetime
    """When, UTC."""


class Withdrawal(Record):
    """Consent taken back. Names the audio by its digest only, to find who had heard it."""

    correction: str
    """Id of the correction."""
    audio_sha256: str
    """Of its recording, by which both can be found."""
    by: str
    """Who took it back."""
    at: datetime
    """When, UTC."""


@dataclass(frozen=True)
class Standing:
    """Where a correction stands, and why, in a sentence."""

    state: State
    """Open, accepted, rejected."""
    why: str
    """A sentence for people."""


@dataclass(frozen=True)
class Refusal:
    """Why something is not taken: a reason as the refresh calls it, and what to do."""

    reason: str
    """The word for it, as in the quarantine table."""
    sentence: str
    """The same for people."""


@dataclass(frozen=True)
class KnownSpeech:
    """What the datasets hold: what a correction must not repeat."""

    test_audio: frozenset[str] = frozenset()
    """Digests of the test set's audio."""
    test_speakers: frozenset[str] = frozenset()
    """Speakers of the test set."""
    test_phrases: frozenset[str] = frozenset()
    """Of all frozen test sets, vaults included."""
    audio: frozenset[str] = frozenset()
    """Digests of every other recording of the datasets."""


def standing(correction: Correction, reviews: Iterable[Review]) -> Standing:
    """A reviewer's latest word counts most; without one, two authors who agree are enough.

    Not so for a text far from the champion's: that needs a reviewer.
    """
    latest: dict[str, Review] = {}
    for review in sorted(reviews, key=lambda one: (one.at, one.digest)):
        latest[review.reviewer] = review
    by_reviewers = [one for one in latest.values() if one.role == "reviewer"]
    if by_reviewers:
        last = max(by_reviewers, key=lambda one: (one.at, one.digest))
        if last.verdict == "accept":
            return Standing("accepted", "accepted by a reviewer")
        return Standing("rejected", "rejected by a reviewer")
    authors = [one for one in latest.values() if one.reviewer != correction.author]
    if any(one.verdict == "reject" for one in authors):
        return Standing("waiting", "an author disagrees: a reviewer has to listen")
    if correction.is_far:
        return Standing("waiting", "far from the champion's text: a reviewer has to listen")
    if 1 + len(authors) >= AUTHORS_NEEDED:
        return Standing("accepted", f"{AUTHORS_NEEDED} authors agree")
    return Standing("waiting", "waits for a reviewer, or for a second author who agrees")


def refuse_text(text: str, speaker: str, *, consented: bool) -> Refusal | None:
    """What is wrong with a form before the recording is looked at, or None."""
    if not consented:
        return Refusal(
            "no-consent",
            "Nothing was stored: tick the speaker's consent, or keep the transcript to yourself.",
        )
    if not PSEUDONYM.fullmatch(speaker):
        return Refusal(
            "bad-pseudonym",
            "The pseudonym needs 2 to 32 letters, digits, - or _, and no name of a person.",
        )
    if len(text) > MOST_CHARACTERS:
        return Refusal(
            "too-long-text",
            f"The text has {len(text)} characters; {MOST_CHARACTERS} are the most. Shorten it.",
        )
    return None


def refuse(
    correction: Correction, speech: Speech, known: KnownSpeech, bounds: ValidationBounds
) -> Refusal | None:
    """Why a correction can't be trained on, in the refresh's own reasons, or None."""
    if leak := find_leak(correction, known):
        return leak
    if correction.audio_sha256 in known.audio:
        return Refusal(
            "duplicate-audio",
            "The dataset holds this very recording; its reference is corrected in the review file.",
        )
    fault = validate(
        _as_recording(correction, speech),
        repair_reference(correction.text),
        bounds,
        label_id_counter(None),
    )
    if fault is None:
        return None
    return Refusal(
        fault.reason,
        f"It can't be trained on ({fault.reason}): it has {fault.figure}, the bound is "
        f"{fault.bound}. Correct the text, or record again.",
    )


def find_leak(correction: Correction, known: KnownSpeech) -> Refusal | None:
    """Whether the recording, its speaker or its phrase belongs to a frozen test set."""
    leaks = {
        "recording": correction.audio_sha256 in known.test_audio,
        "speaker": correction.speaker in known.test_speakers,
        "phrase": correction.phrase in known.test_phrases,
    }
    shared = [what for what, leaks_ in leaks.items() if leaks_]
    if not shared:
        return None
    return Refusal(
        "test-set-leak",
        f"Not taken (test-set-leak): the {' and the '.join(shared)} belongs to the frozen test "
        "set, by which models are judged; one trained on it would be judged on what it has seen.",
    )


def _as_recording(correction: Correction, speech: Speech) -> Recording:
    return Recording(
        source="corrections",
        id=correction.id,
        origin="",
        reference=correction.text,
        speaker=correction.speaker,
        audio_sha256=speech.audio_sha256,
        sampling_rate_hz=speech.sampling_rate_hz,
        num_samples=speech.num_samples,
        duration_s=speech.duration_s,
        level_dbfs=speech.level_dbfs,
        clipped_share=speech.clipped_share,
        shard="kept",
    )


def to_listing(
    corrections: Iterable[Correction],
    reviews: Mapping[str, Collection[Review]],
    withdrawn: Collection[str],
) -> list[Correction]:
    """The accepted corrections that the next refresh reads: one for each recording, the first.

    The refresh quarantines recordings with conflicting references, both of them; so only the
    first accepted text of a recording is listed.
    """
    listed: dict[str, Correction] = {}
    for one in sorted(corrections, key=lambda c: (c.at, c.id)):
        taken = one.id not in withdrawn and one.audio_sha256 not in listed
        if taken and standing(one, reviews.get(one.id, ())).state == "accepted":
            listed[one.audio_sha256] = one
    return sorted(listed.values(), key=lambda c: c.id)
