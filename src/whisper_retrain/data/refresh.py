"""The refresh stage: plan, build shards, commit a revision; and the whole of it in order.

Each step is one retryable effect whose result is found again by the digest of its inputs; the
pointer to the latest revision is the only thing that changes.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from whisper_retrain.config import DatasetConfig
from whisper_retrain.data import listing_source
from whisper_retrain.data.build import Progress, build_shard
from whisper_retrain.data.commit import commit_revision, read_table, store_table
from whisper_retrain.data.latest import enough_new, is_unchanged, latest_revision
from whisper_retrain.data.plan import (
    REFRESH_PREFIX,
    PlanJob,
    RefreshPlan,
    ShardJob,
    ShardRecord,
)
from whisper_retrain.data.recordings import Recording, in_order
from whisper_retrain.data.review import parse_review
from whisper_retrain.data.rows import Rows, is_in
from whisper_retrain.data.sources import plan_source, resolve_sources
from whisper_retrain.edges.store import ObjectStore
from whisper_retrain.errors import InputError
from whisper_retrain.records import Artifact, DatasetRevision, SourceRevision

__all__ = [
    "PlanJob",
    "RefreshPlan",
    "ShardJob",
    "ShardRecord",
    "build_shard",
    "commit_revision",
    "enough_new",
    "is_unchanged",
    "latest_revision",
    "plan_refresh",
    "refresh_dataset",
    "resolve_sources",
]

# While one is stored the next is decoded.
JOBS_AT_ONCE = 2

log = logging.getLogger("whisper_retrain.data")


def plan_refresh(
    config: DatasetConfig,
    sources: Sequence[SourceRevision],
    store: ObjectStore,
    previous: DatasetRevision | None,
) -> RefreshPlan:
    """Tell the rows that are known from those to be read; reads no audio of known ones."""
    known = _index(store, previous)
    index = previous.index if previous and known else None
    reused = Rows.of((), Recording)
    jobs: list[ShardJob] = []
    for source, resolved in zip(config.sources, sources, strict=False):
        of_source = known.where(is_in(known.column("source"), [source.name]))
        kept, new = plan_source(source, resolved.revision, of_source, store)
        reused += kept
        jobs += [job.model_copy(update={"known": index}) for job in new]
    log.info("%d recordings known, %d to read", len(reused), sum(job.rows for job in jobs))
    return RefreshPlan(
        config=config,
        sources=tuple(sources),
        previous=previous.key if previous else None,
        reused=_store_reused(reused, known, index, store),
        reused_rows=len(reused),
        shards=previous.shards if previous else (),
        review=_store_review(config, sources, store),
        jobs=tuple(jobs),
    )


def _index(store: ObjectStore, revision: DatasetRevision | None) -> Rows[Recording]:
    if (
        revision is None
        or revision.index is None
        or revision.split_state.shards != ShardJob.version
    ):
        return Rows.of((), Recording)
    return read_table(store, revision.index)


def _store_reused(
    reused: Rows[Recording], known: Rows[Recording], index: Artifact | None, store: ObjectStore
) -> Artifact | None:
    """The table of rows that need no reading; mostly those are just the rows known before."""
    if not reused:
        return None
    if in_order(reused) == known:
        return index
    return store_table(store, "plans", reused, Recording)


def _store_review(
    config: DatasetConfig, sources: Sequence[SourceRevision], store: ObjectStore
) -> Artifact | None:
    """Keep the review file as it was when the sources were resolved; checked before any work."""
    if config.review is None:
        return None
    data = listing_source.read_bytes(config.review)
    parse_review(data, config.review)
    digest = hashlib.sha256(data).hexdigest()
    if digest != sources[-1].revision:
        raise InputError(
            "the review file changed while it was being read",
            where=config.review,
            remedy="refresh again",
        )
    return store.write(f"{REFRESH_PREFIX}/reviews/{digest}.csv", data, "text/csv; charset=utf-8")


def refresh_dataset(
    config: DatasetConfig, store: ObjectStore, progress: Progress | None = None
) -> DatasetRevision:
    """The whole stage in one process; returns the previous revision when nothing changed."""
    sources = resolve_sources(config)
    previous = latest_revision(store, config)
    if previous is not None and is_unchanged(previous, sources, config):
        return previous
    plan = plan_refresh(config, sources, store, previous)
    with ThreadPoolExecutor(JOBS_AT_ONCE) as pool:
        records = list(pool.map(lambda job: build_shard(job, store, progress), plan.jobs))
    return commit_revision(plan, records, store)
