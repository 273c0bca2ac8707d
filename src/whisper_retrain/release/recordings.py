"""Recordings of the test set: one to verify a published model with, some to hear in the report.

Knows nothing of models. Recordings leave the store only for these two uses, never for the Hub.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from whisper_retrain.data.manifest import Utterance
from whisper_retrain.data.shards import AudioShards

SAMPLING_RATE_HZ = 16_000


class HeldOutRecordings:
    """The recordings of a dataset revision's test set, by utterance id."""

    def __init__(self, utterances: Iterable[Utterance], shards: AudioShards) -> None:
        self._by_id = {one.id: one for one in utterances if one.split == "test"}
        self._shards = shards

    def flac(self, utterance_id: str) -> bytes:
        """One recording as a FLAC file, mono, 16 kHz."""
        import soundfile

        sink = io.BytesIO()
        audio = self._shards.audio(self._by_id[utterance_id])
        soundfile.write(sink, audio, SAMPLING_RATE_HZ, format="FLAC", subtype="PCM_16")
        return sink.getvalue()

    def write_probe(self, target: Path) -> Path:
        """Write the longest utterance, which says most, as the one to verify a model with."""
        longest = max(self._by_id.values(), key=lambda one: (one.num_samples, one.id))
        target.write_bytes(self.flac(longest.id))
        return target
