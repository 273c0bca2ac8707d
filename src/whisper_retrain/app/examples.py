"""Recordings that anybody may try: of one named source, from its validation split.

Never of a test set.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from whisper_retrain.app.models import Release
from whisper_retrain.app.transcription import Speech
from whisper_retrain.app.uploads import Decoded
from whisper_retrain.data.decoding import FULL_SCALE
from whisper_retrain.data.manifest import Utterance, load_manifest
from whisper_retrain.data.shards import AudioShards
from whisper_retrain.edges.store import ObjectStore

SHOWN = 6
CACHE_BYTES = 2**30


@dataclass(frozen=True)
class PublicExample:
    """One recording that can be chosen."""

    id: str
    """Of the utterance."""
    label: str
    """What is shown: number and duration, not what is said."""


class Examples:
    """Examples of the dataset that the newest retraining saw; none unless a source is named."""

    def __init__(
        self, store: ObjectStore, release: Release, source: str | None, cache_dir: Path
    ) -> None:
        self._store, self._release, self._source, self._cache = store, release, source, cache_dir
        self._shards = AudioShards(store, cache_dir, CACHE_BYTES)
        self._lock = threading.Lock()

    def choices(self) -> list[PublicExample]:
        """What can be chosen now."""
        return [
            PublicExample(one.id, f"Example {number} ({one.duration_s:.0f} s)")
            for number, one in enumerate(self._utterances(), 1)
        ]

    def load(self, example_id: str) -> Decoded | None:
        """The recording of an example; None for anything else."""
        found = next((one for one in self._utterances() if one.id == example_id), None)
        if found is None:
            return None
        with self._lock:
            audio = self._shards.audio(found)
        samples = (audio * FULL_SCALE).astype("int16")
        speech = Speech(
            audio_sha256=found.audio_sha256,
            duration_s=found.duration_s,
            num_samples=found.num_samples,
            sampling_rate_hz=found.sampling_rate_hz,
            level_dbfs=found.level_dbfs,
            clipped_share=0.0,
        )
        return Decoded(speech, samples)

    def _utterances(self) -> list[Utterance]:
        last = self._release.retraining() if self._source else None
        if last is None:
            return []
        rows = load_manifest(self._store, last.evidence.dataset, self._cache)
        mine = [row for row in rows if row.split == "validation" and row.source == self._source]
        return sorted(mine, key=lambda row: row.audio_sha256)[:SHOWN]
