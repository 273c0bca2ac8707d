"""The latest revision of a dataset: the pointer to it, and what can be told from records alone."""

from __future__ import annotations

import json
from collections.abc import Sequence

from whisper_retrain.config import DatasetConfig
from whisper_retrain.data.plan import REFRESH_PREFIX, revision_config_digest
from whisper_retrain.edges.store import ObjectStore, read_record
from whisper_retrain.records import DatasetRevision, SourceRevision, canonical_json, digest_of


def pointer_key(config: DatasetConfig) -> str:
    """Key of the one mutable object: which revision of these sources is the latest."""
    return f"{REFRESH_PREFIX}/latest/{digest_of(_places(config))}.json"


def _places(config: DatasetConfig) -> list[list[str]]:
    return sorted([source.name, source.kind, source.location] for source in config.sources)


def latest_revision(store: ObjectStore, config: DatasetConfig) -> DatasetRevision | None:
    """The revision to build on, or None before the first.

    With a source added or taken away, that is the one of the most nearly equal set of sources:
    its test set stays the test set.
    """
    exact = pointed_to(store, pointer_key(config))[0]
    if exact is not None:
        return exact
    best: tuple[int, str] | None = None
    for key in store.keys(f"{REFRESH_PREFIX}/latest/"):
        pointer = json.loads(store.read(key))
        shared = sum(place in pointer["sources"] for place in _places(config))
        if shared and (best is None or shared > best[0]):
            best = (shared, pointer["key"])
    return revision_at(store, best[1]) if best else None


def pointed_to(store: ObjectStore, key: str) -> tuple[DatasetRevision | None, str | None]:
    """The revision that a pointer names, and the pointer's version."""
    found = store.read_versioned(key)
    if found is None:
        return None, None
    return revision_at(store, json.loads(found[0])["key"]), found[1]


def pointer_bytes(revision: DatasetRevision, config: DatasetConfig) -> bytes:
    """The pointer's content."""
    return canonical_json(
        {"key": revision.key, "digest": revision.digest, "sources": _places(config)}
    )


def revision_at(store: ObjectStore, key: str) -> DatasetRevision | None:
    """The revision whose record lies at a prefix, or None."""
    return read_record(store, f"{key}/record.json", DatasetRevision)


def revisions_up_to(
    store: ObjectStore, revision: DatasetRevision, longest: int = 50
) -> list[DatasetRevision]:
    """The revision and those before it, oldest first."""
    found = [revision]
    while len(found) < longest and found[-1].parent_key:
        parent = revision_at(store, found[-1].parent_key)
        if parent is None:
            break
        found.append(parent)
    return found[::-1]


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
