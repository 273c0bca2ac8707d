"""Where a training's utterances come from: the dataset revision's manifest and audio shards."""

from __future__ import annotations

from pathlib import Path

from whisper_retrain.data.manifest import load_manifest
from whisper_retrain.data.shards import AudioShards
from whisper_retrain.edges.store import ObjectStore
from whisper_retrain.records import DatasetRevision
from whisper_retrain.training.speech import Speech


def open_speech(
    store: ObjectStore, dataset: DatasetRevision, cache_dir: Path, cache_bytes: int
) -> Speech:
    """Training and validation split of a dataset revision; the test split is never handed out."""
    # The folders that evaluation uses too, so that nothing is downloaded twice.
    utterances = load_manifest(store, dataset, cache_dir / "manifests")
    shards = AudioShards(store, cache_dir / "shards", cache_bytes)
    return Speech(
        train=[utterance for utterance in utterances if utterance.split == "train"],
        validation=[utterance for utterance in utterances if utterance.split == "validation"],
        audio=shards.audio,
    )
