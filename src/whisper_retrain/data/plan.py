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
    revision: str
    origin: str
    rows: int
    file: str = ""
    row_groups: tuple[int, ...] = ()
    listing: Artifact | None = None
    known: Artifact | None = None

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
    rows: Artifact
    shard: Artifact | None
    seen: int
    decoded: int
    failed: int
    audio_s: float


class RefreshPlan(Job):
    """What a refresh will do: the jobs to run, and a table of the rows that need no reading.

    It is the job of the stage that makes the revision.
    """

    stage: ClassVar[str] = "revision"
    version: ClassVar[str] = f"1-fold-{FOLD_VERSION}-normalizer-{NORMALIZER_VERSION}"

    config: DatasetConfig
    sources: tuple[SourceRevision, ...]
    previous: str | None
    reused: Artifact | None
    reused_rows: int
    shards: tuple[Artifact, ...]
    review: Artifact | None
    jobs: tuple[ShardJob, ...]

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
    sources: tuple[SourceRevision, ...]
    previous: DatasetRevision | None

    @property
    def inputs(self) -> dict[str, Any]:
        """All fields; rows that were read in another way are no longer known."""
        return super().inputs | {"shards": ShardJob.version}


def revision_config_digest(config: DatasetConfig) -> str:
    """Digest of what changes a revision: settings, and the meaning of the stage itself."""
    settings = config.model_dump(mode="json", exclude={"min_new_utterances", "min_new_hours"})
    return digest_of([ShardJob.version, RefreshPlan.version, settings])
