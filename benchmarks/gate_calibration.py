"""How often equal models are called better at a nominal 5 %, on many structures of a test set.

Who speaks how much, how many say the same, and what the two models suit by chance: balanced and
very uneven ones, few and many. One with unknown speakers is decided on by the policy alone: it is
inconclusive.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.gate_better import finds_better
from whisper_retrain.gate.statistics import Paired

NOMINAL = 0.05
REPLICATES = 600
SPREAD = 0.5
"""Standard deviation of speakers' and phrases' difficulty, on a log scale."""
SHARED = 0.6
"""Share of the errors that both models make."""


@dataclass(frozen=True)
class Shape:
    """Who says how much of a test set, and how much one model suits them better by chance."""

    name: str
    utterances: int
    shares: tuple[float, ...]
    """Of the utterances, speaker by speaker."""
    phrases: int
    words: float = 10.0
    wer: float = 0.12
    by_speaker: float = 0.35
    by_phrase: float = 0.05


def zipf(speakers: int) -> tuple[float, ...]:
    """The second speaks half as much as the first, the third a third."""
    weights = [1 / rank for rank in range(1, speakers + 1)]
    return tuple(one / sum(weights) for one in weights)


def equal(speakers: int) -> tuple[float, ...]:
    """All speak as much."""
    return (1 / speakers,) * speakers


SHAPES = (
    Shape("3 speakers", 120, equal(3), 40),
    Shape("3 speakers, one says 60 %", 150, (0.6, 0.3, 0.1), 50),
    Shape("4 speakers (demo)", 120, equal(4), 30, words=9, by_speaker=0.1, by_phrase=0.2),
    Shape("5 speakers, speakers matter much", 200, equal(5), 60, by_speaker=0.6),
    Shape("6 speakers, Zipf", 240, zipf(6), 80),
    Shape("10 speakers, Zipf", 400, zipf(10), 120),
    Shape("20 speakers, one says a third", 400, (1 / 3, *[2 / 57] * 19), 150),
    Shape("25 speakers (default split)", 255, equal(25), 140),
    Shape("25 speakers, Zipf", 255, zipf(25), 140),
    Shape("25 speakers, speakers and phrases matter", 255, equal(25), 60, 10, 0.12, 0.3, 0.3),
    Shape("40 speakers, 8 phrases", 320, equal(40), 8, by_speaker=0.1, by_phrase=0.3),
    Shape("124 speakers (by phrase)", 500, equal(124), 105, by_speaker=0.1, by_phrase=0.2),
    Shape("124 speakers, Zipf", 500, zipf(124), 105),
    Shape("12 speakers, few errors", 300, equal(12), 100, wer=0.02),
)


def called_better(shape: Shape, rng: np.random.Generator) -> bool:
    """Whether the second of two equal models passes as better at 5 %."""
    counts = np.maximum(1, np.round(np.array(shape.shares) * shape.utterances)).astype(int)
    speaker = np.repeat(np.arange(len(counts)), counts)
    phrase = rng.permutation(np.resize(np.arange(shape.phrases), len(speaker)))
    words = np.maximum(2, rng.poisson(shape.words, shape.phrases))[phrase]
    hard = rng.normal(0, SPREAD, len(counts))[speaker]
    raw = np.exp(hard + rng.normal(0, SPREAD, shape.phrases)[phrase])
    rate = np.clip(shape.wer * raw / np.average(raw, weights=words), 0, 0.9)
    both = rng.binomial(words, SHARED * rate)
    sides = []
    for _ in range(2):
        suits = rng.normal(0, shape.by_speaker, len(counts))[speaker]
        suits = suits + rng.normal(0, shape.by_phrase, shape.phrases)[phrase]
        own = np.clip((1 - SHARED) * rate * np.exp(suits), 0, 1)
        sides.append((both + rng.binomial(words, own)).astype(np.float64))
    pairs = Paired(sides[0], sides[1], words.astype(np.float64))
    if pairs.difference >= 0:
        return False
    views: dict[str, Sequence[Hashable]] = {"speaker": speaker.tolist(), "phrase": phrase.tolist()}
    return finds_better(pairs, views, alpha=NOMINAL, replicates=REPLICATES)
