"""The dataset as one immutable state: what training, validation and test draw from."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from whisper_retrain.records.base import Artifact, Record

Split = Literal["train", "validation", "test"]


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
    split_state: dict[str, str] = Field(default_factory=dict)
    utterances_ever: int = 0
    hours_ever: float = 0.0
    leakage: dict[str, dict[str, int]] = Field(default_factory=dict)
    notices: tuple[str, ...] = ()
    test_columns_digest: str = ""
    """Of the test set's speakers, prompts and durations, which its own digest leaves out."""

    added: ClassVar[frozenset[str]] = frozenset({"test_columns_digest"})
