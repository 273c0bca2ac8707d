"""The manifest: which utterances one dataset revision consists of.

The truth about references and splits; the shards only keep the audio.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whisper_retrain.data.rows import Rows, from_parquet, texts
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
    for u in Rows.of(utterances, Utterance).sorted_by("id"):
        line = [u.id, u.reference, u.speaker, u.prompt, u.split, u.audio_sha256]
        digest.update(canonical_json(line) + b"\n")
    return digest.hexdigest()


def digest_of_test_set(utterances: Iterable[Utterance]) -> str:
    """Digest of the test set: ids, audio digests, references and the normalizer's version."""
    return digest_of_split(utterances, "test")


def digest_of_split(utterances: Iterable[Utterance], split: str) -> str:
    """The same of any split."""
    rows = _of_split(utterances, split).sorted_by("id", "audio_sha256", "reference")
    lines = ([u.id, u.audio_sha256, u.reference] for u in rows)
    return _digest_of_lists(lines, b"[" + canonical_json(NORMALIZER_VERSION) + b",", b"]")


def digest_of_test_columns(utterances: Iterable[Utterance]) -> str:
    """Digest of what slices and blocks are made of: who spoke, which prompt, how long."""
    rows = _of_split(utterances, "test").sorted_by("id")
    return _digest_of_lists(
        [u.id, u.speaker, u.prompt, u.phrase, u.sampling_rate_hz, u.duration_s] for u in rows
    )


def _of_split(utterances: Iterable[Utterance], split: str) -> Rows[Utterance]:
    rows = Rows.of(utterances, Utterance)
    return rows.where([found == split for found in texts(rows.column("split"))])


def _digest_of_lists(lines: Iterable[list[Any]], head: bytes = b"", tail: bytes = b"") -> str:
    """Digest of the canonical JSON of a list, whose text may be longer than memory holds."""
    digest = hashlib.sha256(head + b"[")
    for number, line in enumerate(lines):
        digest.update((b"," if number else b"") + canonical_json(line))
    digest.update(b"]" + tail)
    return digest.hexdigest()


def summarize(utterances: Iterable[Utterance]) -> dict[str, SplitSummary]:
    """Utterances, speakers and hours of each split."""
    counts: Counter[str] = Counter()
    seconds: defaultdict[str, float] = defaultdict(float)
    speakers: dict[str, set[str | None]] = {"train": set(), "validation": set(), "test": set()}
    for u in utterances:
        counts[u.split] += 1
        seconds[u.split] += u.duration_s
        speakers.setdefault(u.split, set()).add(u.speaker)
    return {
        split: SplitSummary(
            utterances=counts[split],
            speakers=len(found),
            hours=round(seconds[split] / 3600, 6),
        )
        for split, found in speakers.items()
    }
