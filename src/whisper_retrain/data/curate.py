"""From all recordings seen to the utterances of a revision: every one taken, or named why not.

Pure, and independent of the order of the rows. Knows nothing of storage. Rows are streamed and
columns compared; Python objects stay only of what is in doubt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_retrain.config import DatasetConfig, SplitPolicy
from whisper_retrain.data.duplicates import without_duplicates
from whisper_retrain.data.manifest import Utterance
from whisper_retrain.data.recordings import Recording, keys_of
from whisper_retrain.data.review import ReviewFile
from whisper_retrain.data.rows import (
    Gathering,
    Rows,
    codes_of,
    is_in,
    order_of,
    repeated,
    texts,
    whole,
)
from whisper_retrain.data.splits import (
    FROZEN,
    OUTCOMES,
    SPLITS,
    TEST,
    VAULT,
    Mask,
    Outcomes,
    Values,
    as_begun,
    digest_of_test_policy,
    leakage,
    outcomes_of,
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

    utterances: Iterable[Utterance] = ()
    """As they were."""
    cuts: Mapping[str, str] = field(default_factory=dict)
    """Kind -> where the test side ends."""
    test_policy: str = ""
    """Digest of the settings that the test set depended on."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """An utterance that no split could take."""

    utterance: str
    """source/id."""
    reason: str
    """In a word."""


@dataclass(frozen=True, slots=True)
class Curated:
    """The outcome; `seen` = utterances + quarantined + dropped."""

    seen: int
    """Rows of all sources."""
    utterances: Rows[Utterance]
    """Taken, with their splits."""
    quarantined: Rows[Quarantined]
    """Refused, with the reason."""
    dropped: Rows[Dropped]
    """That no split could take, and why."""
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
    earlier = Rows.of(before.utterances, Utterance).sorted_by("id")
    frozen, notices = Rows.of((), Utterance), list[str]()
    if policy.test_set == "frozen":
        frozen, notices = _frozen(earlier, review)
    rows = _Keyed.of(Rows.of(recordings, Recording), review)
    held, changes = _found_again(rows, frozen, review)
    candidates, quarantined = _validated(rows, held, config, count, review)
    kept, duplicates = without_duplicates(candidates, frozen, earlier)
    outcomes, cuts = _assign(kept, policy, before.cuts, earlier, frozen)
    taken, dropped = _divided(kept, outcomes)
    utterances = (taken + frozen).sorted_by("id")
    curated = Curated(
        seen=len(rows.rows) + len(frozen) - int(np.count_nonzero(held)),
        utterances=utterances,
        quarantined=quarantined + duplicates,
        dropped=dropped,
        cuts=cuts,
        test_policy=digest_of_test_policy(policy),
        leakage=_leakage(utterances),
        notices=[*notices, *changes, *_unknown_to(rows, frozen, review)],
    )
    check_conservation(curated)
    check_disjoint(utterances, config)
    return curated


@dataclass(frozen=True, slots=True)
class _Keyed:
    """All rows with the references that a person gave them, their keys and their order."""

    rows: Rows[Recording]
    """In one table, as they came."""
    keys: Any
    """Arrow column: the key of each row."""
    rank: NDArray[np.int64]
    """Of each row, by all that it says: of two alike ones the same one stays however they come."""

    @classmethod
    def of(cls, rows: Rows[Recording], review: ReviewFile) -> _Keyed:
        rows = Rows(Recording, [rows.table()])
        keys = keys_of(rows)
        if review.corrected:
            rows = rows.with_column("reference", _corrected(rows, keys, review))
        names = ("audio_sha256", "reference", "speaker", "prompt")
        order = order_of(chain([keys], (rows.column(name) for name in names)))
        rank = np.arange(len(rows)) if order is None else np.argsort(order)
        return cls(rows, keys, rank)


def _corrected(rows: Rows[Recording], keys: Any, review: ReviewFile) -> Any:
    """All references, those of the review file in their places."""
    import pyarrow as pa

    chunks = [
        pa.array(
            map(review.corrected.get, some_keys.to_pylist(), references.to_pylist()), pa.string()
        )
        for some_keys, references in zip(keys.chunks, rows.column("reference").chunks, strict=True)
    ]
    return whole(pa.chunked_array(chunks, pa.string()))


def _unknown_to(rows: _Keyed, frozen: Rows[Utterance], review: ReviewFile) -> list[str]:
    reviewed = review.utterances
    known = {*_among(rows.keys, reviewed), *_among(frozen.column("id"), reviewed)}
    return [f"review-unknown: {key} is in no source" for key in sorted(reviewed - known)]


def _among(column: Any, values: Iterable[str]) -> list[str]:
    return list(column.filter(is_in(column, values)).to_pylist())


def _frozen(earlier: Rows[Utterance], review: ReviewFile) -> tuple[Rows[Utterance], list[str]]:
    """The test set as it was, but for what a person reviewed, which is named."""
    frozen = Gathering(Utterance)
    excluded: list[str] = []
    corrected: list[str] = []
    for u in earlier.where(is_in(earlier.column("split"), HELD_OUT)):
        text = repair_reference(review.corrected.get(u.id, u.reference)).text
        if u.id in review.excluded:
            excluded.append(f"test-set-reviewed: {u.id} is excluded")
        elif u.id in review.corrected and u.reference != text:
            frozen.append(replace(u, reference=text, phrase=fold_phrase(text)))
            corrected.append(f"test-set-reviewed: reference of {u.id} is corrected")
        else:
            frozen.append(u)
    return frozen.rows(), [*excluded, *corrected]


def _found_again(
    rows: _Keyed, frozen: Rows[Utterance], review: ReviewFile
) -> tuple[Mask, list[str]]:
    """Of each row whether it is one of the frozen test set itself; and, in words, what its source
    says differently of the test set, which stays as it is.
    """
    import pyarrow.compute as pc

    number = pc.index_in(rows.keys, value_set=frozen.column("id"))
    places = np.flatnonzero(np.asarray(number.is_valid()))
    numbers = np.asarray(number.drop_null(), dtype=np.int64)
    audio = np.zeros(len(places), dtype=bool)
    text = np.zeros(len(places), dtype=bool)
    for pair, (row, u) in enumerate(zip(rows.rows.take(places), frozen.take(numbers), strict=True)):
        audio[pair] = row.audio_sha256 == u.audio_sha256
        text[pair] = repair_reference(row.reference or "").text == u.reference
    held = np.zeros(len(rows.rows), dtype=bool)
    order = np.lexsort((rows.rank[places], ~audio, numbers))
    held[places[order[np.unique(numbers[order], return_index=True)[1]]]] = True
    there, same_audio, same_text = (
        np.bincount(numbers[of], minlength=len(frozen)) > 0
        for of in (np.ones_like(audio), audio, text)
    )
    notices = []
    changed = np.flatnonzero(~(there & same_audio & same_text))
    for at, key in zip(changed, texts(frozen.take(changed).column("id")), strict=True):
        if not there[at]:
            notices.append(f"test-set-removed: {key} is gone from its source and is kept")
        elif not same_audio[at]:
            notices.append(f"test-set-changed: audio of {key} is another one in its source")
        elif key not in review.corrected:
            notices.append(f"test-set-changed: reference of {key} is another one in its source")
    return held, notices


@dataclass(frozen=True, slots=True)
class _Text:
    """What an utterance has that its recording lacks."""

    reference: str = ""
    """Mended."""
    phrase: str = ""
    """Without case and punctuation."""
    note: str = ""
    """What was done to the reference."""


def _validated(
    rows: _Keyed, held: Mask, config: DatasetConfig, count: CountLabelIds, review: ReviewFile
) -> tuple[Rows[Utterance], Rows[Quarantined]]:
    """Utterances without splits of the rows that are not held, and those that break a bound."""
    said, refused = Gathering(_Text), Gathering(Quarantined)
    usable, reviewed = ~held, review.utterances
    for at, row in enumerate(rows.rows):
        if held[at]:
            said.append(_Text())
            continue
        repair = repair_reference(row.reference or "")
        fault = validate(row, repair, config.bounds, count, overruled=row.key in review.kept)
        if row.key in review.excluded:
            fault = quarantine(row, "excluded-by-review", "excluded", "the review file")
        if fault is not None:
            refused.append(fault)
            usable[at] = False
        notes = [*repair.notes, *(["reviewed"] if row.key in reviewed else [])]
        said.append(_Text(repair.text, fold_phrase(repair.text), ", ".join(notes)))
    order = np.argsort(rows.rank)
    return (
        _utterances(rows, said.rows()).take(order[usable[order]]),
        refused.rows().take(np.argsort(rows.rank[~usable & ~held])),
    )


def _utterances(rows: _Keyed, said: Rows[_Text]) -> Rows[Utterance]:
    """Of each row; what a recording has already is not copied."""
    import pyarrow as pa

    tables = rows.rows.table(), said.table()
    columns = {name: table.column(name) for table in tables for name in table.column_names}
    columns["id"] = whole(rows.keys)
    columns["split"] = pa.nulls(len(said), pa.string())
    return Rows(Utterance, [pa.table(columns)])


def _assign(
    kept: Rows[Utterance],
    policy: SplitPolicy,
    cuts: Mapping[str, str],
    earlier: Rows[Utterance],
    frozen: Rows[Utterance],
) -> tuple[Outcomes, dict[str, str]]:
    """What becomes of each utterance; phrases stay on the side on which they were."""
    (phrases, before, in_frozen), values = codes_of(
        *(rows.column("phrase") for rows in (kept, earlier, frozen))
    )
    known, tested = np.zeros(len(values), dtype=bool), np.zeros(len(values), dtype=bool)
    known[before] = known[in_frozen] = True
    tested[before] = np.asarray(is_in(earlier.column("split"), HELD_OUT))
    # A corrected reference of the test set may have become a phrase that train has.
    tested[in_frozen] = True
    outcomes, cuts_now = outcomes_of(
        Values.of(kept.column("speaker")),
        Values(phrases, values),
        lambda: kept.column("audio_sha256"),
        policy,
        cuts,
        (known, tested),
    )
    if len(frozen):
        held = [OUTCOMES.index(split) for split in HELD_OUT]
        outcomes[np.isin(outcomes, held)] = OUTCOMES.index(FROZEN)
    return outcomes, cuts_now


def _divided(kept: Rows[Utterance], outcomes: Outcomes) -> tuple[Rows[Utterance], Rows[Dropped]]:
    """Utterances with their splits, and those that got none."""
    found = kept.with_texts("split", outcomes, OUTCOMES)
    taken = outcomes < len(SPLITS)
    dropped = found.where(~taken).seen_as(Dropped, utterance="id", reason="split")
    return found.where(taken), dropped


def _leakage(utterances: Rows[Utterance]) -> dict[str, dict[str, int]]:
    (codes,), values = codes_of(utterances.column("split"))
    outcomes = np.array([OUTCOMES.index(split) for split in values.to_pylist()], dtype=np.int8)
    speakers, phrases = (Values.of(utterances.column(name)) for name in ("speaker", "phrase"))
    return leakage(speakers, phrases, outcomes[codes])


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


def check_disjoint(utterances: Rows[Utterance], config: DatasetConfig) -> None:
    """Raise IntegrityError when what was promised to be disjoint is not."""
    suspects = {"audio": utterances.where(repeated("audio_sha256", utterances))}
    suspects |= {
        kind: utterances for kind in ("phrase", "speaker") if kind in config.splits.disjoint
    }
    for kind, rows in suspects.items():
        held = np.asarray(is_in(rows.column("split"), HELD_OUT))
        values = Values.of(rows.column("audio_sha256" if kind == "audio" else kind))
        shared = np.count_nonzero((values.counts(held) > 0) & (values.counts(~held) > 0))
        if shared:
            raise IntegrityError(
                f"test and train share a {kind}",
                where="splits",
                expected="none shared",
                got=f"{shared} shared",
            )


def reasons(values: Iterable[str]) -> dict[str, int]:
    """How often each reason was given."""
    return dict(sorted(Counter(values).items()))
