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
    """H: words (characters, terms) that are right."""
    substitutions: int = 0
    """S: others in their place."""
    deletions: int = 0
    """D: left out."""
    insertions: int = 0
    """I: put in."""

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


class MadeUp(Record):
    """What a model wrote at one probe where nothing (or nothing more) was said."""

    probe: int
    """Number of the probe: the same for every model."""
    words: int
    """Words more than were said."""
    loop: bool
    """Whether it did not end, or says the same again and again."""
    text: str
    """The beginning of it."""


class ProbeResult(Record):
    """What a model wrote where nothing (or nothing more) was said."""

    utterances: int
    """Probes of this kind."""
    hallucinated: int
    """Those for which text was made up."""
    mean_words: float
    """Words made up for each probe, on average."""
    made_up: tuple[MadeUp, ...] | None = None
    """Those probes; None: of an earlier version, which kept only how many."""

    added: ClassVar[frozenset[str]] = frozenset({"made_up"})


class Dictation(Record):
    """What a model made of long audio, stitched from utterances of the test set."""

    added = frozenset({"stitching"})

    id: str
    """The same for all models on the same test set."""
    duration_s: float
    """Of the audio."""
    utterances: int
    """That it is stitched of."""
    words: Counts
    """Normalised words."""
    longest_deletion: int
    """Most words in a row that are missing."""
    repeated: int
    """Sequences of five words that are written again though they are said once."""
    in_order: bool
    """Whether the timestamps never run backwards and end with the audio."""
    stitching: int = 0
    """Which one of the test set it is of, from 0: each has all utterances, in another order."""


class EvaluationReport(Record):
    """What one model made of one test set."""

    model: ModelRef
    """What was evaluated."""
    test_set_digest: str
    """Of the test split it was evaluated on."""
    normalizer_version: str
    """Of the normalizer that both sides went through."""
    decoding_digest: str
    """Of the DecodingConfig."""
    utterances: int
    """Of the test set."""
    audio_s: float
    """Seconds of audio in the test set."""
    raw: Counts
    """Words as written: case and punctuation count."""
    words: Counts
    """Normalised words."""
    characters: Counts
    """Characters of the normalised texts."""
    medical: Counts
    """Medical terms."""
    tiers: dict[str, Counts] = Field(default_factory=dict)
    """Tier -> its medical terms."""
    runaways: int = 0
    """Utterances at which the bound on tokens stopped the model."""
    repetitions: int = 0
    """Sequences of five words that occur again in the same utterance."""
    length_ratio: float = 1.0
    """Words written for each word said."""
    probes: dict[str, ProbeResult] = Field(default_factory=dict)
    """Kind of probe -> what was made up; empty where none were asked for."""
    real_time_factor: float = 0.0
    """Computing time for each second of audio."""
    latency_p50_s: float = 0.0
    """Median time of one utterance by itself; 0 where it was not measured."""
    latency_p95_s: float = 0.0
    """95th percentile of the same."""
    rows: Artifact
    """Counts of each utterance: parquet of `evaluation.rows.Row`."""
    rows_digest: str = ""
    """Of the rows' content."""
    lexicon_version: str = ""
    """Of the medical lexicon, with a user's own terms."""
    conditions: dict[str, str] = Field(default_factory=dict)
    """What else the report was made under, by name; an earlier version kept none."""

    dictations: tuple[Dictation, ...] = ()
    """Long audio; empty where none was asked for, or the test set lasts less than a minute."""
    dictation_texts: Artifact | None = None
    """What was written for each dictation: JSON of `evaluation.long_form.DictatedTexts`."""

    added: ClassVar[frozenset[str]] = frozenset({"conditions", "dictations", "dictation_texts"})


class Interval(Record):
    """A two-sided bootstrap interval."""

    low: float
    """Lower end, in the unit of the figure."""
    high: float
    """Upper end."""
    confidence: float
    """A fraction: 0.95 is 95 %."""


Metric = Literal["words", "raw", "medical", "characters"]
"""What a model's errors are counted in; `words` are the normalised ones."""


class Score(Record):
    """One figure of one model."""

    figure: float | None
    """(S + D + I) / N, a fraction; None where the test set has no such words."""
    interval: Interval | None = None
    """Of the figure; None where it is not known."""
    counts: Counts
    """What the figure is made of."""


class ModelScores(Record):
    """The figures of one model on the test set."""

    role: str
    """baseline, champion or challenger."""
    model: ModelRef
    """Whose figures these are."""
    scores: dict[Metric, Score]
    """What errors are counted in -> the figure."""


def total(counts: Iterable[Counts]) -> Counts:
    """Sum of counts."""
    return sum(counts, Counts())
