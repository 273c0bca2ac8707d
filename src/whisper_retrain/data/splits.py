"""Which split an utterance is in: a function of its own speaker, phrase and audio digest.

Each speaker and each phrase has a place on a line, by a salted digest; those before a cut are the
test side. The cuts are found once, on the first revision, so that the test side holds the wanted
share of the utterances, and are handed on: data that comes later can't move what was placed. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whisper_retrain.config import SplitPolicy
from whisper_retrain.data.rows import Rows, codes_of, texts
from whisper_retrain.records import digest_of

TEST, VALIDATION, TRAIN, VAULT = "test", "validation", "train", "vault"
Side = Literal["test", "train"]
Cuts = Mapping[str, str]
Mask = NDArray[np.bool_]
NOTHING_BEFORE = ""
LEAKAGE_BY_SPEAKER, LEAKAGE_BY_PHRASE = "leakage-by-test-speaker", "leakage-by-test-phrase"
FROZEN = "test-set-is-frozen"
OUTCOMES = (TRAIN, VALIDATION, TEST, VAULT, LEAKAGE_BY_SPEAKER, LEAKAGE_BY_PHRASE, FROZEN)
"""What becomes of an utterance: a split, or why none can take it."""
SPLITS = OUTCOMES[:4]
Outcomes = NDArray[np.int8]
"""Of each utterance, which one of OUTCOMES."""
EARLIER_TEST_SHARE = 0.2
"""The default under which older datasets began; they keep it, with their test sets."""


@dataclass(frozen=True, slots=True)
class Placed:
    """What decides the split of an utterance; `speaker` None: unknown."""

    key: str
    """Id of the utterance."""
    speaker: str | None
    """None: unknown."""
    phrase: str
    """The reference without case and punctuation."""
    audio_sha256: str
    """Of its audio."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """The split of each utterance kept, the reason for each one dropped, and the cuts used."""

    splits: dict[str, str]
    """Id -> split."""
    dropped: dict[str, str]
    """Id -> why."""
    cuts: dict[str, str]
    """Kind -> where the test side ends on its line."""


@dataclass(frozen=True, slots=True)
class Values:
    """A column of speakers or phrases, as numbers."""

    codes: NDArray[np.int32]
    """Of each utterance: where its value is among the others."""
    values: Any
    """Arrow array of the different values; None: unknown."""

    @classmethod
    def of(cls, column: Any) -> Values:
        """From a column of text."""
        (codes,), values = codes_of(column)
        return cls(codes, values)

    def counts(self, of: Mask | None = None) -> NDArray[np.int64]:
        """How many utterances (of some) have each value."""
        codes = self.codes if of is None else self.codes[of]
        return np.bincount(codes, minlength=len(self.values))

    @property
    def known(self) -> Mask:
        """Of each value, whether it is one."""
        return np.asarray(self.values.is_valid())


def digest_of_test_policy(policy: SplitPolicy) -> str:
    """Digest of what the test set depends on; with another, a new test set begins."""
    names = {"disjoint", "test_speakers", "vault_share", "salt"}
    values = policy.model_dump(mode="json", include=names)
    return digest_of(values | {"test_share": policy.share_tested})


def as_begun(policy: SplitPolicy, before: str) -> SplitPolicy:
    """The policy with the test share that a dataset began with, where the policy names none.

    `before`: digest of the test policy of an earlier revision.
    """
    earlier = policy.model_copy(update={"test_share": EARLIER_TEST_SHARE})
    began_so = policy.test_share is None and digest_of_test_policy(earlier) == before
    return earlier if began_so else policy


def place(salt: str, kind: str, value: str) -> str:
    """Where a value lies on its line: 16 hex digits, uniformly distributed."""
    return hashlib.sha256(f"{salt}\0{kind}\0{value}".encode()).hexdigest()[:16]


def cut_at(places: NDArray[np.uint64], counts: NDArray[np.int64], share: float) -> str:
    """The place up to which values hold `share` of all utterances, as nearly as can be.

    `places`, `counts`: of each value its place, and its utterances. At least one value lies on
    either side; with fewer than two values nothing lies before the cut.
    """
    if len(places) < 2:
        return NOTHING_BEFORE
    order = np.argsort(places)
    before = np.cumsum(counts[order])
    best = np.argmin(np.abs(before[:-1] - share * before[-1]))
    return f"{places[order[best]]:016x}"


def assign_splits(
    utterances: Iterable[Placed],
    policy: SplitPolicy,
    cuts: Cuts | None = None,
    known_phrases: Mapping[str, Side] | None = None,
) -> Assignment:
    """Assign train, validation, test or vault, and drop what would leak: `outcomes_of`, by id.

    `cuts` and `known_phrases` (phrase -> side) of an earlier revision under the same policy keep
    every earlier assignment as it was.
    """
    rows = Rows.of(utterances, Placed)
    phrases = Values.of(rows.column("phrase"))
    sides = [(known_phrases or {}).get(phrase or "") for phrase in texts(phrases.values)]
    outcomes, cuts = outcomes_of(
        Values.of(rows.column("speaker")),
        phrases,
        lambda: rows.column("audio_sha256"),
        policy,
        cuts or {},
        known=(np.array([s is not None for s in sides]), np.array([s == TEST for s in sides])),
    )
    found = [(u.key, OUTCOMES[outcome]) for u, outcome in zip(rows, outcomes, strict=True)]
    return Assignment(
        splits={key: outcome for key, outcome in found if outcome in SPLITS},
        dropped={key: outcome for key, outcome in found if outcome not in SPLITS},
        cuts=cuts,
    )


def outcomes_of(
    speakers: Values,
    phrases: Values,
    audio: Callable[[], Any],
    policy: SplitPolicy,
    cuts: Cuts,
    known: tuple[Mask, Mask],
) -> tuple[Outcomes, dict[str, str]]:
    """The outcome of each utterance, and all cuts.

    `audio`: gives the Arrow column of digests, asked for where they matter. `known`: of each
    phrase whether an earlier revision had it, and whether on its test side.
    Utterances of an unknown speaker count as one speaker that is never on the test side.
    """
    cuts = dict(cuts)
    if policy.disjoint == "guard":
        return _guard(speakers, policy, cuts), cuts
    by_speaker = _speakers_tested(speakers, policy, cuts)[speakers.codes]
    by_phrase = _phrases_tested(phrases, by_speaker, policy, cuts, known)[phrases.codes]
    test, train = _sides(by_speaker, by_phrase, audio, policy)
    aside = (
        train
        & _before_cut(
            phrases,
            phrases.counts(train),
            policy,
            f"validation-{policy.validation_share:g}",
            policy.validation_share,
            cuts,
        )[phrases.codes]
    )  # whole phrases only
    vault = test & _in_share(audio, test, policy.salt, "vault", policy.vault_share)
    leakage = np.where(by_speaker, _code(LEAKAGE_BY_SPEAKER), _code(LEAKAGE_BY_PHRASE))
    return np.select(
        [aside, train, vault, test],
        [_code(VALIDATION), _code(TRAIN), _code(VAULT), _code(TEST)],
        leakage,
    ).astype(np.int8), cuts


def _code(outcome: str) -> np.int8:
    return np.int8(OUTCOMES.index(outcome))


def _guard(speakers: Values, policy: SplitPolicy, cuts: dict[str, str]) -> Outcomes:
    """All are the test set but those of some speakers, who are validation; none where few are."""
    kind = f"guard-validation-{policy.validation_share:g}"
    counts = speakers.counts() * speakers.known
    aside = _before_cut(speakers, counts, policy, kind, policy.validation_share, cuts)
    return np.where(aside[speakers.codes], _code(VALIDATION), _code(TEST))


def _sides(
    by_speaker: Mask, by_phrase: Mask, audio: Callable[[], Any], policy: SplitPolicy
) -> tuple[Mask, Mask]:
    """Of each utterance, whether it may be in test, and in train; where neither, it would leak."""
    if policy.disjoint == "speaker-and-phrase":
        return by_speaker & by_phrase, ~by_speaker & ~by_phrase
    if policy.disjoint == "test-only":
        test = np.ones(len(by_speaker), dtype=bool)
    elif policy.disjoint == "phrase":
        test = by_phrase
    elif policy.disjoint == "speaker" or policy.test_speakers:
        test = by_speaker
    else:
        everything = np.ones(len(by_speaker), dtype=bool)
        test = _in_share(audio, everything, policy.salt, "audio", policy.share_tested)
    return test, ~test


def _speakers_tested(speakers: Values, policy: SplitPolicy, cuts: dict[str, str]) -> Mask:
    """Of each speaker, whether on the test side."""
    if policy.test_speakers:
        named = set(policy.test_speakers)
        return np.array([speaker in named for speaker in texts(speakers.values)], dtype=bool)
    counts = speakers.counts() * speakers.known
    return _before_cut(speakers, counts, policy, "speaker", policy.share_tested, cuts)


def _phrases_tested(
    phrases: Values,
    by_speaker: Mask,
    policy: SplitPolicy,
    cuts: dict[str, str],
    known: tuple[Mask, Mask],
) -> Mask:
    """Of each phrase, whether on the test side.

    With named test speakers, phrases that only they, or only others, say go where they are: a
    corpus made with test speakers of their own usually gives them sentences of their own too.
    """
    test = _before_cut(phrases, phrases.counts(), policy, "phrase", policy.share_tested, cuts)
    if policy.test_speakers:
        theirs, others = phrases.counts(by_speaker) > 0, phrases.counts(~by_speaker) > 0
        test = np.where(theirs != others, theirs, test)
    was_there, was_tested = known
    return np.where(was_there, was_tested, test).astype(bool)


def _before_cut(
    column: Values,
    counts: NDArray[np.int64],
    policy: SplitPolicy,
    kind: str,
    share: float,
    cuts: dict[str, str],
) -> Mask:
    """Of each value, whether it is counted and lies before the cut; which is found where it isn't.

    `counts`: of each value the utterances that count.
    """
    counted = np.flatnonzero(counts)
    places = _places(column.values.take(counted), policy.salt, kind)
    if kind not in cuts:
        cuts[kind] = cut_at(places, counts[counted], share)
    before = np.zeros(len(counts), dtype=bool)
    if cuts[kind] != NOTHING_BEFORE:
        before[counted] = places <= np.uint64(int(cuts[kind], 16))
    return before


def _places(values: Any, salt: str, kind: str) -> NDArray[np.uint64]:
    """`place` of each value, as a number."""
    found = (int(place(salt, kind, value or ""), 16) for value in texts(values))
    return np.fromiter(found, np.uint64, len(values))


def _in_share(audio: Callable[[], Any], of: Mask, salt: str, kind: str, share: float) -> Mask:
    """Of each utterance, whether it is one of some and its audio lies in the first `share`."""
    found = np.zeros(len(of), dtype=bool)
    if share > 0:
        digests = texts(audio().take(np.flatnonzero(of)))
        found[of] = [int(place(salt, kind, digest or ""), 16) / 2**64 < share for digest in digests]
    return found


def leakage_matrix(
    utterances: Iterable[Placed], splits: Mapping[str, str]
) -> dict[str, dict[str, int]]:
    """Per split: utterances by whether train knows their speaker and their phrase."""
    rows = Rows.of([u for u in utterances if u.key in splits], Placed)
    outcomes = np.array([OUTCOMES.index(splits[u.key]) for u in rows], dtype=np.int8)
    return leakage(Values.of(rows.column("speaker")), Values.of(rows.column("phrase")), outcomes)


def leakage(speakers: Values, phrases: Values, outcomes: Outcomes) -> dict[str, dict[str, int]]:
    """The same of columns."""
    train = outcomes == _code(TRAIN)
    by_speaker, by_phrase = ((v.counts(train) > 0)[v.codes] for v in (speakers, phrases))
    matrix: dict[str, dict[str, int]] = {}
    for code, split in enumerate(SPLITS):
        for seen_speaker in (True, False):
            for seen_phrase in (True, False):
                cell = (outcomes == code) & (by_speaker == seen_speaker)
                count = int(np.count_nonzero(cell & (by_phrase == seen_phrase)))
                if count:
                    name = (
                        f"{'seen' if seen_speaker else 'unseen'}-speaker/"
                        f"{'seen' if seen_phrase else 'unseen'}-phrase"
                    )
                    matrix.setdefault(split, {})[name] = count
    return matrix
