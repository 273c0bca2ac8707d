"""What a source holds now, found out without reading any audio.

Resolves refs to revisions, and tells the rows that are known from those that must be read.
"""

from __future__ import annotations

import hashlib

from whisper_retrain.config import DatasetConfig, DatasetSource
from whisper_retrain.data import hub_source, listing_source
from whisper_retrain.data.plan import ShardJob
from whisper_retrain.data.recordings import Recording
from whisper_retrain.data.rows import Rows, is_in
from whisper_retrain.edges.store import ObjectStore
from whisper_retrain.records import SourceRevision

REVIEW = "review"


def resolve_sources(config: DatasetConfig) -> tuple[SourceRevision, ...]:
    """Each source at an immutable revision: a Hub commit, or the digest of a listing.

    The review file counts as a source, since a changed one makes another revision.
    """
    found = [
        hub_source.resolve(source) if source.kind == "hub" else listing_source.resolve(source)
        for source in config.sources
    ]
    if config.review is not None:
        digest = hashlib.sha256(listing_source.read_bytes(config.review)).hexdigest()
        found.append(SourceRevision(name=REVIEW, location=config.review, revision=digest))
    return tuple(found)


def plan_source(
    source: DatasetSource,
    revision: str,
    known: Rows[Recording],
    store: ObjectStore,
) -> tuple[Rows[Recording], list[ShardJob]]:
    """The rows that need no reading, and jobs for the others."""
    if source.kind != "hub":
        return listing_source.plan(source, revision, known, store)
    # One file under two names holds each recording once.
    files = {origin: file for file, origin in hub_source.origins(source, revision).items()}
    origins = known.column("origin")
    read = set(origins.unique().to_pylist())
    jobs: list[ShardJob] = []
    for origin, file in files.items():
        if origin not in read:
            jobs += hub_source.plan_file(source, revision, file, origin)
    return known.where(is_in(origins, list(files))), jobs
