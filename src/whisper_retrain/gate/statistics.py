"""Is the difference real? A paired block bootstrap, and its correction for few blocks; pure.

Errors are those of the same utterances under two models, a of the champion and b of the challenger;
every difference is b - a, so that a negative one is an improvement. Utterances of one speaker are
not independent, nor are recordings of one phrase: whole blocks are resampled (Liu & Peng 2020,
arXiv:1912.09508), and of the two views the one with the wider interval counts. It is widened by
what only the other view sees, the two-way variance V(speaker) + V(phrase) - V(both) of Cameron,
Gelbach & Miller 2011: without that, 5.7 % of equal models were promoted at 5 % where speakers and
phrases both matter.

Few blocks. The percentile interval of G blocks is too narrow: at one-sided 5 % it calls an equal
model better in 18 % of cases for G = 3 and 10 % for G = 5. So each replicate's distance from the
estimate is stretched by sqrt(G / (G - 1)) * t(1 - alpha; G - 1) / z(0.95) and the 95 % quantile
is read off (the expanded interval of Hesterberg, arXiv:1411.5279; why t with G - 1 degrees is
safe under unequal blocks: Ibragimov & Mueller 2010). That holds alpha within 1.5 points from
G = 3 on, and reads no quantile deeper than 10,000 replicates resolve, however small alpha is.
With one or two speakers only the phrases are resampled: what is found then holds for these
speakers, and nothing is known about others.

Unequal blocks. Where a third of the errors is one speaker's, 20 speakers are worth fewer. G is
then the effective number (sum of m)^2 / sum of m^2, m a block's errors (Kish 1965), and where
leaving one block out moves the figure by more than sqrt(G / (G - 1)) allows for, its jackknife
error counts (CR3, MacKinnon & White 1985). Without both, 6.7 % of equal models were called better
at 5 % with 124 speakers who speak as often as Zipf's words.
The stretching is done on the relative difference (b - a) / (a + b), on which easy and hard
speakers weigh alike, and mapped back to points of WER.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import floor
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from whisper_retrain.records import Interval

Floats = npt.NDArray[np.float64]

MIN_BLOCKS = 3
"""Fewer say nothing about others of their kind: t(1) is 15 times the spread at 2 %."""
CHUNK = 4_000_000
"""Block draws held in memory at once."""
QUANTILE = 0.95
"""Read off whatever alpha is; deeper ones are beyond 10,000 replicates."""
POWER = 0.8
"""Of the smallest improvement that is called detectable."""
REPLICATES = 10_000
"""Resampled test sets, where a policy says nothing else."""
ANGLES = 200_001
"""Steps of the integral of Student's t: its quantiles are the printed tables' (tested)."""
NORMAL_FROM_DEGREES = 1000
"""From here on quantiles are the normal ones: up to 99.9 % they differ by less than 0.3 %."""
QUARTERS, FEW = 4, 30
"""Degrees of freedom are told in quarters up to so many: finer ones hardly change a quantile."""
NOT_ZERO = 1e-12
"""Stands in for a sum of errors or words that is nought; what is divided is nought too."""


@dataclass(frozen=True)
class Paired:
    """Errors and reference words per utterance (float arrays of one length)."""

    champion_errors: Floats
    """Of each utterance."""
    challenger_errors: Floats
    """Of each utterance."""
    words: Floats
    """Of the references."""

    @property
    def difference(self) -> float:
        """dWER = sum(b - a) / sum(words), a fraction; 0 without words."""
        words = float(self.words.sum())
        return (
            float((self.challenger_errors - self.champion_errors).sum()) / words if words else 0.0
        )


@dataclass(frozen=True)
class Comparison:
    """What the replicates of one view say about the difference in error rate."""

    view: str
    """What the blocks are: speaker, phrase or utterance."""
    blocks: int
    """How many were resampled."""
    difference: float
    """Of error rates, challenger minus champion, a fraction."""
    interval: Interval
    """Of the difference."""
    improvement_probability: float
    """Share of the replicates in which the challenger makes fewer errors."""
    detectable: float | None = None
    """Smallest true improvement that is found with 80 % probability, a fraction of WER; None where
    nobody asked."""

    @property
    def width(self) -> float:
        """Of the interval."""
        return self.interval.high - self.interval.low


def compare(
    pairs: Paired,
    views: dict[str, Sequence[Hashable]],
    *,
    alpha: float,
    replicates: int = REPLICATES,
    seed: int = 1,
) -> Comparison:
    """The view with the wider interval; `views` names one block label per utterance each.

    `alpha` is one-sided: the interval has confidence 1 - 2 alpha. A view with fewer than
    MIN_BLOCKS blocks says nothing; when none says anything, utterances are the blocks.
    """
    usable = {name: found for name, found in views.items() if len(set(found)) >= MIN_BLOCKS}
    usable = usable or {"utterance": range(len(pairs.words))}
    found = [
        compare_view(pairs, name, labels, alpha=alpha, replicates=replicates, seed=seed)
        for name, labels in usable.items()
    ]
    widest = max(found, key=lambda comparison: comparison.width)
    factor = crossed(pairs, usable, widest.view)
    if factor <= 1:
        return widest
    labels = usable[widest.view]
    return compare_view(
        pairs, widest.view, labels, alpha=alpha, replicates=replicates, seed=seed, widen=factor
    )


def crossed(pairs: Paired, views: dict[str, Sequence[Hashable]], chosen: str) -> float:
    """How much wider two crossed views are than the chosen one alone; 1 for a single view."""
    if len(views) != 2:
        return 1.0
    speakers, phrases = views.values()
    own = _variance(pairs, views[chosen])
    # V(speaker) + V(phrase) - V(both)
    both = _variance(pairs, speakers) + _variance(pairs, phrases)
    both -= _variance(pairs, list(zip(speakers, phrases, strict=True)))
    return max(1.0, float(np.sqrt(both / own))) if own > 0 and both > 0 else 1.0


def _variance(pairs: Paired, labels: Sequence[Hashable]) -> float:
    """Cluster-robust variance of the relative difference, up to a factor that all views share."""
    blocks = block_totals(pairs, labels)
    both = blocks[:, 0] + blocks[:, 1]  # a + b
    change = blocks[:, 1] - blocks[:, 0]  # b - a
    relative = change.sum() / max(both.sum(), NOT_ZERO)  # r = sum(b - a) / sum(a + b)
    # G / (G - 1) * sum over blocks of ((b - a) - r (a + b))^2
    spread = float(np.square(change - relative * both).sum())
    return spread * len(blocks) / max(1, len(blocks) - 1)


def compare_view(
    pairs: Paired,
    view: str,
    labels: Sequence[Hashable],
    *,
    alpha: float,
    replicates: int = REPLICATES,
    seed: int = 1,
    widen: float = 1.0,
) -> Comparison:
    """Paired block bootstrap of dWER (Bisani & Ney 2004), corrected for few blocks."""
    blocks = block_totals(pairs, labels)
    estimate = pairs.difference
    if len(blocks) < 2 or not pairs.words.sum():
        unknown = Interval(low=-1.0, high=1.0, confidence=1 - 2 * alpha)
        return Comparison(view, len(blocks), estimate, unknown, 0.5, 1.0)
    drawn = resample(blocks, replicates, np.random.default_rng(seed))
    relative, pooled = _relative(drawn)  # r* and (a + b) / words of each replicate
    centre, mean = (float(x[0]) for x in _relative(blocks.sum(axis=0, keepdims=True)))
    small, degrees = small_sample(blocks), effective_degrees(blocks)
    t = student_quantile(1 - alpha, degrees)
    wider = widen * small * t / NormalDist().inv_cdf(QUANTILE)
    # (r + wider * (r* - r)) * (a + b) / words: back to points of WER
    stretched = (centre + wider * (relative - centre)) * pooled
    low, high = np.quantile(stretched, [1 - QUANTILE, QUANTILE])
    spread = float(np.std(relative)) * small * mean * widen
    return Comparison(
        view=view,
        blocks=len(blocks),
        difference=estimate,
        interval=Interval(low=float(low), high=float(high), confidence=1 - 2 * alpha),
        improvement_probability=float(np.mean(relative < 0)),
        detectable=(t + NormalDist().inv_cdf(POWER)) * spread,
    )


def effective_degrees(blocks: Floats) -> float:
    """Degrees of freedom of blocks that weigh unequally: at least 1, in quarters, rounded down."""
    weights = blocks[:, 0] + blocks[:, 1]
    square = float(np.square(weights).sum())
    effective = float(weights.sum()) ** 2 / square if square else len(blocks)
    degrees = effective - 1
    return max(
        1.0, floor(QUARTERS * degrees) / QUARTERS if degrees < FEW else float(floor(degrees))
    )


def small_sample(blocks: Floats) -> float:
    """By how much the spread of few or unequal blocks is underrated: sqrt(G / (G - 1)) or more.

    More where the jackknife's error CR3 is larger than the plain CR0 by more.
    """
    count, totals = len(blocks), blocks.sum(axis=0)
    plain = float(np.sqrt(count / (count - 1)))  # sqrt(G / (G - 1))
    centre = float(_relative(blocks.sum(axis=0, keepdims=True))[0][0])
    both = blocks[:, 0] + blocks[:, 1]
    residual = blocks[:, 1] - blocks[:, 0] - centre * both
    cr0 = float(np.square(residual).sum()) / max(float(both.sum()), NOT_ZERO) ** 2
    without = _relative(totals - blocks)[0] - centre
    cr3 = float(np.square(without).sum()) * (count - 1) / count
    return max(plain, float(np.sqrt(cr3 / cr0))) if cr0 > 0 else plain


def rate_interval(
    errors: Floats,
    words: Floats,
    views: dict[str, Sequence[Hashable]],
    *,
    confidence: float,
    replicates: int = REPLICATES,
    seed: int = 1,
) -> Interval:
    """Interval of errors / words of one model, by the same blocks and correction; never < 0."""
    alpha, pairs = (1 - confidence) / 2, Paired(errors, errors, words)
    centre = float(errors.sum()) / max(float(words.sum()), NOT_ZERO)
    bounds = []
    for labels in views.values():
        blocks = block_totals(pairs, labels)
        if len(blocks) >= MIN_BLOCKS:
            drawn = resample(blocks, replicates, np.random.default_rng(seed))
            rates = drawn[:, 1] / np.maximum(drawn[:, 2], NOT_ZERO)
            stretched = centre + stretch(len(blocks), alpha) * (rates - centre)
            bounds.append(np.quantile(stretched, [1 - QUANTILE, QUANTILE]))
    low, high = max(bounds, key=lambda pair: pair[1] - pair[0], default=(0.0, 1.0))
    return Interval(low=max(0.0, float(low)), high=float(high), confidence=confidence)


def block_totals(pairs: Paired, labels: Sequence[Hashable]) -> Floats:
    """Sums per block: (blocks, 3): errors of the champion, of the challenger, and words."""
    seen: dict[Hashable, int] = {}
    index = np.fromiter((seen.setdefault(label, len(seen)) for label in labels), dtype=np.int64)
    columns = (pairs.champion_errors, pairs.challenger_errors, pairs.words)
    return np.stack([np.bincount(index, column, len(seen)) for column in columns], axis=1)


def resample(blocks: Floats, replicates: int, rng: np.random.Generator) -> Floats:
    """Totals of `replicates` samples of as many blocks, with replacement: (replicates, 3)."""
    return np.concatenate([weights @ blocks for weights in draws(len(blocks), replicates, rng)])


def draws(blocks: int, replicates: int, rng: np.random.Generator) -> Iterator[Floats]:
    """How often each block is drawn in each replicate: arrays (some replicates, blocks)."""
    step = max(1, CHUNK // blocks)
    for first in range(0, replicates, step):
        rows = min(step, replicates - first)
        drawn = rng.integers(0, blocks, (rows, blocks), dtype=np.int32)
        drawn += (np.arange(rows, dtype=np.int32) * blocks)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * blocks)
        yield counts.reshape(rows, blocks).astype(np.float64)


def stretch(blocks: int, alpha: float) -> float:
    """By how much replicates of few blocks lie too near to the estimate."""
    small_sample = float(np.sqrt(blocks / (blocks - 1)))  # sqrt(G / (G - 1))
    t = student_quantile(1 - alpha, blocks - 1)
    return small_sample * t / NormalDist().inv_cdf(QUANTILE)  # ... * t / z


@lru_cache(maxsize=4096)
def student_quantile(probability: float, degrees: float) -> float:
    """Quantile of Student's t: its CDF is the integral of cos(x)^(degrees - 1), x = atan(t/√d)."""
    if degrees > NORMAL_FROM_DEGREES:
        return NormalDist().inv_cdf(probability)
    angle = np.linspace(-np.pi / 2, np.pi / 2, ANGLES)  # x
    density = np.cos(angle) ** (degrees - 1)
    middle = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    found = np.interp(probability, middle / middle[-1], angle)
    return float(np.sqrt(degrees) * np.tan(found))


def _relative(totals: Floats) -> tuple[Floats, Floats]:
    """(b - a) / (a + b), 0 where there are no errors, and (a + b) / words."""
    both = totals[:, 0] + totals[:, 1]
    relative = (totals[:, 1] - totals[:, 0]) / np.maximum(both, NOT_ZERO)
    return relative, both / np.maximum(totals[:, 2], NOT_ZERO)
