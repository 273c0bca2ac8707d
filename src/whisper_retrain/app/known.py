"""What the datasets of a store hold: the frozen test sets, and every other recording.

Read from the manifests of all latest revisions, and kept until a pointer to one has moved.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

from whisper_retrain.app.corrections import KnownSpeech
from whisper_retrain.data.curate import HELD_OUT
from whisper_retrain.data.latest import revision_at
from whisper_retrain.data.manifest import load_manifest
from whisper_retrain.data.plan import REFRESH_PREFIX
from whisper_retrain.edges.store import ObjectStore


class KnownSpeechReader:
    """Answers what is known now; reads a manifest only once."""

    def __init__(self, store: ObjectStore, cache_dir: Path) -> None:
        self._store, self._cache = store, cache_dir
        self._lock = threading.Lock()
        self._keys: frozenset[str] = frozenset()
        self._known = KnownSpeech()

    def __call__(self) -> KnownSpeech:
        """All datasets together: a phrase of any test set is one of a test set."""
        with self._lock:
            pointers = list(self._store.keys(f"{REFRESH_PREFIX}/latest/"))
            keys = frozenset(json.loads(self._store.read(key))["key"] for key in pointers)
            if keys != self._keys:
                self._known = self._read(keys)
                self._keys = keys
            return self._known

    def _read(self, keys: frozenset[str]) -> KnownSpeech:
        revisions = [revision_at(self._store, key) for key in sorted(keys)]
        rows = [
            row
            for revision in revisions
            if revision is not None
            for row in load_manifest(self._store, revision, self._cache, vault=True)
        ]
        held = [row for row in rows if row.split in HELD_OUT]
        return KnownSpeech(
            test_audio=frozenset(row.audio_sha256 for row in held),
            test_speakers=frozenset(row.speaker for row in held if row.speaker is not None),
            test_phrases=frozenset(row.phrase for row in held),
            audio=frozenset(row.audio_sha256 for row in rows if row.split not in HELD_OUT),
        )
