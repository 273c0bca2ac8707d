"""The refresh stage: plan, build shards, commit a revision; and the whole of it in order.

A revision is the digest of its inputs: the same sources, settings and predecessor always make the
same one, whoever commits it. The pointer to the latest is the only thing that changes.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence

from whisper_retrain.config import DatasetConfig
from whisper_retrain.data.build import PARQUET, Progress, build_shard
from whisper_retrain.data.curate import Before, Curated, curate, reasons
from whisper_retrain.data.manifest import (
    Utterance,
    manifest_digest,
    summarize,
    test_set_digest,
)
from whisper_retrain.data.plan import (
    REFRESH_PREFIX,
    RefreshPlan,
    ShardJob,
    ShardRecord,
    revision_config_digest,
)
from whisper_retrain.data.recordings import Recording, from_parquet, to_parquet
from whisper_retrain.data.sources import plan_source, resolve_sources
from whisper_retrain.data.splits import test_policy_digest
from whisper_retrain.data.text import FOLD_VERSION
from whisper_retrain.data.validation import Quarantined, label_id_counter
from whisper_retrain.edges.store import ObjectStore, read_record
from whisper_retrain.errors import ConflictError, InputError
from whisper_retrain.records import (
    Artifact,
    DatasetRevision,
    SourceRevision,
    digest_of,
)

__all__ = [
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

log = logging.getLogger("whisper_retrain.data")


def pointer_key(config: DatasetConfig) -> str:
    """Key of the one mutable object: which revision of these sources is the latest."""
    names = sorted([source.name, source.kind, source.location] for source in config.sources)
    return f"{REFRESH_PREFIX}/latest/{digest_of(names)}.json"


def latest_revision(store: ObjectStore, config: DatasetConfig) -> DatasetRevision | None:
    """The latest revision of the config's sources, or None before the first."""
    return _latest(store, config)[0]


def _latest(store: ObjectStore, config: DatasetConfig) -> tuple[DatasetRevision | None, str | None]:
    """The latest revision and the version of the pointer to it."""
    found = store.read_versioned(pointer_key(config))
    if found is None:
        return None, None
    return _revision(store, json.loads(found[0])["key"]), found[1]


def _revision(store: ObjectStore, key: str) -> DatasetRevision | None:
    return read_record(store, f"{key}/record.json", DatasetRevision)


def is_unchanged(
    previous: DatasetRevision | None, sources: Sequence[SourceRevision], config: DatasetConfig
) -> bool:
    """Whether the previous revision is what a refresh would make again."""
    return (
        previous is not None
        and previous.sources == tuple(sources)
        and previous.config_digest == revision_config_digest(config)
    )


def enough_new(
    previous: DatasetRevision | None, revision: DatasetRevision, config: DatasetConfig
) -> bool:
    """Whether enough has come since `previous`, the revision last trained on, to retrain.

    Either bound is enough; a bound of 0 hours is no bound.
    """
    if previous is None:
        return True
    utterances = revision.utterances_ever - previous.utterances_ever
    hours = revision.hours_ever - previous.hours_ever
    return utterances >= config.min_new_utterances or 0 < config.min_new_hours <= hours


def plan_refresh(
    config: DatasetConfig,
    sources: Sequence[SourceRevision],
    store: ObjectStore,
    previous: DatasetRevision | None,
) -> RefreshPlan:
    """Tell the rows that are known from those to be read; reads no audio of known ones."""
    known = _index(store, previous)
    by_source: dict[str, list[Recording]] = {}
    for row in known:
        by_source.setdefault(row.source, []).append(row)
    reused: list[Recording] = []
    jobs: list[ShardJob] = []
    for source, resolved in zip(config.sources, sources, strict=False):
        kept, new = plan_source(source, resolved.revision, by_source.get(source.name, []), store)
        reused += kept
        jobs += (
            [job.model_copy(update={"known": previous.index}) for job in new] if previous else new
        )
    log.info("%d recordings known, %d to read", len(reused), sum(job.rows for job in jobs))
    return RefreshPlan(
        config=config,
        sources=tuple(sources),
        previous=previous.key if previous else None,
        reused=_store_table(store, "plans", reused, Recording) if reused else None,
        reused_rows=len(reused),
        shards=previous.shards if previous else (),
        jobs=tuple(jobs),
    )


def _index(store: ObjectStore, revision: DatasetRevision | None) -> list[Recording]:
    return _rows(store, revision.index) if revision and revision.index else []


def _rows(store: ObjectStore, table: Artifact) -> list[Recording]:
    return from_parquet(store.read(store.key(table.uri)), Recording)


def _store_table(
    store: ObjectStore, name: str, rows: Iterable[object], kind: type[object]
) -> Artifact:
    """Store a table under its own digest: written by two at once, it is the same twice."""
    data = to_parquet(rows, kind)
    digest = hashlib.sha256(data).hexdigest()
    return store.write(f"{REFRESH_PREFIX}/{name}/{digest}.parquet", data, PARQUET)


def commit_revision(
    plan: RefreshPlan, shard_records: Sequence[ShardRecord], store: ObjectStore
) -> DatasetRevision:
    """Make the revision of a plan whose jobs are done, record last, and point to it.

    When another refresh came first, the revision is made again on top of that one.
    """
    rows = _rows(store, plan.reused) if plan.reused else []
    for record in shard_records:
        rows += _rows(store, record.rows)
    while True:
        revision = _revision(store, plan.key) or _make_revision(plan, rows, shard_records, store)
        if _point_to(revision, plan, store):
            return revision
        latest = latest_revision(store, plan.config)
        log.info("another refresh came first; going on from its revision")
        plan = plan.model_copy(update={"previous": latest.key if latest else None})


