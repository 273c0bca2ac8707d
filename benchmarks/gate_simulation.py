"""Simulated evaluations of two models, at the level of error counts, with a known true difference.

Every utterance has a speaker and a phrase; both make it easier or harder for all models alike,
and suit one model better than the other by chance: so errors cluster, and so do differences.
Most errors are shared by the models. With no true difference the two models are exchangeable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.gate_better import finds_better
from whisper_retrain.gate.ledger import alpha_of_look
from whisper_retrain.gate.statistics import Paired

ERROR_RATE = 0.12
DIFFICULTY = 0.5
"""Standard deviation of speakers' and phrases' difficulty, on a log scale."""
SUITS_SPEAKER, SUITS_PHRASE = 0.10, 0.20
"""How much one model suits a speaker or phrase better than the other, on the same scale."""
SHARED = 0.6
"""Share of the errors that both models make."""


@dataclass(frozen=True)
class Structure:
    """A test set's size, and who says what in it."""

    name: str
    utterances: int
    speakers: int
    phrases: int
    words: float = 10.5


DEMO = Structure("demo", utterances=120, speakers=4, phrases=30, words=9.0)
PAULMOONEY = Structure("PaulMooney, all", utterances=5895, speakers=124, phrases=700)
PAULMOONEY_PHRASES = Structure("PaulMooney, by phrase", utterances=1019, speakers=124, phrases=105)
PAULMOONEY_BOTH = Structure("PaulMooney, by both", utterances=255, speakers=25, phrases=140)


class TestSet:
    """One test set: which speaker says which phrase, and how hard each utterance is."""

    def __init__(self, structure: Structure, rng: np.random.Generator) -> None:
        count = structure.utterances
        self.rng = rng
        self.speaker = np.resize(rng.permutation(structure.speakers), count)
        self.phrase = rng.permutation(np.resize(np.arange(structure.phrases), count))
        lengths = np.maximum(2, rng.poisson(structure.words, structure.phrases))
        self.words = lengths[self.phrase]
        hard = rng.normal(0, DIFFICULTY, structure.speakers)[self.speaker]
        hard = hard + rng.normal(0, DIFFICULTY, structure.phrases)[self.phrase]
        raw = np.exp(hard)
        self.rate = np.clip(ERROR_RATE * raw / np.average(raw, weights=self.words), 0, 0.9)
        self.shared = rng.binomial(self.words, SHARED * self.rate)
        self.structure = structure

    def errors(self, lower: float = 0.0) -> np.ndarray:
        """Errors per utterance of a model whose true WER is `lower` below the others'."""
        rng, size = self.rng, self.structure
        suits = rng.normal(0, SUITS_SPEAKER, size.speakers)[self.speaker]
        suits = suits + rng.normal(0, SUITS_PHRASE, size.phrases)[self.phrase]
        own = (1 - SHARED) * self.rate * np.exp(suits - (SUITS_SPEAKER**2 + SUITS_PHRASE**2) / 2)
        own = own * (1 - lower / ((1 - SHARED) * ERROR_RATE))
        return (self.shared + rng.binomial(self.words, np.clip(own, 0, 1))).astype(np.float64)

    def better(self, a: np.ndarray, b: np.ndarray, alpha: float, replicates: int) -> bool:
        """Whether the gate's improvement rule passes for b against a."""
        views = {"speaker": self.speaker.tolist(), "phrase": self.phrase.tolist()}
        pairs = Paired(a, b, self.words.astype(np.float64))
        return finds_better(pairs, views, alpha=alpha, replicates=replicates)


def promoted(
    structure: Structure, lower: float, runs: int, alpha: float, replicates: int, seed: int = 1
) -> tuple[float, float]:
    """Share of runs in which the gate, and the bare comparison of two WERs, call b better."""
    rng, gate, point = np.random.default_rng(seed), 0, 0
    for _ in range(runs):
        test_set = TestSet(structure, rng)
        a, b = test_set.errors(), test_set.errors(lower)
        point += bool(b.sum() < a.sum())
        gate += test_set.better(a, b, alpha, replicates)
    return gate / runs, point / runs


def familywise(
    structure: Structure, looks: int, years: int, alpha: float, replicates: int, seed: int = 2
) -> float:
    """Share of years in which any of `looks` equal challengers is called better."""
    rng, wrong = np.random.default_rng(seed), 0
    for _ in range(years):
        test_set = TestSet(structure, rng)
        champion = test_set.errors()
        wrong += any(
            test_set.better(
                champion, test_set.errors(), alpha_of_look(look, alpha, looks), replicates
            )
            for look in range(1, looks + 1)
        )
    return wrong / years
