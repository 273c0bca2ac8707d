"""The values of a refresh: what is to be read, in jobs that fit a worker, and what came of one.

Everything here is small; rows lie in S3 as parquet tables.
"""

from __future__ import annotations

from typing import Any, ClassVar

from whisper_retrain.config import Columns, DatasetConfig, DatasetSource
from whisper_retrain.data.decoding import DECODING_VERSION
from whisper_retrain.data.text import FOLD_VERSION
from whisper_retrain.normalizer import NORMALIZER_VERSION
from whisper_retrain.records import (
    Artifact,
    DatasetRevision,
    Job,
    Record,
    SourceRevision,
    digest_of,
)

REFRESH_PREFIX = "refresh/v1"
# Small enough to be lost and done again, large enough that S3 requests don't matter.
SHARD_ROWS = 300

PRESETS = {
    "paulmooney": Columns(
        audio="path", reference="sentence", id="id", speaker="speaker_id", prompt="prompt"
    ),
    # The listing that the web application keeps.
    "corrections": Columns(audio="audio", reference="sentence", id="id", speaker="speaker"),
}

MAY_BE_EMPTY = frozenset({"corrections"})
"""Presets of sources that people fill by and by: none there yet is nothing wrong."""


def columns_of(source: DatasetSource) -> Columns:
    """The columns of a source, of its preset where it has one."""
    return PRESETS.get(source.preset, source.columns)


class ShardJob(Job):
    """Some recordings of one source that have not been read yet.

    Either row groups of a parquet file of a Hub repo, or the rows of a stored listing.
    """

    stage: ClassVar[str] = "shard"
    version: ClassVar[str] = f"1-decoding-{DECODING_VERSION}"

    source: DatasetSource
    """Where the recordings come from."""
    revision: str
    """Of the source."""
    origin: str
    """The piece of the source: a file's digest, or that of some rows."""
    rows: int
    """How many there are to read."""
    file: str = ""
    """Parquet file of a Hub repo; empty for a listing."""
    row_groups: tuple[int, ...] = ()
    """Of that file; empty: all."""
    listing: Artifact | None = None
    """Rows of a listing, as they were when the refresh was planned."""
    known: Artifact | None = None
    """Table of rows that earlier revisions measured: their audio is not decoded again."""

    @property
    def inputs(self) -> dict[str, Any]:
        """What the rows and the audio depend on."""
        return {
            "source": [self.source.name, self.source.kind],
            "columns": columns_of(self.source).model_dump(),
            "origin": self.origin,
            "row_groups": self.row_groups,
            "listing": self.listing.sha256 if self.listing else None,
        }

    @property
    def name(self) -> str:
        """A short name, for logs and task runs."""
        return f"{self.source.name}-{self.digest[-8:]}"


class ShardRecord(Record):
    """What became of one job: a table of its rows, and a shard of the audio that was decoded."""

    key: str
    """Prefix of the job in S3."""
    rows: Artifact
    """Table of its rows: parquet of `Recording`."""
    shard: Artifact | None
    """Audio that was decoded; None where there was none."""
    seen: int
    """Rows."""
    decoded: int
    """Rows whose audio is in the shard."""
    failed: int
    """Rows without audio to use."""
    audio_s: float
    """Of the shard, seconds."""


class RefreshPlan(Job):
    """What a refresh will do: the jobs to run, and a table of the rows that need no reading.

    It is the job of the stage that makes the revision.
    """

    stage: ClassVar[str] = "revision"
    version: ClassVar[str] = f"1-fold-{FOLD_VERSION}-normalizer-{NORMALIZER_VERSION}"

    config: DatasetConfig
    """Settings of the dataset."""
    sources: tuple[SourceRevision, ...]
    """What they hold now."""
    previous: str | None
    """Prefix of the revision to build on; None before the first."""
    reused: Artifact | None
    """Table of the rows that need no reading."""
    reused_rows: int
    """How many."""
    shards: tuple[Artifact, ...]
    """Of the revision before."""
    review: Artifact | None
    """The review file as it was read."""
    jobs: tuple[ShardJob, ...]
    """What is to be read."""

    @property
    def inputs(self) -> dict[str, Any]:
        """What the revision depends on."""
        return {
            "config": revision_config_digest(self.config),
            "sources": [source.model_dump() for source in self.sources],
            "previous": self.previous,
        }


class PlanJob(Job):
    """Find what is new in the sources since the revision to build on."""

    stage: ClassVar[str] = "plan"
    version: ClassVar[str] = "v1"

    config: DatasetConfig
    """Settings of the dataset."""
    sources: tuple[SourceRevision, ...]
    """What they hold now."""
    previous: DatasetRevision | None
    """The revision to build on; None before the first."""

    @property
    def inputs(self) -> dict[str, Any]:
        """All fields; rows that were read in another way are no longer known."""
        return super().inputs | {"shards": ShardJob.version}


def revision_config_digest(config: DatasetConfig) -> str:
    """Digest of what changes a revision: settings, and the meaning of the stage itself."""
    settings = config.model_dump(mode="json", exclude={"min_new_utterances", "min_new_hours"})
    return digest_of([ShardJob.version, RefreshPlan.version, settings])
