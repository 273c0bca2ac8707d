"""What was heard lately, for a while: to play it, download it, correct it.

Recordings lie as files in a folder that only this process reads; they are gone after half an
hour, when there are too many, and when the process starts or ends. Nothing else keeps them.
"""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from whisper_retrain.app.transcription import Transcription
from whisper_retrain.app.uploads import Decoded
from whisper_retrain.data.decoding import from_flac, to_flac

KEPT_S = 1800.0
MOST_BYTES = 256 * 2**20
MOST_RECORDINGS = 200


@dataclass(frozen=True)
class Entry:
    """One recording on the desk."""

    token: str
    """By which its owner gets at it."""
    owner: str
    """Whose it is."""
    path: Path
    """FLAC, 16 kHz mono."""
    decoded: Decoded
    """Without its samples once they are stored: they lie at `path`."""
    size_bytes: int
    """In memory."""
    since_s: float
    """Monotonic time of arrival."""
    transcription: Transcription | None = None
    """Made from it; None: not yet."""


class Desk:
    """Recordings by an unguessable token; each is seen by its owner only."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        self._folder, self._clock = folder, clock
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, owner: str, decoded: Decoded) -> str:
        """Lay a recording on the desk; returns its token."""
        token = secrets.token_urlsafe(24)
        path = self._folder / f"{token}.flac"
        data = to_flac(decoded.samples)
        path.write_bytes(data)
        kept = replace(decoded, samples=decoded.samples[:0])
        with self._lock:
            self._entries[token] = Entry(token, owner, path, kept, len(data), self._clock())
            self._tidy()
        return token

    def get(self, token: str, owner: str) -> Entry | None:
        """A recording; None when it is gone, or somebody else's."""
        with self._lock:
            self._tidy()
            entry = self._entries.get(token)
        return entry if entry is not None and entry.owner == owner else None

    def samples(self, entry: Entry) -> object:
        """The recording as float32 in [-1, 1), 16 kHz mono."""
        return from_flac(entry.path.read_bytes())

    def keep(self, token: str, transcription: Transcription) -> None:
        """Lay a transcription beside its recording."""
        with self._lock:
            if token in self._entries:
                self._entries[token] = replace(self._entries[token], transcription=transcription)

    def of(self, owner: str) -> list[Entry]:
        """What somebody has had transcribed, the newest first."""
        with self._lock:
            self._tidy()
            entries = [e for e in self._entries.values() if e.owner == owner and e.transcription]
        return entries[::-1]

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _tidy(self) -> None:
        size = sum(entry.size_bytes for entry in self._entries.values())
        while self._entries:
            oldest = next(iter(self._entries.values()))
            aged = self._clock() - oldest.since_s > KEPT_S
            if not (aged or size > MOST_BYTES or len(self._entries) > MOST_RECORDINGS):
                return
            del self._entries[oldest.token]
            size -= oldest.size_bytes
            oldest.path.unlink(missing_ok=True)
