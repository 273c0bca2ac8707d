"""The test utterance that a published model must transcribe as its checkpoint did."""

from __future__ import annotations

from pathlib import Path

from whisper_retrain.data.manifest import load_manifest
from whisper_retrain.data.shards import AudioShards
from whisper_retrain.edges.store import ObjectStore
from whisper_retrain.records import DatasetRevision

SAMPLING_RATE_HZ = 16_000


def write_probe(store: ObjectStore, dataset: DatasetRevision, cache: Path, target: Path) -> Path:
    """Write the longest utterance of the test set as a WAV file: it says most."""
    import soundfile

    utterances = [u for u in load_manifest(store, dataset, cache) if u.split == "test"]
    longest = max(utterances, key=lambda u: (u.num_samples, u.id))
    audio = AudioShards(store, cache, 2**30).audio(longest)
    soundfile.write(target, audio, SAMPLING_RATE_HZ, subtype="PCM_16")
    return target
