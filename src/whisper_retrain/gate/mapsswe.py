"""Matched pairs sentence segment word error: NIST's test, as a cross-check of the bootstrap.

Gillick & Cox 1989; the segmentation is SCTK's (`sc_stats`): a segment ends where both models
got two words in a row right, and segments without any error of either model are left out. Knows
nothing of speakers, so that it is too sure of itself where errors cluster; it never promotes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, fmean, stdev

import jiwer

GOOD_WORDS = 2
"""Words that both got right, in a row, that part two segments (SCTK's default)."""


@dataclass(frozen=True)
class Mapsswe:
    """The test over all segments; differences are the challenger's errors less the champion's."""

    segments: int
    """Stretches of words with any error of either model."""
    mean: float
    """Of the differences."""
    deviation: float
    """Their standard deviation."""
    statistic: float
    """W: the mean over its standard error; negative when the challenger makes fewer errors."""
    probability: float
    """Two-sided: of a difference this large between equal models."""


def mapsswe(
    references: Sequence[str], champion: Sequence[str], challenger: Sequence[str]
) -> Mapsswe:
    """The test on normalised texts; negative when the challenger makes fewer errors."""
    aligned = [jiwer.process_words(list(references), list(side)) for side in (champion, challenger)]
    differences: list[int] = []
    for number, words in enumerate(aligned[0].references):
        sides = [errors_by_position(side.alignments[number], len(words)) for side in aligned]
        differences += segment_differences(*sides)
    return from_differences(differences)


def errors_by_position(chunks: Iterable[jiwer.AlignmentChunk], words: int) -> list[int]:
    """Errors at 2 n + 1 places: before, at and after each of n reference words.

    Even places are the gaps, where insertions lie; odd ones are the words.
    """
    errors = [0] * (2 * words + 1)
    for chunk in chunks:
        if chunk.type == "insert":
            errors[2 * chunk.ref_start_idx] += chunk.hyp_end_idx - chunk.hyp_start_idx
        elif chunk.type != "equal":
            for word in range(chunk.ref_start_idx, chunk.ref_end_idx):
                errors[2 * word + 1] += 1
    return errors


def segment_differences(champion: Sequence[int], challenger: Sequence[int]) -> list[int]:
    """Challenger's errors less champion's, for each segment that holds any; errors by position."""
    segments: list[tuple[int, int]] = []
    a = b = good = 0  # the segment's errors so far, of champion and challenger
    for place, (at_a, at_b) in enumerate(zip(champion, challenger, strict=True)):
        if at_a or at_b:
            a, b, good = a + at_a, b + at_b, 0
        elif place % 2:  # a word that both got right
            good += 1
            if good == GOOD_WORDS:
                segments.append((a, b))
                a = b = 0
    segments.append((a, b))
    return [b - a for a, b in segments if a or b]


def from_differences(differences: Sequence[int]) -> Mapsswe:
    """W = mean / (sd / sqrt(n)); with fewer than two segments or no spread nothing is known."""
    count = len(differences)
    mean = fmean(differences) if count else 0.0
    deviation = stdev(differences) if count > 1 else 0.0
    statistic = mean / (deviation / sqrt(count)) if deviation else 0.0
    probability = 2 * (1 - NormalDist().cdf(abs(statistic)))
    return Mapsswe(count, mean, deviation, statistic, probability)
