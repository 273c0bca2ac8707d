"""From a file that somebody sent to 16 kHz samples, or to a sentence that says what to do.

Decoded by the refresh's own code, in a child process with limits; refused with the refresh's own
reasons. The file's name is never looked at.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whisper_retrain.app import decoding_child
from whisper_retrain.app.transcription import Speech
from whisper_retrain.config import ValidationBounds
from whisper_retrain.data.decoding import LONGEST_DECODED_S

MOST_BYTES = 32 * 2**20
TIME_LIMIT_S = 60.0
FORMATS = "wav, flac, mp3, ogg or opus"

REMEDIES = {
    "undecodable": f"It can't be read as a recording. Send a {FORMATS} file, or record it here.",
    "too-large": "Send a mono recording of at most 48 kHz.",
    "too-long": f"Send at most {LONGEST_DECODED_S / 60:.0f} minutes; cut longer ones in parts.",
    "too-short": "There is hardly any sound in it. Record it again.",
    "silent": "There is no speech to be heard. Is the right microphone chosen, and not muted?",
    "gone": "It is not on the server any more. Record it again, or choose the file again.",
    "time-out": f"Decoding it took too long. Send a {FORMATS} file of an ordinary recording.",
}


class UploadError(Exception):
    """A recording that is not taken: the refresh's reason, and a sentence on what to do."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        remedy = REMEDIES.get(reason, REMEDIES["undecodable"])
        super().__init__(f"{reason}{f' ({detail})' if detail else ''}: {remedy}")


@dataclass(frozen=True)
class Decoded:
    """A recording at 16 kHz mono."""

    speech: Speech
    """What was measured."""
    samples: NDArray[np.int16]
    """int16, 16 kHz mono, shape (num_samples,)."""


def decode_upload(path: Path, bounds: ValidationBounds | None = None) -> Decoded:
    """Decode an uploaded file; raises UploadError. Nothing of it is kept."""
    bounds = bounds or ValidationBounds()
    if not path.is_file():
        raise UploadError("gone")
    size_bytes = path.stat().st_size
    if size_bytes > MOST_BYTES:
        raise UploadError("too-large", f"{size_bytes / 2**20:.0f} MiB, {MOST_BYTES >> 20} at most")
    decoded = _decode_in_child(path)
    speech = decoded.speech
    if speech.duration_s > LONGEST_DECODED_S:
        raise UploadError("too-long", f"{speech.duration_s:.0f} s")
    if speech.duration_s < bounds.min_duration_s:
        raise UploadError("too-short", f"{speech.duration_s:.2f} s")
    if speech.level_dbfs < bounds.min_level_dbfs:
        raise UploadError("silent", f"{speech.level_dbfs:.0f} dBFS")
    return decoded


def _decode_in_child(path: Path) -> Decoded:
    try:
        done = subprocess.run(
            [sys.executable, "-m", decoding_child.__name__, str(path.absolute())],
            capture_output=True,
            timeout=TIME_LIMIT_S,
            check=False,
            # Nothing of ours: no credentials, no settings.
            env={
                "PATH": os.defpath,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
            },
        )
    except subprocess.TimeoutExpired as error:
        raise UploadError("time-out") from error
    line, _, samples = done.stdout.partition(b"\n")
    if done.returncode != 0 or not line:
        raise UploadError("undecodable")
    facts = json.loads(line)
    if "reason" in facts:
        raise UploadError(facts["reason"], facts["detail"])
    return Decoded(Speech(**facts), np.frombuffer(samples, dtype="<i2").astype(np.int16))
