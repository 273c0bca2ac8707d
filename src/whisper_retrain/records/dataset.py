"""The dataset as one immutable state: what training, validation and test draw from."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_serializer, model_validator

from whisper_retrain.records.base import Artifact, Record

Split = Literal["train", "validation", "test"]


class SourceRevision(Record):
    """A dataset source, its ref resolved to something immutable."""

    name: str
    """Of the source, as in its settings."""
    location: str
    """Repo, folder or prefix."""
    revision: str
    """A Hub commit, or a digest over paths and stamps."""


class SplitSummary(Record):
    """How much one split holds."""

    utterances: int
    """How many."""
    speakers: int
    """How many; all unknown ones count as one."""
    hours: float
    """Of audio."""


class SplitState(Record):
    """What later revisions are split by; stored as one flat object, as earlier versions did."""

    # The schema is that of the flat object: a Prefect server checks a placed stage's parameters.
    model_config = ConfigDict(
        json_schema_extra={"properties": {}, "additionalProperties": {"type": "string"}}
    )

    cuts: dict[str, str] = Field(default_factory=dict)
    """Kind (speaker, phrase, ...) -> where the test side ends on its line, 16 hex digits."""
    test_policy: str = ""
    """Digest of the settings that the test set depends on."""
    shards: str = ""
    """Version of decoding that the audio was read with."""

    @model_validator(mode="before")
    @classmethod
    def _from_flat(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "cuts" in values:
            return values
        named = {name: values[name] for name in ("test_policy", "shards") if name in values}
        return {**named, "cuts": {k: v for k, v in values.items() if k not in named}}

    @model_serializer
    def _flat(self) -> dict[str, str]:
        named = {"test_policy": self.test_policy, "shards": self.shards}
        return self.cuts | {name: value for name, value in named.items() if value}


class DatasetRevision(Record):
    """One immutable state of the dataset: what training, validation and test draw from."""

    config_digest: str
    """Of the settings that change a revision, and of the stages' versions."""
    sources: tuple[SourceRevision, ...]
    """What was read, in the order of the settings; a review file is the last."""
    parent: str | None = None
    """Digest of the revision before; None for the first."""
    manifest: Artifact
    """Table of all utterances: parquet of `data.manifest.Utterance`."""
    manifest_digest: str
    """Of what is said, by whom, in which split and of which audio; not of where it lies."""
    shards: tuple[Artifact, ...]
    """The files with the audio, in the order of their digests."""
    splits: dict[str, SplitSummary]
    """Split -> how much it holds."""
    test_set_digest: str
    """Of the test split: ids, audio, references and the normalizer's version."""
    seen: int
    """Rows of all sources; seen = taken + quarantined + dropped."""
    taken: int
    """Utterances in the manifest."""
    dropped: dict[str, int]
    """Reason -> utterances that no split could take."""
    quarantined: dict[str, int]
    """Reason -> utterances that broke a bound."""
    quarantine: Artifact
    """Table of those: parquet of `data.validation.Quarantined`."""
    new_utterances: int
    """Not in the revision before, or with another audio or reference there."""
    new_hours: float
    """Their audio, hours."""
    key: str = ""
    """Prefix of this revision in S3."""
    parent_key: str | None = None
    """Prefix of the one before; None for the first."""
    index: Artifact | None = None
    """Table of all rows as they were measured: parquet of `data.recordings.Recording`."""
    split_state: SplitState = SplitState()
    """What later revisions are split by."""
    utterances_ever: int = 0
    """New ones of this revision and of all before it."""
    hours_ever: float = 0.0
    """The same in hours."""
    leakage: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Kind (speaker, phrase, audio) -> pair of splits -> how many they share."""
    notices: tuple[str, ...] = ()
    """Sentences for people: what changed in a frozen test set, and the like."""
    test_columns_digest: str = ""
    """Of the test set's speakers, prompts and durations, which its own digest leaves out."""

    added: ClassVar[frozenset[str]] = frozenset({"test_columns_digest"})
