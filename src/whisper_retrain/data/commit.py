"""From the rows of a refresh to a revision: curate, store the tables, write the record last.

A revision's key is the digest of its inputs: the same sources, settings and predecessor make the
same revision, whoever commits it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from whisper_retrain.data.build import PARQUET
from whisper_retrain.data.curate import Before, Curated, curate, reasons
from whisper_retrain.data.latest import (
    is_unchanged,
    pointed_to,
    pointer_bytes,
    pointer_key,
    revision_at,
)
from whisper_retrain.data.manifest import (
    Utterance,
    digest_of_test_columns,
    digest_of_test_set,
    manifest_digest,
    summarize,
)
from whisper_retrain.data.plan import (
    REFRESH_PREFIX,
    RefreshPlan,
    ShardJob,
    ShardRecord,
    revision_config_digest,
)
from whisper_retrain.data.recordings import Recording, in_order
from whisper_retrain.data.review import ReviewFile, parse_review
from whisper_retrain.data.rows import Rows, RowT, from_parquet, joined, texts, to_parquet
from whisper_retrain.data.validation import Quarantined, label_id_counter
from whisper_retrain.edges.store import ObjectStore
from whisper_retrain.errors import ConflictError, InputError
from whisper_retrain.records import Artifact, DatasetRevision, SplitState

log = logging.getLogger("whisper_retrain.data")


def read_table(store: ObjectStore, table: Artifact) -> Rows[Recording]:
    return from_parquet(store.read(store.key(table.uri)), Recording)


def store_table(store: ObjectStore, name: str, rows: Iterable[RowT], kind: type[RowT]) -> Artifact:
    """Store a table under its own digest: written by two at once, it is the same twice."""
    data = to_parquet(rows, kind)
    digest = hashlib.sha256(data).hexdigest()
    return store.write(f"{REFRESH_PREFIX}/{name}/{digest}.parquet", data, PARQUET)


def commit_revision(
    plan: RefreshPlan, shard_records: Sequence[ShardRecord], store: ObjectStore
) -> DatasetRevision:
    """Make the revision of a plan whose jobs are done, record last, and point to it.

    Two refreshes at once end in one revision: the later one finds the same already made, or makes
    its own again on top of what came first.
    """
    tables = [plan.reused] if plan.reused else []
    rows = joined(
        (read_table(store, table) for table in [*tables, *(r.rows for r in shard_records)]),
        Recording,
    )
    while True:
        latest, version = pointed_to(store, pointer_key(plan.config))
        if latest is not None and is_unchanged(latest, plan.sources, plan.config):
            return latest
        if latest is not None and latest.key != plan.previous:
            log.info("another refresh came first; going on from its revision")
            plan = plan.model_copy(update={"previous": latest.key})
        previous = latest if latest is not None else _previous(plan, store)
        revision = revision_at(store, plan.prefix)
        if revision is None:
            revision = _make_revision(plan, rows, shard_records, previous, store)
        try:
            store.swap(pointer_key(plan.config), pointer_bytes(revision, plan.config), version)
        except ConflictError:
            continue
        return revision


def _previous(plan: RefreshPlan, store: ObjectStore) -> DatasetRevision | None:
    """The revision planned from, of another set of sources."""
    return revision_at(store, plan.previous) if plan.previous else None


def _make_revision(
    plan: RefreshPlan,
    rows: Rows[Recording],
    shard_records: Sequence[ShardRecord],
    previous: DatasetRevision | None,
    store: ObjectStore,
) -> DatasetRevision:
    earlier = _earlier_utterances(store, previous)
    before = _before(previous, earlier)
    count = label_id_counter(plan.config.bounds.tokenizer)
    review = _review(plan, store)
    curated = curate(rows, plan.config, before, count, review)
    _check_not_empty(curated, plan)
    needed = {
        *rows.column("shard").unique().to_pylist(),
        *curated.utterances.column("shard").unique().to_pylist(),
    }
    shards = _shards(plan, shard_records, previous, needed)
    revision = _describe(plan, curated, rows, previous, earlier, shards, store)
    data = revision.model_dump_json(indent=1).encode()
    if store.create(plan.record_key, data):
        return revision
    # Two refreshes at once make the same record; should they not, the first one stands.
    return revision_at(store, plan.prefix) or revision


def _review(plan: RefreshPlan, store: ObjectStore) -> ReviewFile | None:
    if plan.review is None:
        return None
    return parse_review(store.read(store.key(plan.review.uri)), plan.review.uri)


def _before(previous: DatasetRevision | None, earlier: Rows[Utterance]) -> Before:
    """What holds of an earlier revision: nothing, once audio is decoded in another way."""
    if previous is None or previous.split_state.shards != ShardJob.version:
        return Before()
    state = previous.split_state
    return Before(earlier, state.cuts, state.test_policy)


def _earlier_utterances(store: ObjectStore, previous: DatasetRevision | None) -> Rows[Utterance]:
    if previous is None:
        return Rows.of((), Utterance)
    return from_parquet(store.read(store.key(previous.manifest.uri)), Utterance)


def _check_not_empty(curated: Curated, plan: RefreshPlan) -> None:
    splits = set(curated.utterances.column("split").unique().to_pylist())
    only_test = plan.config.splits.disjoint in {"test-only", "guard"}
    wanted = ("test",) if only_test else ("train", "validation", "test")
    empty = [name for name in wanted if name not in splits]
    if empty:
        why = reasons([*_reasons(curated.quarantined), *_reasons(curated.dropped)])
        raise InputError(
            f"empty split: {', '.join(empty)}",
            where=", ".join(source.location for source in plan.sources),
            expected=f"utterances in {', '.join(wanted)}",
            got=f"{curated.seen} seen; quarantined and dropped: {why}",
            remedy="more speakers and phrases, a column of speakers, or splits.disjoint = phrase",
        )


def _describe(
    plan: RefreshPlan,
    curated: Curated,
    rows: Rows[Recording],
    previous: DatasetRevision | None,
    earlier: Rows[Utterance],
    shards: tuple[Artifact, ...],
    store: ObjectStore,
) -> DatasetRevision:
    """Store the tables of a revision and make its record."""
    durations_s = [u.duration_s for u in _new(curated.utterances, earlier)]
    new_hours = round(sum(durations_s) / 3600, 6)
    return DatasetRevision(
        key=plan.prefix,
        parent_key=plan.previous,
        config_digest=revision_config_digest(plan.config),
        sources=plan.sources,
        parent=previous.digest if previous else None,
        manifest=store_table(store, "manifests", curated.utterances, Utterance),
        manifest_digest=manifest_digest(curated.utterances),
        shards=shards,
        splits=summarize(curated.utterances),
        test_set_digest=digest_of_test_set(curated.utterances),
        test_columns_digest=digest_of_test_columns(curated.utterances),
        seen=curated.seen,
        taken=len(curated.utterances),
        dropped=reasons(_reasons(curated.dropped)),
        quarantined=reasons(_reasons(curated.quarantined)),
        quarantine=store_table(store, "quarantine", curated.quarantined, Quarantined),
        index=store_table(store, "index", in_order(rows), Recording),
        new_utterances=len(durations_s),
        new_hours=new_hours,
        utterances_ever=len(durations_s) + (previous.utterances_ever if previous else 0),
        hours_ever=round(new_hours + (previous.hours_ever if previous else 0.0), 6),
        split_state=SplitState(
            cuts=curated.cuts,
            test_policy=curated.test_policy,
            shards=ShardJob.version,
        ),
        leakage=curated.leakage,
        notices=tuple(curated.notices),
    )


def _shards(
    plan: RefreshPlan,
    shard_records: Sequence[ShardRecord],
    previous: DatasetRevision | None,
    needed: set[str],
) -> tuple[Artifact, ...]:
    """The shards that are needed, in the order of their digests."""
    known = [
        *plan.shards,
        *(previous.shards if previous else ()),
        *(record.shard for record in shard_records),
    ]
    by_digest = {shard.sha256: shard for shard in known if shard and shard.sha256 in needed}
    return tuple(by_digest[digest] for digest in sorted(by_digest))


def _reasons(refused: Rows[Any]) -> Iterator[Any]:
    return texts(refused.column("reason"))


def _new(utterances: Rows[Utterance], earlier: Rows[Utterance]) -> Iterator[Utterance]:
    """Those that were not there with the same audio and reference."""
    before = iter(earlier.sorted_by("id"))
    last = next(before, None)
    for u in utterances.sorted_by("id"):
        while last is not None and last.id < u.id:
            last = next(before, None)
        now = (u.id, u.audio_sha256, u.reference)
        if last is None or (last.id, last.audio_sha256, last.reference) != now:
            yield u
