"""Splits that fit the size of a dataset, chosen from its texts before any audio is read. Pure.

The strictest split that leaves a test set large enough is the best one; a small dataset gets a
larger share of test, and need not be disjoint by both speaker and phrase.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from whisper_retrain.config import SplitPolicy
from whisper_retrain.data.listed import ListedText
from whisper_retrain.data.splits import (
    TEST,
    TRAIN,
    VALIDATION,
    Placed,
    assign_splits,
    digest_of_test_policy,
    leakage_matrix,
)
from whisper_retrain.errors import InputError
from whisper_retrain.normalizer import normalize

CANDIDATES = tuple(
    SplitPolicy(disjoint=disjoint, test_share=share)
    for share in (0.2, 0.3, 0.4)
    for disjoint in ("speaker-and-phrase", "speaker", "phrase")
)
MIN_TRAIN_SHARE = 0.4
"""Of all recordings: a split that leaves less to train on is not considered."""
RESERVE = 1.2
"""Words wanted per word needed: some recordings will not pass validation."""
VALIDATION_UTTERANCES = 20
"""Wanted for choosing the checkpoint; a small dataset gives a larger share for them."""
MAX_VALIDATION_SHARE = 0.2


@dataclass(frozen=True)
class Outlook:
    """What a policy makes of the listed texts."""

    policy: SplitPolicy
    """The splits."""
    utterances: dict[str, int]
    """Split -> utterances."""
    dropped: int
    """Utterances that would leak."""
    test_words: int
    """Reference words of the test set, normalised."""
    known_phrases: float
    """Share of the test utterances whose phrase is trained on."""
    known_speakers: float
    """The same for speakers."""

    @property
    def strictness(self) -> tuple[float, ...]:
        """Smaller is better: what the test set shares with train, then what is dropped.

        Known phrases come first: what was trained word for word says nothing about other words.
        In tenths, so that one phrase in a hundred does not outweigh a third of the recordings.
        """
        dropped = self.dropped / (sum(self.utterances.values()) + self.dropped)
        return (
            round(self.known_phrases, 1),
            round(self.known_speakers, 1),
            round(dropped, 1),
            self.policy.share_tested,
        )


def propose_splits(
    texts: Sequence[ListedText], min_words: int, test_policy_before: str | None = None
) -> SplitPolicy:
    """The strictest candidate whose test set has `min_words` and some to spare.

    When none has, the one with the most words. `test_policy_before` is the digest of the policy
    by which these sources have a test set that is large enough: it is kept, if it is a candidate,
    so that the test set stays frozen. Raises InputError when nothing can be split.
    """
    outlooks = [look_ahead(texts, policy) for policy in CANDIDATES]
    kept = [o for o in outlooks if digest_of_test_policy(o.policy) == test_policy_before]
    possible = [one for one in outlooks if _can_train(one, len(texts))]
    enough = [one for one in possible if one.test_words >= RESERVE * min_words]
    if kept:
        chosen = kept[0]
    elif enough:
        chosen = min(enough, key=lambda one: one.strictness)
    elif possible:
        chosen = max(possible, key=lambda one: one.test_words)
    else:
        raise InputError(
            "too few recordings to split into train, validation and test",
            expected="different sentences, in all three splits",
            got=f"{len(texts)} recordings of {len({text.phrase for text in texts})} sentences",
            remedy="add recordings of other sentences",
        )
    share = _validation_share(chosen)
    return chosen.policy.model_copy(update={"validation_share": share})


def _can_train(outlook: Outlook, recordings: int) -> bool:
    counts = outlook.utterances
    return bool(
        counts[TEST] and counts[VALIDATION] and counts[TRAIN] >= MIN_TRAIN_SHARE * recordings
    )


def _validation_share(outlook: Outlook) -> float:
    left = outlook.utterances[TRAIN] + outlook.utterances[VALIDATION]
    wanted = round(VALIDATION_UTTERANCES / left, 2)
    return min(MAX_VALIDATION_SHARE, max(outlook.policy.validation_share, wanted))


def look_ahead(texts: Sequence[ListedText], policy: SplitPolicy) -> Outlook:
    """The splits that the refresh would make of these texts, were none of them refused."""
    placed = [
        Placed(str(number), text.speaker, text.phrase, audio_sha256="")
        for number, text in enumerate(texts)
    ]
    assignment = assign_splits(placed, policy)
    splits = assignment.splits
    counts = Counter(splits.values())
    test = [text for number, text in enumerate(texts) if splits.get(str(number)) == TEST]
    cells = leakage_matrix(placed, splits).get(TEST, {})
    return Outlook(
        policy=policy,
        utterances={split: counts[split] for split in (TRAIN, VALIDATION, TEST)},
        dropped=len(assignment.dropped),
        test_words=sum(len(normalize(text.reference).split()) for text in test),
        known_phrases=_share(cells, "/seen-phrase", len(test)),
        known_speakers=_share(cells, "seen-speaker/", len(test)),
    )


def _share(cells: dict[str, int], part: str, utterances: int) -> float:
    known = sum(count for cell, count in cells.items() if _says(cell, part))
    return known / utterances if utterances else 0.0


def _says(cell: str, part: str) -> bool:
    return cell.startswith(part) if part.endswith("/") else cell.endswith(part)