def _point_to(revision: DatasetRevision, plan: RefreshPlan, store: ObjectStore) -> bool:
    """Move the pointer from the plan's previous revision; False when it is elsewhere."""
    latest, version = _latest(store, plan.config)
    if latest is not None and latest.key == revision.key:
        return True
    if (latest.key if latest else None) != plan.previous:
        return is_unchanged(latest, plan.sources, plan.config)
    pointer = json.dumps({"key": revision.key, "digest": revision.digest}).encode()
    try:
        store.swap(pointer_key(plan.config), pointer, version)
    except ConflictError:
        return False
    return True


def _make_revision(
    plan: RefreshPlan,
    rows: Sequence[Recording],
    shard_records: Sequence[ShardRecord],
    store: ObjectStore,
) -> DatasetRevision:
    previous = _revision(store, plan.previous) if plan.previous else None
    earlier = _earlier_utterances(store, previous)
    before = (
        Before(earlier, previous.split_state, previous.split_state["test_policy"])
        if previous
        else Before()
    )
    curated = curate(rows, plan.config, before, label_id_counter(plan.config.bounds.tokenizer))
    _check_not_empty(curated, plan)
    shards = _shards(plan, shard_records, rows)
    revision = _describe(plan, curated, rows, previous, earlier, shards, store)
    data = revision.model_dump_json(indent=1).encode()
    # Two refreshes at once make the same record; should they not, the first one stands.
    store.create(f"{plan.key}/record.json", data)
    return _revision(store, plan.key) or revision


def _earlier_utterances(
    store: ObjectStore, previous: DatasetRevision | None
) -> dict[str, Utterance]:
    if previous is None:
        return {}
    rows = from_parquet(store.read(store.key(previous.manifest.uri)), Utterance)
    return {u.id: u for u in rows}


def _check_not_empty(curated: Curated, plan: RefreshPlan) -> None:
    splits = {u.split for u in curated.utterances}
    empty = [name for name in ("train", "validation", "test") if name not in splits]
    if empty:
        why = reasons([*(q.reason for q in curated.quarantined), *curated.dropped.values()])
        raise InputError(
            f"empty split: {', '.join(empty)}",
            where=", ".join(source.location for source in plan.sources),
            expected="utterances in train, validation and test",
            got=f"{curated.seen} seen; quarantined and dropped: {why}",
            remedy="more speakers and phrases, a column of speakers, or splits.disjoint = phrase",
        )


def _describe(
    plan: RefreshPlan,
    curated: Curated,
    rows: Sequence[Recording],
    previous: DatasetRevision | None,
    earlier: dict[str, Utterance],
    shards: tuple[Artifact, ...],
    store: ObjectStore,
) -> DatasetRevision:
    """Store the tables of a revision and make its record."""
    new = [u for u in curated.utterances if _is_new(u, earlier)]
    new_hours = round(sum(u.duration_s for u in new) / 3600, 6)
    ordered = sorted(rows, key=lambda r: (r.key, r.origin, r.audio_sha256 or ""))
    return DatasetRevision(
        key=plan.key,
        config_digest=revision_config_digest(plan.config),
        sources=plan.sources,
        parent=previous.digest if previous else None,
        manifest=_store_table(store, "manifests", curated.utterances, Utterance),
        manifest_digest=manifest_digest(curated.utterances),
        shards=shards,
        splits=summarize(curated.utterances),
        test_set_digest=test_set_digest(curated.utterances, FOLD_VERSION),
        seen=curated.seen,
        taken=len(curated.utterances),
        dropped=reasons(curated.dropped.values()),
        quarantined=reasons(q.reason for q in curated.quarantined),
        quarantine=_store_table(store, "quarantine", curated.quarantined, Quarantined),
        index=_store_table(store, "index", ordered, Recording),
        new_utterances=len(new),
        new_hours=new_hours,
        utterances_ever=len(new) + (previous.utterances_ever if previous else 0),
        hours_ever=round(new_hours + (previous.hours_ever if previous else 0.0), 6),
        split_state={**curated.cuts, "test_policy": test_policy_digest(plan.config.splits)},
        leakage=curated.leakage,
        notices=tuple(curated.notices),
    )


def _shards(
    plan: RefreshPlan, shard_records: Sequence[ShardRecord], rows: Sequence[Recording]
) -> tuple[Artifact, ...]:
    """The shards that the rows lie in, in the order of their digests."""
    known = [*plan.shards, *(record.shard for record in shard_records)]
    by_digest = {shard.sha256: shard for shard in known if shard is not None}
    return tuple(by_digest[digest] for digest in sorted({row.shard for row in rows if row.shard}))


def _is_new(u: Utterance, earlier: dict[str, Utterance]) -> bool:
    before = earlier.get(u.id)
    return before is None or (before.audio_sha256, before.reference) != (
        u.audio_sha256,
        u.reference,
    )


def refresh_dataset(
    config: DatasetConfig, store: ObjectStore, progress: Progress | None = None
) -> DatasetRevision:
    """The whole stage in one process; returns the previous revision when nothing changed."""
    sources = resolve_sources(config)
    previous = latest_revision(store, config)
    if previous is not None and is_unchanged(previous, sources, config):
        return previous
    plan = plan_refresh(config, sources, store, previous)
    records = [build_shard(job, store, progress) for job in plan.jobs]
    return commit_revision(plan, records, store)
