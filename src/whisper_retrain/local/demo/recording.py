"""Turns a speaker and texts into recordings: FLAC bytes at the speaker's native rate.

The same speaker with the same texts in the same order gives the same bytes, as long as it happens
in a process of its own (see engines): `python -m` this module is that process.
"""

import base64
import hashlib
import io
import json
import sys
from collections.abc import Iterator

import numpy as np

from whisper_retrain.local.demo.engines import Audio, Engine, Espeak, Piper
from whisper_retrain.local.demo.speakers import SPEAKERS, Speaker

PIPER_WORDS_PER_MINUTE = 175
"""About what the Piper voice says at a length scale of 1."""
PEAK = 0.6
SILENCE_S = 0.15
"""Before and after the speech; the microphone's noise goes on in it."""


def record(speaker: Speaker, texts: list[str]) -> Iterator[bytes]:
    """Let the speaker read the texts, one FLAC file each."""
    engine = _engine(speaker)
    for text in texts:
        sound = _microphone(engine.read(text), engine.rate_hz, speaker, text)
        yield _flac(sound, speaker.rate_hz)


def _engine(speaker: Speaker) -> Engine:
    if speaker.engine == "espeak":
        return Espeak(speaker.voice, speaker.words_per_minute, speaker.pitch)
    scale = PIPER_WORDS_PER_MINUTE / speaker.words_per_minute
    return Piper(length_scale=scale, noise_scale=0.667, seed=speaker.id)


def _microphone(speech: Audio, rate_hz: int, speaker: Speaker, text: str) -> Audio:
    """Silence around the speech, the speaker's noise over all, the native sample rate."""
    import soxr

    silence = np.zeros(round(SILENCE_S * speaker.rate_hz), np.float32)
    resampled = soxr.resample(speech, rate_hz, speaker.rate_hz)
    sound = np.concatenate([silence, resampled, silence])
    sound *= PEAK / np.abs(sound).max()
    power = float(np.mean(resampled**2)) * (PEAK / np.abs(resampled).max()) ** 2
    noise = _noise(len(sound), speaker.noise_slope, f"{speaker.id} {text}")
    return np.clip(sound + noise * np.sqrt(power / 10 ** (speaker.snr_db / 10)), -1, 1)


def _noise(num_samples: int, slope: float, name: str) -> Audio:
    """Noise of power 1 whose spectrum falls as frequency ** -slope; the name is its seed."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    white = np.random.default_rng(seed).standard_normal(num_samples)
    spectrum = np.fft.rfft(white)
    bins = np.arange(1, len(spectrum) + 1)
    shaped = np.fft.irfft(spectrum * bins ** (-slope / 2), num_samples)
    return (shaped / np.sqrt(np.mean(shaped**2))).astype(np.float32)


def _flac(sound: Audio, rate_hz: int) -> bytes:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, sound, rate_hz, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def main() -> None:
    """Read a speaker's id and texts as JSON from stdin; write a base64 line for each recording."""
    job = json.load(sys.stdin)
    for recording in record(SPEAKERS[job["speaker_id"]], job["texts"]):
        print(base64.b64encode(recording).decode(), flush=True)


if __name__ == "__main__":
    main()
