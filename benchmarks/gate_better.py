"""Whether the gate finds a challenger better; no bootstrap where it is far from it.

Most simulated challengers are equal or hardly better, and ten milliseconds go into each bootstrap
that ends in "no". A block's plain standard error says as much: the gate's intervals are wider than
that, never narrower, but for the chance of the draws and their skew, for which MARGIN leaves room.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from statistics import NormalDist

import numpy as np

from whisper_retrain.gate.statistics import Paired, block_totals, compare

MARGIN = 0.7
"""Of the normal interval: a difference within so much of it is far from better."""


def finds_better(
    pairs: Paired, views: dict[str, Sequence[Hashable]], *, alpha: float, replicates: int
) -> bool:
    """What `compare` says at this alpha."""
    if is_far_from_better(pairs, views, alpha):
        return False
    return compare(pairs, views, alpha=alpha, replicates=replicates).interval.high < 0


def is_far_from_better(pairs: Paired, views: dict[str, Sequence[Hashable]], alpha: float) -> bool:
    """Whether the relative difference lies above -MARGIN times its normal interval."""
    reach = MARGIN * NormalDist().inv_cdf(1 - alpha)
    return any(_relative(block_totals(pairs, one), reach) >= 0 for one in views.values())


def _relative(blocks: np.ndarray, reach: float) -> float:
    """r + reach * s.e.(r) of r = sum(b - a) / sum(a + b), over blocks."""
    both, change = blocks[:, 0] + blocks[:, 1], blocks[:, 1] - blocks[:, 0]
    errors = max(float(both.sum()), 1.0)
    relative = float(change.sum()) / errors
    return relative + reach * float(np.sqrt(np.square(change - relative * both).sum())) / errors
