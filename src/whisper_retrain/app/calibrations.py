"""Calibrations in S3: an evaluation of a champion on its validation split, made once.

Made in the background, a batch at a time, so that nobody waits long for the model; the result
lies under the digest of what it depends on and is found by every later process.
"""

from __future__ import annotations

import logging
import threading
from importlib.metadata import version
from pathlib import Path

from whisper_retrain.app.calibration import (
    CALIBRATION_VERSION,
    LEAST_WORDS,
    Calibration,
    Observation,
    Unknown,
    calibrate,
    observe,
)
from whisper_retrain.app.models import Models, Release
from whisper_retrain.app.transcription import ModelAt
from whisper_retrain.config import DecodingConfig
from whisper_retrain.data.manifest import Utterance, load_manifest
from whisper_retrain.data.shards import AudioShards
from whisper_retrain.edges.hub import Hub
from whisper_retrain.edges.store import ObjectStore, read_record, write_record
from whisper_retrain.errors import WhisperRetrainError
from whisper_retrain.history.retrainings import Retraining
from whisper_retrain.model_files import fetch_revision, model_digest
from whisper_retrain.records import digest_of

PREFIX = "calibration"
BATCH = 4
MOST_UTTERANCES = 1_000
CACHE_BYTES = 2**30

log = logging.getLogger("whisper_retrain.app")


class Calibrations:
    """What is known of the champion's doubts, and the making of it."""

    def __init__(
        self,
        store: ObjectStore,
        hub: Hub,
        release: Release,
        models: Models,
        decoding: DecodingConfig,
        cache_dir: Path,
        least_words: int = LEAST_WORDS,
    ) -> None:
        self._store, self._hub, self._release, self._models = store, hub, release, models
        self._decoding, self._cache, self._least = decoding, cache_dir, least_words
        self._known: dict[ModelAt, Calibration | Unknown] = {}
        self._begun: set[ModelAt] = set()
        self._lock = threading.Lock()

    def get(self, model: ModelAt) -> Calibration | Unknown:
        """The calibration of a champion, or why there is none; where it is missing, it is begun."""
        with self._lock:
            if model in self._known:
                return self._known[model]
            if model in self._begun:
                return "not-yet"
            self._begun.add(model)
        threading.Thread(target=self._make, args=(model,), daemon=True).start()
        return "not-yet"

    def _make(self, model: ModelAt) -> None:
        try:
            found = self.find_or_make(model)
            with self._lock:
                self._known[model] = found or "too-few-words"
        except WhisperRetrainError as error:
            log.warning("no calibration of %s: %s", model, error)
        finally:
            with self._lock:
                self._begun.discard(model)  # where it failed, the next request tries again

    def find_or_make(self, model: ModelAt) -> Calibration | None:
        """The calibration, from S3 where it was made before; None with too little speech."""
        last = self._release.retraining()
        validation = self._validation(last) if last else []
        if sum(len(one.reference.split()) for one in validation) < self._least:
            return None
        folder = fetch_revision(self._hub, model.repo, model.revision, self._cache / "models")
        inputs = {
            "model": model_digest(folder),
            "validation": [[one.id, one.audio_sha256, one.reference] for one in validation],
            "decoding": self._decoding.digest,
            "libraries": {name: version(name) for name in ("torch", "transformers")},
        }
        key = f"{PREFIX}/{CALIBRATION_VERSION}/{digest_of(inputs)}/record.json"
        stored = read_record(self._store, key, Calibration)
        if stored is not None:
            return stored
        made = calibrate(self._observe(model, validation), self._least)
        if made is not None:
            write_record(self._store, key, made)
        return made

    def _validation(self, last: Retraining) -> list[Utterance]:
        rows = load_manifest(self._store, last.evidence.dataset, self._cache)
        mine = [row for row in rows if row.split == "validation"]
        # By audio digest, so that the two halves are alike.
        return sorted(mine, key=lambda row: row.audio_sha256)[:MOST_UTTERANCES]

    def _observe(self, model: ModelAt, rows: list[Utterance]) -> list[list[Observation]]:
        shards = AudioShards(self._store, self._cache, CACHE_BYTES)
        found = []
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            audios = [shards.audio(row) for row in batch]
            with self._models.use(model) as transcriber:
                transcripts = transcriber.transcribe(audios, words=True)
            found += [
                observe(row.reference, transcript.words or ())
                for row, transcript in zip(batch, transcripts, strict=True)
            ]
        return found
