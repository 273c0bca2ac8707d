"""The values that pass along the chain; each holds the digest of the one before.

Knows nothing of storage, models or Prefect. A record is small, frozen and validated; what is
large stays in S3 behind an `Artifact`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, ClassVar, Generic, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

Outcome = Literal["promote", "reject", "inconclusive"]
Split = Literal["train", "validation", "test"]


def canonical_json(value: Any) -> bytes:
    """The one byte form of a JSON value: sorted keys, no blanks, UTF-8, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest_of(value: Any) -> str:
    """sha256 (hex) of the canonical JSON of a value or record."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return hashlib.sha256(canonical_json(value)).hexdigest()


class Record(BaseModel):
    """A frozen value with a digest; equal content means equal digest on every machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    added: ClassVar[frozenset[str]] = frozenset()
    """Fields that came after records of this kind had been stored.

    At their default they are left out of the JSON: an older record keeps the digest that other
    records know it by.
    """

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        for name in self.added:
            default = type(self).model_fields[name].get_default(call_default_factory=True)
            if getattr(self, name) == default:
                values.pop(name, None)
        return values

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON of all fields."""
        return digest_of(self)


T = TypeVar("T")
U = TypeVar("U")


class Pair(Record, Generic[T]):
    """One of each side; a difference is always challenger minus champion."""

    champion: T
    challenger: T

    def map(self, change: Callable[[T], U]) -> Pair[U]:
        """The same of each side."""
        return Pair(champion=change(self.champion), challenger=change(self.challenger))


class Job(Record):
    """What a stage is asked to do: equal digests give equal results, on every machine.

    `version` is the only one that a stage has: raise it when the same inputs would mean another
    result.
    """

    stage: ClassVar[str]
    version: ClassVar[str]

    @property
    def inputs(self) -> dict[str, Any]:
        """What the result depends on: every field, unless a job knows better."""
        return self.model_dump(mode="json")

    @property
    def digest(self) -> str:
        """sha256 over stage, version and inputs."""
        return digest_of([self.stage, self.version, self.inputs])

    @property
    def cache_key(self) -> str:
        """What Prefect knows the result by."""
        return f"{self.stage}/{self.digest}"

    @property
    def prefix(self) -> str:
        """Where everything lies in S3 that the stage stores for this job."""
        return f"{self.stage}/{self.version}/{self.digest}"

    @property
    def record_key(self) -> str:
        """Where the result's record lies, written last."""
        return f"{self.prefix}/record.json"


class Artifact(Record):
    """A stored, immutable object."""

    uri: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0)


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


class SourceRevision(Record):
    """A dataset source, its ref resolved to something immutable."""

    name: str
    location: str
    revision: str


class SplitSummary(Record):
    """How much one split holds."""

    utterances: int
    speakers: int
    hours: float


class DatasetRevision(Record):
    """One immutable state of the dataset: what training, validation and test draw from."""

    config_digest: str
    sources: tuple[SourceRevision, ...]
    parent: str | None = None
    manifest: Artifact
    manifest_digest: str
    shards: tuple[Artifact, ...]
    splits: dict[str, SplitSummary]
    test_set_digest: str
    seen: int
    taken: int
    dropped: dict[str, int]
    quarantined: dict[str, int]
    quarantine: Artifact
    new_utterances: int
    new_hours: float
    key: str = ""
    parent_key: str | None = None
    index: Artifact | None = None
    split_state: dict[str, str] = {}
    utterances_ever: int = 0
    hours_ever: float = 0.0
    leakage: dict[str, dict[str, int]] = {}
    notices: tuple[str, ...] = ()
    test_columns_digest: str = ""
    """Of the test set's speakers, prompts and durations, which its own digest leaves out."""

    added: ClassVar[frozenset[str]] = frozenset({"test_columns_digest"})


class ModelRef(Record):
    """A model: where it lies and, by the digest of its files, what it is."""

    name: str
    model_digest: str
    repo: str | None = None
    revision: str | None = None


class Checkpoint(Record):
    """Weights, processor and config in S3: file name -> artifact."""

    files: dict[str, Artifact]
    model_digest: str


class CurvePoint(Record):
    """What was known at one optimizer step; None where it was not measured."""

    step: int
    loss: float | None = None
    learning_rate: float | None = None
    validation_loss: float | None = None
    validation_wer: float | None = None
    audio_s_per_s: float | None = None
    memory_bytes: int | None = None
    compute_share: float | None = None
    elapsed_s: float | None = None


class TrainingRun(Record):
    """One training from a base model to a checkpoint."""

    dataset_digest: str
    base_model: ModelRef
    config_digest: str
    code_revision: str
    seed: int
    checkpoint: Checkpoint
    steps: int
    best_step: int
    validation_wer: float
    audio_s_per_s: float
    peak_memory_bytes: int
    duration_s: float
    curve: tuple[CurvePoint, ...] = ()
    tracking_url: str | None = None
    dropped: dict[str, int] = {}
    figures: dict[str, Artifact] = {}
    resumed_from_steps: tuple[int, ...] = ()
    stopped_early: bool = False
    averaged_steps: tuple[int, ...] = ()
    compute_share: float | None = None


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
    tiers: dict[str, Counts] = {}
    runaways: int = 0
    repetitions: int = 0
    length_ratio: float = 1.0
    probes: dict[str, ProbeResult] = {}
    real_time_factor: float = 0.0
    latency_p50_s: float = 0.0
    latency_p95_s: float = 0.0
    rows: Artifact
    rows_digest: str = ""
    lexicon_version: str = ""
    conditions: dict[str, str] = {}
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


class RuleOutcome(Record):
    """One rule of the policy, as applied."""

    rule: str
    outcome: Literal["pass", "fail", "inconclusive", "info"]
    figure: float | None
    bound: float | None
    interval: Interval | None = None
    probability: float | None = None
    utterances: tuple[str, ...] = ()
    reason: str


class Decision(Record):
    """What the gate says, and why."""

    outcome: Outcome
    champion_report: str
    challenger_report: str
    test_set_digest: str
    policy_digest: str
    rules: tuple[RuleOutcome, ...]
    reasons: tuple[str, ...]
    first_champion: bool = False
    looks: int = 0


class Promotion(Record):
    """The champion tag moved, by a promotion or a rollback."""

    kind: Literal["promotion", "rollback"]
    repo: str
    revision: str
    parent_revision: str | None
    tags: tuple[str, ...]
    decision_digest: str | None
    model_digest: str
    at: datetime
    previous_revision: str | None = None
    wer: float | None = None
    wer_interval: Interval | None = None
    test_set_digest: str | None = None


def total(counts: Iterable[Counts]) -> Counts:
    """Sum of counts."""
    return sum(counts, Counts())
