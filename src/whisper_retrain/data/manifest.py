"""The manifest: which utterances one dataset revision consists of.

The truth about references and splits; the shards only keep the audio.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from whisper_retrain.data.rows import from_parquet
from whisper_retrain.edges.store import ObjectStore
from whisper_retrain.normalizer import NORMALIZER_VERSION
from whisper_retrain.records import DatasetRevision, SplitSummary, canonical_json


@dataclass(frozen=True, slots=True)
class Utterance:
    """One utterance of a dataset revision; its audio is row `row` of shard `shard`."""

    id: str
    """source/id, the same in every revision."""
    source: str
    """Name of the source."""
    reference: str
    """The human transcript, mended."""
    speaker: str | None
    """None: unknown."""
    prompt: str | None
    """Topic or category."""
    phrase: str
    """The reference without case and punctuation."""
    split: str
    """train, validation, test, or vault."""
    duration_s: float
    """Of the audio."""
    num_samples: int
    """At 16 kHz."""
    audio_sha256: str
    """Of the 16-bit samples."""
    sampling_rate_hz: int
    """Of the recording as it came."""
    level_dbfs: float
    """RMS level."""
    shard: str
    """sha256 of the shard that holds the audio."""
    row: int
    """In that shard."""
    note: str = ""
    """What was done to the reference; empty: nothing."""


def load_manifest(
    store: ObjectStore, revision: DatasetRevision, cache: Path, *, vault: bool = False
) -> list[Utterance]:
    """All utterances of a revision in the order of their ids; the vault only when asked for."""
    path = cache / "manifests" / f"{revision.manifest.sha256}.parquet"
    if not path.exists():
        store.download(revision.manifest, path)
    rows = from_parquet(path, Utterance)
    return [row for row in rows if vault or row.split != "vault"]


def manifest_digest(utterances: Iterable[Utterance]) -> str:
    """Digest of what is said, by whom, in which split and of which audio; not of where it lies."""
    digest = hashlib.sha256()
    for u in sorted(utterances, key=lambda u: u.id):
        line = [u.id, u.reference, u.speaker, u.prompt, u.split, u.audio_sha256]
        digest.update(canonical_json(line) + b"\n")
    return digest.hexdigest()


def digest_of_test_set(utterances: Iterable[Utterance]) -> str:
    """Digest of the test set: ids, audio digests, references and the normalizer's version."""
    return digest_of_split(utterances, "test")


def digest_of_split(utterances: Iterable[Utterance], split: str) -> str:
    """The same of any split."""
    rows = sorted((u.id, u.audio_sha256, u.reference) for u in utterances if u.split == split)
    return hashlib.sha256(canonical_json([NORMALIZER_VERSION, rows])).hexdigest()


def digest_of_test_columns(utterances: Iterable[Utterance]) -> str:
    """Digest of what slices and blocks are made of: who spoke, which prompt, how long."""
    rows = sorted(
        [u.id, u.speaker, u.prompt, u.phrase, u.sampling_rate_hz, u.duration_s]
        for u in utterances
        if u.split == "test"
    )
    return hashlib.sha256(canonical_json(rows)).hexdigest()


def summarize(utterances: Iterable[Utterance]) -> dict[str, SplitSummary]:
    """Utterances, speakers and hours of each split."""
    by_split: dict[str, list[Utterance]] = {"train": [], "validation": [], "test": []}
    for u in utterances:
        by_split.setdefault(u.split, []).append(u)
    return {
        split: SplitSummary(
            utterances=len(rows),
            speakers=len({u.speaker for u in rows}),
            hours=round(sum(u.duration_s for u in rows) / 3600, 6),
        )
        for split, rows in by_split.items()
    }
