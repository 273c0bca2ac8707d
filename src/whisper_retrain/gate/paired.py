"""Has something become more frequent? Paired tests of what is either wrong or right; pure.

Each utterance has become wrong under the challenger (+1), been put right (-1) or neither (0): its
*change*. Two questions, as of slices. *Harm*: are more newly wrong than chance explains? The exact
sign test answers for these utterances; whether it holds for other speakers and phrases too, the
score test of whole blocks answers. *No harm*: is the increase surely below a margin? It needs a
test set that is large enough to answer.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import comb, sqrt
from statistics import NormalDist

import numpy as np

from whisper_retrain.gate.statistics import MIN_BLOCKS, Floats, student_quantile

Views = Mapping[str, Sequence[Hashable]]
"""What the blocks are -> the block of each utterance."""
NO_BLOCKS = 10_000
"""Degrees of freedom of what has no blocks: the normal distribution."""
LEAST_VARIANCE = 1.0
"""Of a sum of changes: where none was seen, one more may be chance."""


@dataclass(frozen=True)
class Changes:
    """How one kind of fault has changed over the utterances that could have it."""

    changes: Floats
    """Of each utterance: +1 newly wrong, -1 put right, 0 neither."""
    views: Views
    """Blocks of the same utterances."""
    wrong_before: int
    """How many of them are wrong under the champion."""

    @property
    def new(self) -> int:
        """Utterances newly wrong."""
        return int((self.changes > 0).sum())

    @property
    def fixed(self) -> int:
        """Utterances put right."""
        return int((self.changes < 0).sum())

    @property
    def more(self) -> int:
        """Newly wrong less put right."""
        return self.new - self.fixed

    @property
    def by_chance(self) -> float:
        """Probability of so many new ones, were each change as likely new as fixed."""
        return sign_test(self.new, self.fixed)

    @property
    def by_blocks(self) -> float:
        """The same with whole speakers or phrases that may have bad luck; the larger of all."""
        totals = [_totals(self.changes, labels) for labels in self.views.values()]
        usable = [blocks for blocks in totals if len(blocks) >= MIN_BLOCKS]
        return max([self.by_chance, *map(score_test, usable)])

    def most(self, alpha: float) -> float:
        """Upper bound of `more`, one-sided at alpha, under the view with the larger spread."""
        bounds = [self.more + sqrt(LEAST_VARIANCE) * student_quantile(1 - alpha, NO_BLOCKS)]
        for labels in self.views.values():
            blocks = _totals(self.changes, labels)
            if len(blocks) < MIN_BLOCKS:
                continue
            # s.e. = sqrt(G / (G - 1) * sum((c - D m)^2)), m a block's share of the utterances
            share = _totals(np.ones(len(self.changes)), labels) / len(self.changes)
            spread = float(np.square(blocks - self.more * share).sum())
            error = sqrt(max(LEAST_VARIANCE, spread * len(blocks) / (len(blocks) - 1)))
            bounds.append(self.more + error * student_quantile(1 - alpha, len(blocks) - 1))
        return max(bounds)


def sign_test(new: int, fixed: int) -> float:
    """Probability of `new` or more out of all changes, were each as likely new as fixed.

    The exact one-sided form of McNemar's test.
    """
    changed = new + fixed
    ways: int = sum(comb(changed, k) for k in range(new, changed + 1))
    return float(ways / 2**changed)


def score_test(blocks: Floats) -> float:
    """One-sided: the sum of the blocks' changes over the root of the sum of their squares."""
    spread = sqrt(float(np.square(blocks).sum()))
    return 1 - NormalDist().cdf(float(blocks.sum()) / spread) if spread else 1.0


def holm(probabilities: Sequence[float], alpha: float) -> list[bool]:
    """Which are small for so many: the k-th smallest at most alpha / (m - k + 1), and all before.

    Holm's step-down, 1979.
    """
    found, open_ = [False] * len(probabilities), True
    ranked = sorted(range(len(probabilities)), key=probabilities.__getitem__)
    for rank, place in enumerate(ranked):
        open_ = open_ and probabilities[place] <= alpha / (len(probabilities) - rank)
        found[place] = open_
    return found


def _totals(changes: Floats, labels: Sequence[Hashable]) -> Floats:
    """Sums per block."""
    seen: dict[Hashable, int] = {}
    index = np.fromiter((seen.setdefault(label, len(seen)) for label in labels), dtype=np.int64)
    return np.bincount(index, changes, len(seen)).astype(np.float64)
