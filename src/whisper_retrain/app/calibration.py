"""How far a model's word probabilities can be trusted, as found on the validation split. Pure.

Whisper's token probabilities are over-confident, so a raw figure says little. Words of the
validation split are aligned with their references; on one half a monotone map from probability
to share of right words is fitted (pool adjacent violators, Ayer et al. 1955), on the other half it
is tried. A word is marked when its calibrated chance of being wrong is at least `MARK_FROM`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from whisper_retrain.app.marks import align
from whisper_retrain.evaluation.transcriber import Word
from whisper_retrain.records import Record

CALIBRATION_VERSION = "1"
LEAST_WORDS = 2_000
"""With fewer validation words nothing is marked: the figures would be chance."""
MARK_FROM = 0.2
"""Chance of being wrong from which on a word is to be listened to again."""
BINS = 10

Unknown = Literal["too-few-words", "not-yet"]
"""Why there is no calibration: too little validation speech, or it has not been made yet."""


@dataclass(frozen=True)
class Observation:
    """A word that a model wrote, and whether the reference has it there."""

    probability: float
    """That the model gave the word, 0 to 1."""
    right: bool
    """Whether the reference has the word there."""


class Calibration(Record):
    """What was found for one model; figures are of the half that it was not fitted on."""

    words: int
    """Validation words that the model wrote, both halves."""
    check_below: float
    """Probability below which a word is marked; 0 marks nothing."""
    marked: int
    """Words below that probability."""
    marked_wrong: int
    """Those of them that were wrong."""
    unmarked: int
    """The other words."""
    unmarked_wrong: int
    """Those of them that were wrong."""
    error: float
    """Expected calibration error (Naeini et al. 2015) of the map, ten bins, a fraction."""


def observe(reference: str, words: Sequence[Word]) -> list[Observation]:
    """Whether each word of a transcript is right, by alignment with the reference."""
    said, heard = reference.split(), [word.text.strip() for word in words]
    return [
        Observation(words[index].probability or 0.0, difference == "equal")
        for difference, index, _ in align(said, heard)
        if difference != "delete"
    ]


def calibrate(
    utterances: Sequence[Sequence[Observation]], least_words: int = LEAST_WORDS
) -> Calibration | None:
    """Fit on every second utterance and try on the others; None with too few words.

    Whole utterances go to a half: errors come together.
    """
    fitted = [one for observations in utterances[0::2] for one in observations]
    tried = [one for observations in utterances[1::2] for one in observations]
    words = len(fitted) + len(tried)
    if words < least_words or not fitted or not tried:
        return None
    steps = fit_monotone(fitted)
    check_below = next((p for p, right in steps if 1 - right < MARK_FROM), 1.0)
    marked = [one for one in tried if one.probability < check_below]
    unmarked = [one for one in tried if one.probability >= check_below]
    return Calibration(
        words=words,
        check_below=check_below,
        marked=len(marked),
        marked_wrong=sum(not one.right for one in marked),
        unmarked=len(unmarked),
        unmarked_wrong=sum(not one.right for one in unmarked),
        error=expected_error(steps, tried),
    )


def fit_monotone(observations: Sequence[Observation]) -> list[tuple[float, float]]:
    """Steps (from this probability on, share of right words), both rising."""
    blocks: list[list[float]] = []  # lowest probability, right, words
    for one in sorted(observations, key=lambda o: o.probability):
        if blocks and blocks[-1][0] == one.probability:
            blocks[-1][1] += one.right
            blocks[-1][2] += 1
        else:
            blocks.append([one.probability, float(one.right), 1.0])
    pooled: list[list[float]] = []
    for block in blocks:
        pooled.append(block)
        while len(pooled) > 1 and pooled[-2][1] / pooled[-2][2] >= pooled[-1][1] / pooled[-1][2]:
            _, right, words = pooled.pop()
            pooled[-1][1] += right
            pooled[-1][2] += words
    return [(lowest, right / words) for lowest, right, words in pooled]


def calibrated(steps: Sequence[tuple[float, float]], probability: float) -> float:
    """The share of right words among those of this probability."""
    at = bisect_right([lowest for lowest, _ in steps], probability) - 1
    return steps[max(at, 0)][1]


def expected_error(
    steps: Sequence[tuple[float, float]], observations: Sequence[Observation]
) -> float:
    """Mean distance of claimed and found shares over ten bins, weighted by words."""
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for one in observations:
        claimed = calibrated(steps, one.probability)
        bins[min(int(claimed * BINS), BINS - 1)].append((claimed, one.right))
    off = 0.0
    for found in bins:
        off += abs(sum(claimed for claimed, _ in found) - sum(right for _, right in found))
    return off / len(observations)


def in_words(calibration: Calibration | Unknown) -> str:
    """What a mark means, in counts that a person can picture."""
    if calibration == "not-yet":
        return (
            "No words are marked as unsure yet: how far this champion's own doubts can be trusted "
            "is being tried on validation speech."
        )
    if calibration == "too-few-words":
        return (
            f"No words are marked as unsure: that needs {LEAST_WORDS:,} words of validation speech "
            "to find out how far the model's own doubts can be trusted, and there are fewer."
        )
    if not calibration.marked:
        return "The model's doubts were no guide on the validation speech: no words are marked."
    marked = _of(calibration.marked_wrong, calibration.marked)
    others = _of(calibration.unmarked_wrong, calibration.unmarked)
    off = max(1, round(100 * calibration.error))
    return (
        f"Underlined words may be wrong. On validation speech, {marked} such words were, and "
        f"{others} of the others: an unmarked word is no promise. The chances behind the marks "
        f"were off by about {off} words in a hundred."
    )


def _of(wrong: int, words: int) -> str:
    """3 of 40 -> "about 8 in 100"."""
    if words == 0:
        return "none"
    share = 100 * wrong / words
    return f"about {share:.0f} in 100" if share >= 1 or not wrong else "fewer than 1 in 100"
