"""How the worst-served tenth of the speakers fares, whoever they are under each model; pure."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from whisper_retrain.gate.statistics import (
    NOT_ZERO,
    QUANTILE,
    REPLICATES,
    Comparison,
    Floats,
    Paired,
    block_totals,
    draws,
    stretch,
)
from whisper_retrain.records import Interval

SHARE = 0.1
"""Of the speakers."""


@dataclass(frozen=True)
class WorstSpeakers:
    """How the worst-served fare."""

    comparison: Comparison
    """Of their WER."""
    words: int
    """Reference words of those that the champion serves worst."""


def compare_worst_speakers(
    pairs: Paired,
    speakers: Sequence[Hashable],
    *,
    alpha: float,
    replicates: int = REPLICATES,
    seed: int = 1,
) -> WorstSpeakers:
    """Change in the WER of the worst tenth (at least one speaker).

    The tenth is chosen anew for each model and in each replicate: asking whether those that were
    worst before are worse now would call every regression to the mean a gain.
    """
    blocks = block_totals(pairs, speakers)
    wanted = max(1, round(SHARE * len(blocks)))
    whole = np.ones((1, len(blocks)))
    estimate = float(_difference(blocks, whole, wanted)[0])
    found = np.concatenate(
        [
            _difference(blocks, weights, wanted)
            for weights in draws(len(blocks), replicates, np.random.default_rng(seed))
        ]
    )
    stretched = estimate + stretch(len(blocks), alpha) * (found - estimate)
    low, high = np.quantile(stretched, [1 - QUANTILE, QUANTILE])
    words = np.sort(blocks[:, 2] * (_rates(blocks, 0) >= _cut(_rates(blocks, 0), wanted)))
    comparison = Comparison(
        view="speaker",
        blocks=len(blocks),
        difference=estimate,
        interval=Interval(low=float(low), high=float(high), confidence=1 - 2 * alpha),
        improvement_probability=float(np.mean(found < 0)),
    )
    return WorstSpeakers(comparison, int(words.sum()))


def _rates(blocks: Floats, column: int) -> Floats:
    return blocks[:, column] / np.maximum(blocks[:, 2], NOT_ZERO)


def _cut(rates: Floats, wanted: int) -> float:
    return float(np.sort(rates)[-wanted])


def _difference(blocks: Floats, weights: Floats, wanted: int) -> Floats:
    """Per replicate: WER of the challenger's worst tenth less that of the champion's."""
    return _worst_rate(blocks, weights, wanted, 1) - _worst_rate(blocks, weights, wanted, 0)


def _worst_rate(blocks: Floats, weights: Floats, wanted: int, column: int) -> Floats:
    order = np.argsort(-_rates(blocks, column), kind="stable")
    drawn = weights[:, order]
    before = np.cumsum(drawn, axis=1) - drawn
    taken = np.clip(wanted - before, 0, drawn)
    errors, words = taken @ blocks[order, column], taken @ blocks[order, 2]
    return np.asarray(errors / np.maximum(words, NOT_ZERO), dtype=np.float64)
