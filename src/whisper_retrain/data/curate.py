"""From all recordings seen to the utterances of a revision: every one taken, or named why not.

Pure, and independent of the order of the rows. Knows nothing of storage.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from whisper_retrain.config import DatasetConfig, SplitPolicy
from whisper_retrain.data.manifest import Utterance
from whisper_retrain.data.recordings import Recording
from whisper_retrain.data.review import ReviewFile
from whisper_retrain.data.splits import (
    TEST,
    VAULT,
    Assignment,
    Placed,
    Side,
    as_begun,
    assign_splits,
    digest_of_test_policy,
    leakage_matrix,
)
from whisper_retrain.data.text import fold_phrase, repair_reference
from whisper_retrain.data.validation import (
    CountLabelIds,
    Quarantined,
    quarantine,
    validate,
)
from whisper_retrain.errors import IntegrityError

HELD_OUT = (TEST, VAULT)


@dataclass(frozen=True, slots=True)
class Before:
    """What an earlier revision settled, as far as it still holds under the present policy."""

    utterances: Mapping[str, Utterance] = field(default_factory=dict)
    """Id -> the utterance as it was."""
    cuts: Mapping[str, str] = field(default_factory=dict)
    """Kind -> where the test side ends."""
    test_policy: str = ""
    """Digest of the settings that the test set depended on."""


@dataclass(frozen=True, slots=True)
class Curated:
    """The outcome; `seen` = utterances + quarantined + dropped."""

    seen: int
    """Rows of all sources."""
    utterances: list[Utterance]
    """Taken, with their splits."""
    quarantined: list[Quarantined]
    """Refused, with the reason."""
    dropped: dict[str, str]
    """Id -> why no split could take it."""
    cuts: dict[str, str]
    """Kind -> where the test side ends."""
    test_policy: str
    """Digest of the settings that the test set depends on."""
    leakage: dict[str, dict[str, int]]
    """Kind -> pair of splits -> how many they share."""
    notices: list[str]
    """Sentences for people."""


def curate(
    recordings: Iterable[Recording],
    config: DatasetConfig,
    before: Before,
    count: CountLabelIds,
    review: ReviewFile | None = None,
) -> Curated:
    """Validate, find duplicates, hold the test set, split, and drop what would leak."""
    policy, review = as_begun(config.splits, before.test_policy), review or ReviewFile()
    if before.test_policy != digest_of_test_policy(policy):
        before = Before()
    frozen, notices = _frozen(before, review) if policy.test_set == "frozen" else ({}, [])
    rows = [_reviewed(row, review) for row in recordings]
    # By all that a row says, so that which of two alike ones stays does not hang on their order.
    rows.sort(
        key=lambda r: (
            r.key,
            r.audio_sha256 or "",
            r.reference or "",
            r.speaker or "",
            r.prompt or "",
        )
    )
    fresh, held = _without_frozen(rows, frozen)
    candidates, quarantined = _validated(fresh, config, count, review)
    kept, duplicates = _without_duplicates(candidates, frozen, before)
    assignment = _assign(kept, policy, before, frozen)
    utterances = [
        replace(u, split=assignment.splits[u.id]) for u in kept if u.id in assignment.splits
    ]
    utterances = sorted([*utterances, *frozen.values()], key=lambda u: u.id)
    curated = Curated(
        seen=len(rows) + len(frozen) - held,
        utterances=utterances,
        quarantined=[*quarantined, *duplicates],
        dropped=assignment.dropped,
        cuts=assignment.cuts,
        test_policy=digest_of_test_policy(policy),
        leakage=leakage_matrix(map(placed, utterances), {u.id: u.split for u in utterances}),
        notices=[
            *notices,
            *_changes_of_test_set(rows, frozen, review),
            *_unknown_to(rows, frozen, review),
        ],
    )
    check_conservation(curated)
    check_disjoint(utterances, config)
    return curated


def _reviewed(row: Recording, review: ReviewFile) -> Recording:
    text = review.corrected.get(row.key)
    return row if text is None else replace(row, reference=text)


def _unknown_to(
    rows: Sequence[Recording], frozen: Mapping[str, Utterance], review: ReviewFile
) -> list[str]:
    unknown = review.utterances - {row.key for row in rows} - frozen.keys()
    return [f"review-unknown: {key} is in no source" for key in sorted(unknown)]


def placed(u: Utterance) -> Placed:
    """What decides the split of an utterance."""
    return Placed(u.id, u.speaker, u.phrase, u.audio_sha256)


def _frozen(before: Before, review: ReviewFile) -> tuple[dict[str, Utterance], list[str]]:
    """The test set as it was, but for what a person reviewed, which is named."""
    frozen = {u.id: u for u in before.utterances.values() if u.split in HELD_OUT}
    notices: list[str] = []
    for key in sorted(review.excluded & frozen.keys()):
        del frozen[key]
        notices.append(f"test-set-reviewed: {key} is excluded")
    for key in sorted(review.corrected.keys() & frozen.keys()):
        text = repair_reference(review.corrected[key]).text
        if frozen[key].reference != text:
            frozen[key] = replace(frozen[key], reference=text, phrase=fold_phrase(text))
            notices.append(f"test-set-reviewed: reference of {key} is corrected")
    return frozen, notices


def _changes_of_test_set(
    rows: Sequence[Recording], frozen: Mapping[str, Utterance], review: ReviewFile
) -> list[str]:
    """What a source says differently of the frozen test set, which stays as it is."""
    found: dict[str, list[Recording]] = defaultdict(list)
    for row in rows:
        if row.key in frozen:
            found[row.key].append(row)
    notices = []
    for key, utterance in sorted(frozen.items()):
        texts = {repair_reference(r.reference or "").text for r in found[key]}
        if not found[key]:
            notices.append(f"test-set-removed: {key} is gone from its source and is kept")
        elif all(r.audio_sha256 != utterance.audio_sha256 for r in found[key]):
            notices.append(f"test-set-changed: audio of {key} is another one in its source")
        elif utterance.reference not in texts and key not in review.corrected:
            notices.append(f"test-set-changed: reference of {key} is another one in its source")
    return notices


def _without_frozen(
    rows: Sequence[Recording], frozen: Mapping[str, Utterance]
) -> tuple[list[Recording], int]:
    """Rows that are not the frozen test set itself, and how many of its utterances were seen."""
    held: set[str] = set()
    fresh: list[Recording] = []
    for row in sorted(rows, key=lambda r: _differs(r, frozen)):
        if row.key in frozen and row.key not in held:
            held.add(row.key)
        else:
            fresh.append(row)
    return sorted(fresh, key=lambda r: (r.key, r.audio_sha256 or "")), len(held)


def _differs(row: Recording, frozen: Mapping[str, Utterance]) -> bool:
    return row.key not in frozen or row.audio_sha256 != frozen[row.key].audio_sha256


def _validated(
    rows: Sequence[Recording], config: DatasetConfig, count: CountLabelIds, review: ReviewFile
) -> tuple[list[Utterance], list[Quarantined]]:
    utterances: list[Utterance] = []
    quarantined: list[Quarantined] = []
    for row in rows:
        repair = repair_reference(row.reference or "")
        fault = validate(row, repair, config.bounds, count, overruled=row.key in review.kept)
        if row.key in review.excluded:
            fault = quarantine(row, "excluded-by-review", "excluded", "the review file")
        if fault is not None:
            quarantined.append(fault)
            continue
        notes = [*repair.notes, *(["reviewed"] if row.key in review.utterances else [])]
        utterances.append(_utterance(row, repair.text, ", ".join(notes)))
    return utterances, quarantined


def _utterance(row: Recording, reference: str, note: str) -> Utterance:
    return Utterance(
        id=row.key,
        source=row.source,
        reference=reference,
        speaker=row.speaker,
        prompt=row.prompt,
        phrase=fold_phrase(reference),
        split="",
        duration_s=row.duration_s,
        num_samples=row.num_samples,
        audio_sha256=row.audio_sha256 or "",
        sampling_rate_hz=row.sampling_rate_hz,
        level_dbfs=row.level_dbfs,
        shard=row.shard or "",
        row=row.row,
        note=note,
    )


def _without_duplicates(
    utterances: Sequence[Utterance], frozen: Mapping[str, Utterance], before: Before
) -> tuple[list[Utterance], list[Quarantined]]:
    """One utterance for each id and each audio; which one does not depend on what came later."""
    test_audio = {u.audio_sha256: u.id for u in frozen.values()}
    phrases = _conflicting(utterances)
    ids: dict[str, str] = {key: u.audio_sha256 for key, u in frozen.items()}
    audio: dict[str, str] = {}
    kept: list[Utterance] = []
    quarantined: list[Quarantined] = []
    for u in sorted(utterances, key=lambda u: (not _was_taken(u, before), u.id, u.audio_sha256)):
        if u.audio_sha256 in test_audio:
            fault = ("test-set-leak", test_audio[u.audio_sha256], "audio that is not in test")
        elif u.audio_sha256 in phrases:
            fault = ("conflicting-references", " | ".join(sorted(phrases[u.audio_sha256])), "one")
        elif u.audio_sha256 in audio:
            fault = ("duplicate-audio", audio[u.audio_sha256], "audio once")
        elif u.id in ids:
            fault = ("duplicate-id", u.id, "an id once")
        else:
            ids[u.id] = audio[u.audio_sha256] = u.id
            kept.append(u)
            continue
        quarantined.append(_faulty(u, *fault))
    return kept, quarantined


def _conflicting(utterances: Sequence[Utterance]) -> dict[str, set[str]]:
    """Audio with more than one phrase -> the phrases. Mostly there is none: few sets are made."""
    first: dict[str, str] = {}
    several: dict[str, set[str]] = {}
    for u in utterances:
        phrase = first.setdefault(u.audio_sha256, u.phrase)
        if phrase != u.phrase:
            several.setdefault(u.audio_sha256, {phrase}).add(u.phrase)
    return several


def _was_taken(u: Utterance, before: Before) -> bool:
    earlier = before.utterances.get(u.id)
    return earlier is not None and earlier.audio_sha256 == u.audio_sha256


def _faulty(u: Utterance, reason: str, figure: str, bound: str) -> Quarantined:
    return Quarantined(
        u.id, u.source, reason, figure, bound, u.speaker, u.reference, u.audio_sha256
    )


def _assign(
    utterances: Sequence[Utterance],
    policy: SplitPolicy,
    before: Before,
    frozen: Mapping[str, Utterance],
) -> Assignment:
    sides: dict[str, Side] = {
        u.phrase: "test" if u.split in HELD_OUT else "train" for u in before.utterances.values()
    }
    # A corrected reference of the test set may have become a phrase that train has.
    sides.update({u.phrase: "test" for u in frozen.values()})
    found = assign_splits([placed(u) for u in utterances], policy, before.cuts, sides)
    if not frozen:
        return found
    late = {key for key, split in found.splits.items() if split in HELD_OUT}
    splits = {key: split for key, split in found.splits.items() if key not in late}
    dropped = {**found.dropped, **dict.fromkeys(sorted(late), "test-set-is-frozen")}
    return Assignment(splits, dropped, found.cuts)


def check_conservation(curated: Curated) -> None:
    """Raise IntegrityError unless every recording seen is taken, quarantined or dropped."""
    parts = len(curated.utterances), len(curated.quarantined), len(curated.dropped)
    if sum(parts) != curated.seen:
        raise IntegrityError(
            "recordings were lost or invented",
            where="curation",
            expected=f"{curated.seen} seen",
            got="{} taken + {} quarantined + {} dropped".format(*parts),
        )


def check_disjoint(utterances: Iterable[Utterance], config: DatasetConfig) -> None:
    """Raise IntegrityError when what was promised to be disjoint is not."""
    held: dict[str, set[object]] = defaultdict(set)
    used: dict[str, set[object]] = defaultdict(set)
    for u in utterances:
        side = held if u.split in HELD_OUT else used
        side["audio"].add(u.audio_sha256)
        if "phrase" in config.splits.disjoint:
            side["phrase"].add(u.phrase)
        if "speaker" in config.splits.disjoint:
            side["speaker"].add(u.speaker)
    for kind, values in held.items():
        shared = values & used[kind]
        if shared:
            raise IntegrityError(
                f"test and train share a {kind}",
                where="splits",
                expected="none shared",
                got=f"{len(shared)} shared",
            )


def reasons(values: Iterable[str]) -> dict[str, int]:
    """How often each reason was given."""
    return dict(sorted(Counter(values).items()))
