"""Which split an utterance is in: a function of its own speaker, phrase and audio digest.

Each speaker and each phrase has a place on a line, by a salted digest; those before a cut are the
test side. The cuts are found once, on the first revision, so that the test side holds the wanted
share of the utterances, and are handed on: data that comes later can't move what was placed. Pure.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from whisper_retrain.config import SplitPolicy
from whisper_retrain.records import digest_of

TEST, VALIDATION, TRAIN, VAULT = "test", "validation", "train", "vault"
Side = Literal["test", "train"]
Cuts = Mapping[str, str]
NOTHING_BEFORE = ""
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


def cut_at(places: Mapping[str, int], share: float) -> str:
    """The place up to which values hold `share` of all utterances, as nearly as can be.

    `places`: place -> utterances. At least one value lies on either side; with fewer than two
    values nothing lies before the cut.
    """
    ordered = sorted(places)
    if len(ordered) < 2:
        return NOTHING_BEFORE
    wanted = share * sum(places.values())
    best, best_distance, before = ordered[0], float("inf"), 0
    for value in ordered[:-1]:
        before += places[value]
        if abs(before - wanted) < best_distance:
            best, best_distance = value, abs(before - wanted)
    return best


def assign_splits(
    utterances: Sequence[Placed],
    policy: SplitPolicy,
    cuts: Cuts | None = None,
    known_phrases: Mapping[str, Side] | None = None,
) -> Assignment:
    """Assign train, validation, test or vault, and drop what would leak.

    `cuts` and `known_phrases` (phrase -> side) of an earlier revision under the same policy keep
    every earlier assignment as it was.
    Utterances of an unknown speaker count as one speaker that is never on the test side.
    """
    cuts = dict(cuts or {})
    if policy.disjoint == "guard":
        return _guard(utterances, policy, cuts)
    speaker_side = _speaker_sides(utterances, policy, cuts)
    phrase_side = _phrase_sides(utterances, policy, cuts, known_phrases or {})
    splits: dict[str, str] = {}
    dropped: dict[str, str] = {}
    for u in utterances:
        sides = _sides(u, policy, speaker_side, phrase_side, cuts)
        if sides == {TEST}:
            in_vault = _share_of(policy.salt, "vault", u.audio_sha256) < policy.vault_share
            splits[u.key] = VAULT if in_vault else TEST
        elif sides == {TRAIN}:
            splits[u.key] = TRAIN
        else:
            test_by = "speaker" if speaker_side(u) == TEST else "phrase"
            dropped[u.key] = f"leakage-by-test-{test_by}"
    _set_aside_validation(utterances, splits, policy, cuts)
    return Assignment(splits, dropped, cuts)


def _guard(utterances: Sequence[Placed], policy: SplitPolicy, cuts: dict[str, str]) -> Assignment:
    """All are the test set but those of some speakers, who are validation; none where few are."""
    kind = f"guard-validation-{policy.validation_share:g}"
    speakers = Counter(u.speaker for u in utterances if u.speaker is not None)
    cut = _cut(cuts, kind, speakers, policy.salt, policy.validation_share)

    def split_of(u: Placed) -> str:
        aside = u.speaker is not None and place(policy.salt, kind, u.speaker) <= cut
        return VALIDATION if aside else TEST

    return Assignment({u.key: split_of(u) for u in utterances}, {}, cuts)


SideOf = Callable[[Placed], Side]


def _sides(
    u: Placed, policy: SplitPolicy, speaker: SideOf, phrase: SideOf, cuts: Cuts
) -> set[Side]:
    if policy.disjoint == "test-only":
        return {"test"}
    if policy.disjoint == "speaker-and-phrase":
        return {speaker(u), phrase(u)}
    if policy.disjoint == "speaker":
        return {speaker(u)}
    if policy.disjoint == "phrase":
        return {phrase(u)}
    if policy.test_speakers:
        return {speaker(u)}
    return {
        "test" if _share_of(policy.salt, "audio", u.audio_sha256) < policy.share_tested else "train"
    }


def _speaker_sides(
    utterances: Sequence[Placed], policy: SplitPolicy, cuts: dict[str, str]
) -> SideOf:
    if policy.test_speakers:
        named = set(policy.test_speakers)
        return lambda u: "test" if u.speaker in named else "train"
    speakers = Counter(u.speaker for u in utterances if u.speaker is not None)
    cut = _cut(cuts, "speaker", speakers, policy.salt, policy.share_tested)
    return lambda u: (
        "test"
        if u.speaker is not None and place(policy.salt, "speaker", u.speaker) <= cut
        else "train"
    )


def _phrase_sides(
    utterances: Sequence[Placed],
    policy: SplitPolicy,
    cuts: dict[str, str],
    known: Mapping[str, Side],
) -> SideOf:
    cut = _cut(
        cuts, "phrase", Counter(u.phrase for u in utterances), policy.salt, policy.share_tested
    )
    own = {**_phrases_of_one_side(utterances, policy), **known}
    return lambda u: (
        own.get(u.phrase) or ("test" if place(policy.salt, "phrase", u.phrase) <= cut else "train")
    )


def _phrases_of_one_side(utterances: Iterable[Placed], policy: SplitPolicy) -> dict[str, Side]:
    """With named test speakers: phrases that only they, or only others, say go where they are.

    A corpus made with test speakers of their own usually gives them sentences of their own too.
    """
    if not policy.test_speakers:
        return {}
    sides: dict[str, set[Side]] = {}
    for u in utterances:
        side: Side = "test" if u.speaker in policy.test_speakers else "train"
        sides.setdefault(u.phrase, set()).add(side)
    return {phrase: next(iter(found)) for phrase, found in sides.items() if len(found) == 1}


def _cut(
    cuts: dict[str, str], kind: str, weights: Mapping[str, int], salt: str, share: float
) -> str:
    if kind not in cuts:
        cuts[kind] = cut_at({place(salt, kind, v): n for v, n in weights.items()}, share)
    return cuts[kind]


def _set_aside_validation(
    utterances: Sequence[Placed], splits: dict[str, str], policy: SplitPolicy, cuts: dict[str, str]
) -> None:
    """Move a share of the phrases of train to validation, whole phrases only."""
    train = [u for u in utterances if splits.get(u.key) == TRAIN]
    phrases = Counter(u.phrase for u in train)
    kind = f"validation-{policy.validation_share:g}"
    cut = _cut(cuts, kind, phrases, policy.salt, policy.validation_share)
    for u in train:
        if place(policy.salt, kind, u.phrase) <= cut:
            splits[u.key] = VALIDATION


def _share_of(salt: str, kind: str, value: str) -> float:
    return int(place(salt, kind, value), 16) / 2**64


def leakage_matrix(
    utterances: Iterable[Placed], splits: Mapping[str, str]
) -> dict[str, dict[str, int]]:
    """Per split: utterances by whether train knows their speaker and their phrase."""
    rows = [(u, splits[u.key]) for u in utterances if u.key in splits]
    speakers = {u.speaker for u, split in rows if split == TRAIN}
    phrases = {u.phrase for u, split in rows if split == TRAIN}
    matrix: dict[str, dict[str, int]] = {}
    for u, split in rows:
        cell = (
            f"{'seen' if u.speaker in speakers else 'unseen'}-speaker/"
            f"{'seen' if u.phrase in phrases else 'unseen'}-phrase"
        )
        counts = matrix.setdefault(split, {})
        counts[cell] = counts.get(cell, 0) + 1
    return matrix
