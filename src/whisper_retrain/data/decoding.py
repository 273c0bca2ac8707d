"""Any recording to 16 kHz mono, the same to the last bit on every machine.

The samples are 16-bit integers: soxr's double-precision engine (quality VHQ) differs between
processors only far below half a step of 16 bits, where its single-precision engine does not.
"""

from __future__ import annotations

import hashlib
import io
import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from whisper_retrain.whisper_constants import CONTEXT_S, SAMPLING_RATE_HZ

# What Whisper cannot hear at once is quarantined and not kept.
LONGEST_KEPT_S = CONTEXT_S
# A recording of hours must not fill the memory of a worker that would refuse it anyway.
LONGEST_DECODED_S = 600.0
FULL_SCALE = 32_768
# The highest value and the one below it count as clipped.
CLIPPED_STEPS = 1.5
SILENCE_DBFS = -120.0
SILENCE_POWER = 10 ** (SILENCE_DBFS / 10)
DECODING_VERSION = "1"

Buffer: TypeAlias = bytes | memoryview


class DecodingError(Exception):
    """The bytes are no recording that can be decoded; shown as "reason: detail"."""

    def __init__(self, detail: str, reason: str = "undecodable") -> None:
        super().__init__(f"{reason}: {detail}")


@dataclass(frozen=True, slots=True)
class Audio:
    """A recording at 16 kHz mono: int16 samples, and what was measured on the way."""

    samples: NDArray[np.int16]
    """int16, shape (num_samples,)."""
    sampling_rate_hz: int
    """Of the recording as it came."""
    duration_s: float
    """Of the audio."""
    level_dbfs: float
    """RMS level."""
    clipped_share: float
    """Share of samples at full scale."""

    @property
    def sha256(self) -> str:
        """Digest of the little-endian samples: the same speech in another container is equal."""
        return hashlib.sha256(self.samples.astype("<i2", copy=False).tobytes()).hexdigest()


def decode(data: Buffer) -> Audio:
    """Decode wav, flac, mp3, ogg or opus; mix to mono; resample to 16 kHz.

    Raises DecodingError for what libsndfile can't read, an empty recording and absurd lengths.
    """
    native, rate = _read(data)
    mono = native[:, 0] if native.shape[1] == 1 else native.mean(axis=1, dtype=np.float64)
    resampled = _resample(mono.astype(np.float32, copy=False), rate)
    resampled *= FULL_SCALE
    samples = np.clip(np.rint(resampled), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    return Audio(
        samples=samples,
        sampling_rate_hz=rate,
        duration_s=round(len(native) / rate, 6),
        level_dbfs=level_dbfs(samples),
        clipped_share=_clipped_share(native),
    )


def _read(data: Buffer) -> tuple[NDArray[np.float32], int]:
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            length_s = file.frames / file.samplerate
            if length_s > LONGEST_DECODED_S:
                raise DecodingError(f"{length_s:.0f} s", reason="too-long")
            native = _samples_of(file)
            rate = int(file.samplerate)
    except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError) as error:
        raise DecodingError(str(error).rsplit(": ", 1)[-1]) from error
    if len(native) == 0:
        raise DecodingError("no samples")
    # The sum of no-number and infinite values is one itself.
    if not np.isfinite(native.max() + native.min()):
        raise DecodingError("samples that are no numbers")
    return native, rate


def _samples_of(file: Any) -> NDArray[np.float32]:
    """All samples, shape (frames, channels), in [-1, 1]."""
    if file.subtype == "PCM_16":
        # libsndfile's own conversion gives the same numbers, but takes three times as long.
        steps: NDArray[np.int16] = file.read(dtype="int16", always_2d=True)
        return steps * np.float32(1 / FULL_SCALE)
    samples: NDArray[np.float32] = file.read(dtype="float32", always_2d=True)
    return samples


def _clipped_share(native: NDArray[np.float32]) -> float:
    """Share of samples at full scale, of all channels."""
    bound = 1.0 - CLIPPED_STEPS / FULL_SCALE
    if native.max() < bound and native.min() > -bound:
        return 0.0
    return round(float(np.mean(np.abs(native) >= bound)), 6)


def _resample(mono: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    import soxr

    if rate == SAMPLING_RATE_HZ:
        return mono.copy()
    resampled: NDArray[np.float32] = soxr.resample(mono, rate, SAMPLING_RATE_HZ, quality="VHQ")
    return resampled


def level_dbfs(samples: NDArray[np.int16]) -> float:
    """RMS level relative to full scale; -120 for digital silence. Integers: exact everywhere."""
    if len(samples) == 0:
        return SILENCE_DBFS
    energy = int(np.sum(np.square(samples, dtype=np.int64)))
    power = max(energy / len(samples) / FULL_SCALE**2, SILENCE_POWER)
    return round(10 * math.log10(power), 3)


def to_flac(samples: NDArray[np.int16]) -> bytes:
    """16 kHz mono FLAC of int16 samples; lossless."""
    import soundfile

    sink = io.BytesIO()
    soundfile.write(
        sink, samples, SAMPLING_RATE_HZ, format="FLAC", subtype="PCM_16", compression_level=0.5
    )
    return sink.getvalue()


def from_flac(data: Any) -> NDArray[np.float32]:
    """Mono samples in [-1, 1) of FLAC bytes."""
    import soundfile

    samples: NDArray[np.float32] = soundfile.read(io.BytesIO(data), dtype="float32")[0]
    return samples
