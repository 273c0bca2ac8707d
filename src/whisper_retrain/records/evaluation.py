"""What a model made of a test set: counts, rates, intervals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

from pydantic import Field

from whisper_retrain.records.base import Artifact, Record
from whisper_retrain.records.training import ModelRef


class Counts(Record):
    """Corpus-level alignment counts of words or characters."""

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        """S + D + I."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference_length(self) -> int:
        """N = H + S + D."""
        return self.hits + self.substitutions + self.deletions

    @property
    def error_rate(self) -> float:
        """(S + D + I) / N as a fraction; may exceed 1. With N = 0: 0 without errors, else inf."""
        if self.reference_length == 0:
            return 0.0 if self.errors == 0 else float("inf")
        return self.errors / self.reference_length

    @property
    def recall(self) -> float:
        """Correct / N as a fraction; 1 when N = 0."""
        return self.hits / self.reference_length if self.reference_length else 1.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            hits=self.hits + other.hits,
            substitutions=self.substitutions + other.substitutions,
            deletions=self.deletions + other.deletions,
            insertions=self.insertions + other.insertions,
        )


class ProbeResult(Record):
    """What a model wrote where nothing (or nothing more) was said."""

    utterances: int
    hallucinated: int
    mean_words: float


class EvaluationReport(Record):
    """What one model made of one test set."""

    model: ModelRef
    test_set_digest: str
    normalizer_version: str
    decoding_digest: str
    utterances: int
    audio_s: float
    raw: Counts
    words: Counts
    characters: Counts
    medical: Counts
    tiers: dict[str, Counts] = Field(default_factory=dict)
    runaways: int = 0
    repetitions: int = 0
    length_ratio: float = 1.0
    probes: dict[str, ProbeResult] = Field(default_factory=dict)
    real_time_factor: float = 0.0
    latency_p50_s: float = 0.0
    latency_p95_s: float = 0.0
    rows: Artifact
    rows_digest: str = ""
    lexicon_version: str = ""
    conditions: dict[str, str] = Field(default_factory=dict)
    """What else the report was made under, by name; an earlier version kept none."""

    added: ClassVar[frozenset[str]] = frozenset({"conditions"})

    @property
    def insertion_rate(self) -> float:
        """Inserted words over reference words, a fraction; what was made up shows here first."""
        length = self.words.reference_length
        return self.words.insertions / length if length else float(self.words.insertions > 0)


class Interval(Record):
    """A two-sided bootstrap interval."""

    low: float
    high: float
    confidence: float


Metric = Literal["words", "raw", "medical", "characters"]
"""What a model's errors are counted in; `words` are the normalised ones."""


class Score(Record):
    """One figure of one model."""

    figure: float | None
    """(S + D + I) / N, a fraction; None where the test set has no such words."""
    interval: Interval | None = None
    counts: Counts


class ModelScores(Record):
    """The figures of one model on the test set."""

    role: str
    model: ModelRef
    scores: dict[Metric, Score]


def total(counts: Iterable[Counts]) -> Counts:
    """Sum of counts."""
    return sum(counts, Counts())
