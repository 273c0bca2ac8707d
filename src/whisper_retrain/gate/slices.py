"""Is any part of the test set worse off? Speakers, prompts, durations, noise, rates, tiers; pure.

Many slices, few utterances in each: two different questions are asked. *Harm*: is the challenger
surely worse here? Tested against no difference and corrected for the number of slices (Holm
1979), so that among 150 slices chance alone finds one in 5 % of the decisions, and not in every
one. *Non-inferiority*: is it surely not much worse? Asked only where a slice holds enough words
to answer; the smaller ones inform.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from math import sqrt
from statistics import NormalDist

import numpy as np

from whisper_retrain.evaluation.rows import Row
from whisper_retrain.evaluation.tiers import TIERS
from whisper_retrain.gate.measures import Measure, block_views, bounded, paired
from whisper_retrain.gate.statistics import (
    MIN_BLOCKS,
    Floats,
    block_totals,
    student_quantile,
)
from whisper_retrain.records import Interval, Record

DURATIONS_S = (2.0, 4.0, 8.0)
"""Where slices by duration end."""
NOISE_DB = (15.0, 30.0)
"""Where slices by signal-to-noise ratio end."""


class SliceComparison(Record):
    """One slice under both models."""

    name: str
    """What the test set is sliced by."""
    value: str
    """Which part of it."""
    utterances: int
    """In the slice."""
    words: int
    """Reference words (terms of a tier) in the slice."""
    champion: float
    """Its error rate there, a fraction; an utterance's errors bounded by its words."""
    challenger: float
    """Its error rate there, a fraction."""
    difference: float
    """Challenger minus champion."""
    interval: Interval
    """Of the difference."""
    harm: float
    """Probability of errors so much more often the challenger's, were there no difference."""
    significant: bool = False
    """Whether `harm` is small even for the smallest among so many slices."""


def compare_slices(
    champion: Sequence[Row], challenger: Sequence[Row], *, alpha: float, min_words: int
) -> list[SliceComparison]:
    """All slices of at least `min_words` reference words, the worst change first.

    The rows of both are in the same order.
    """
    found = [
        _compare(name, value, rows, champion, challenger, alpha)
        for name, value, rows in _members(champion)
        if sum(champion[i].counts(_measure(name)).reference_length for i in rows) >= min_words
    ]
    marked = mark_significant(found, alpha)
    return sorted(marked, key=lambda part: -part.difference)


def mark_significant(found: Sequence[SliceComparison], alpha: float) -> list[SliceComparison]:
    """Holm's step-down: the k-th smallest probability must be below alpha / (m - k + 1)."""
    ordered = sorted(found, key=lambda part: part.harm)
    marked, open_ = [], True
    for rank, part in enumerate(ordered):
        open_ = open_ and part.harm <= alpha / (len(ordered) - rank)
        marked.append(part.model_copy(update={"significant": open_}))
    return marked


def duration_slice(row: Row) -> str:
    """Short, medium, long: where the model has little or much to go by."""
    return _bucket(row.duration_s, DURATIONS_S, "s")


def noise_slice(row: Row) -> str | None:
    """By estimated signal-to-noise ratio; None where it is not known."""
    return None if row.snr_db is None else _bucket(row.snr_db, NOISE_DB, "dB")


def _bucket(value: float, bounds: Sequence[float], unit: str) -> str:
    for low, high in zip((None, *bounds), (*bounds, None), strict=True):
        if high is None:
            return f"from {low:g} {unit}"
        if value < high:
            return f"under {high:g} {unit}" if low is None else f"{low:g} to {high:g} {unit}"
    raise AssertionError("unreachable: the last bound is open")


SLICES: dict[str, Callable[[Row], str | None]] = {
    "speaker": lambda row: row.speaker,
    "prompt": lambda row: row.prompt,
    "duration": duration_slice,
    "noise": noise_slice,
    "sampling rate": lambda row: f"{row.sampling_rate_hz} Hz" if row.sampling_rate_hz else None,
}


def _members(rows: Sequence[Row]) -> Iterator[tuple[str, str, list[int]]]:
    """Each slice with the places of its rows; a column with one value only is no slicing."""
    for name, value_of in SLICES.items():
        members: dict[str, list[int]] = defaultdict(list)
        for place, row in enumerate(rows):
            if value := value_of(row):
                members[value].append(place)
        if len(members) > 1:
            yield from ((name, value, places) for value, places in sorted(members.items()))
    for tier in TIERS:
        places = [place for place, row in enumerate(rows) if tier in row.tiers]
        if places:
            yield f"{tier} terms", tier, places


def _measure(name: str) -> Measure:
    return next((tier for tier in TIERS if name == f"{tier} terms"), "words")


def _compare(
    name: str,
    value: str,
    places: Sequence[int],
    champion: Sequence[Row],
    challenger: Sequence[Row],
    alpha: float,
) -> SliceComparison:
    rows = [champion[place] for place in places]
    pairs = bounded(paired(rows, [challenger[place] for place in places], _measure(name)))
    words = float(pairs.words.sum())
    totals = [block_totals(pairs, labels) for labels in _views(rows)]
    half = max(_half_width(part, pairs.difference, alpha) for part in totals)
    return SliceComparison(
        name=name,
        value=value,
        utterances=len(rows),
        words=int(words),
        champion=float(pairs.champion_errors.sum()) / words,
        challenger=float(pairs.challenger_errors.sum()) / words,
        difference=pairs.difference,
        interval=Interval(
            low=pairs.difference - half, high=pairs.difference + half, confidence=1 - 2 * alpha
        ),
        harm=max(_harm(part) for part in totals),
    )


def _views(rows: Sequence[Row]) -> list[Sequence[Hashable]]:
    usable = [found for found in block_views(rows).values() if len(set(found)) >= MIN_BLOCKS]
    return usable or [range(len(rows))]


def _half_width(blocks: Floats, difference: float, alpha: float) -> float:
    """t times the cluster-robust standard error of the difference of two rates."""
    count = len(blocks)
    if count < 2:
        return 1.0
    # s.e. = sqrt(G / (G - 1) * sum((b - a - d n)^2)) / sum(n), d the difference, n words of a block
    spread = blocks[:, 1] - blocks[:, 0] - difference * blocks[:, 2]
    error = sqrt(count / (count - 1) * float(np.square(spread).sum())) / float(blocks[:, 2].sum())
    return student_quantile(1 - alpha, count - 1) * error


def _harm(blocks: Floats) -> float:
    """One-sided score test of no difference: sum / sqrt(sum of squares) of the blocks' changes."""
    change = blocks[:, 1] - blocks[:, 0]  # b - a
    spread = sqrt(float(np.square(change).sum()))
    return 1 - NormalDist().cdf(float(change.sum()) / spread) if spread else 1.0
