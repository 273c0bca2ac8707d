"""Decoding: every container and rate, and the same bits on every machine."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tests.fixtures.recordings import encoded, tone
from whisper_retrain.data.decoding import (
    DecodingError,
    decode,
    from_flac,
    level_dbfs,
    to_flac,
)


def sine(rate_hz: int, duration_s: float = 1.0, channels: int = 1) -> NDArray[np.float64]:
    time_s = np.arange(int(rate_hz * duration_s)) / rate_hz
    wave = 0.5 * np.sin(2 * np.pi * 440 * time_s)
    return np.stack([wave] * channels, axis=1)


@pytest.mark.parametrize(
    "rate_hz", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000]
)
def test_every_rate_becomes_16_khz(rate_hz: int) -> None:
    audio = decode(encoded(sine(rate_hz), rate_hz))
    assert audio.sampling_rate_hz == rate_hz
    assert len(audio.samples) == 16_000
    middle = slice(2_000, 14_000)
    expected = sine(16_000)[middle, 0]
    assert np.abs(audio.samples[middle] / 32_768 - expected).max() < 2e-3


@pytest.mark.parametrize(
    ("container", "subtype", "bound"),
    [
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "PCM_24", 1e-4),
        ("WAV", "FLOAT", 1e-4),
        ("WAV", "ULAW", 0.02),
        ("FLAC", "PCM_16", 1e-4),
        ("OGG", "VORBIS", 0.05),
        ("OGG", "OPUS", 0.05),
        ("MP3", "MPEG_LAYER_III", 0.05),
    ],
)
def test_every_container_is_read(container: str, subtype: str, bound: float) -> None:
    sink = io.BytesIO()
    soundfile.write(sink, sine(16_000), 16_000, format=container, subtype=subtype)
    audio = decode(sink.getvalue())
    middle = slice(2_000, 14_000)
    heard = audio.samples[middle] / 32_768
    # Lossy codecs may shift by their delay: compare level and pitch, not samples.
    assert level_dbfs(audio.samples[middle]) == pytest.approx(-9.03, abs=0.5)
    spectrum = np.abs(np.fft.rfft(heard))
    assert np.argmax(spectrum) == pytest.approx(440 * 12_000 / 16_000, abs=1)
    if container in {"WAV", "FLAC"}:
        assert np.abs(heard - sine(16_000)[middle, 0]).max() < bound


def test_channels_are_averaged() -> None:
    left_only = np.stack([sine(16_000)[:, 0], np.zeros(16_000)], axis=1)
    audio = decode(encoded(left_only))
    assert np.abs(audio.samples / 32_768 - sine(16_000)[:, 0] / 2).max() < 1e-4
    six = decode(encoded(sine(16_000, channels=6)))
    assert np.abs(six.samples / 32_768 - sine(16_000)[:, 0]).max() < 1e-4


def test_the_digest_is_of_the_speech_and_not_of_the_container() -> None:
    samples = tone(3)
    assert decode(encoded(samples)).sha256 == decode(encoded(samples, kind="FLAC")).sha256
    assert decode(encoded(samples)).sha256 != decode(encoded(tone(4))).sha256


GOLDEN = """
import hashlib, io, numpy as np, soundfile
from whisper_retrain.data.decoding import decode
digest = hashlib.sha256()
for rate in (8_000, 11_025, 44_100, 48_000, 192_000):
    steps = np.arange(rate, dtype=np.int64)
    wave = ((steps * steps // 7 + 31 * steps) % 20_011 - 10_005).astype(np.int16)
    sink = io.BytesIO()
    soundfile.write(sink, wave, rate, format="WAV", subtype="PCM_16")
    digest.update(decode(sink.getvalue()).samples.astype("<i2").tobytes())
print(digest.hexdigest())
"""

GOLDEN_DIGEST = "a5223d535807111af3fa992e93f01e2422ace7e9c25521e7d062aa4b0010f26f"


@pytest.mark.parametrize("simd", ["1", "0"])
def test_samples_are_the_same_with_and_without_vector_instructions(simd: str) -> None:
    """Integer arithmetic makes the input; soxr's SIMD is switched off by its own variable."""
    answer = subprocess.run(
        [sys.executable, "-c", GOLDEN],
        env={**os.environ, "SOXR_USE_SIMD": simd},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == GOLDEN_DIGEST


def test_flac_keeps_every_sample() -> None:
    samples = decode(encoded(tone(5))).samples
    assert np.array_equal(np.rint(from_flac(to_flac(samples)) * 32_768).astype(np.int16), samples)


def test_clipping_and_level_are_measured_on_the_recording_as_it_came() -> None:
    clipped = decode(encoded(np.clip(tone(1, rate_hz=44_100) * 10, -1, 1), 44_100))
    assert clipped.clipped_share > 0.5
    assert decode(encoded(tone(1))).clipped_share == 0
    assert decode(encoded(np.zeros(16_000))).level_dbfs == -120
    assert decode(encoded(sine(16_000))).level_dbfs == pytest.approx(-9.03, abs=0.01)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        b"not audio at all" * 100,
        encoded(tone(1))[:30],
        base64.b64decode("SUQzBAAAAAAA"),
    ],
)
def test_what_is_no_recording_is_named_undecodable(data: bytes) -> None:
    with pytest.raises(DecodingError, match=r"^undecodable: "):
        decode(data)


def test_an_empty_recording_and_one_of_no_numbers_are_undecodable() -> None:
    with pytest.raises(DecodingError, match="no samples"):
        decode(encoded(np.zeros(0)))
    sink = io.BytesIO()
    soundfile.write(sink, np.full(1_600, np.nan), 16_000, format="WAV", subtype="FLOAT")
    with pytest.raises(DecodingError, match="no numbers"):
        decode(sink.getvalue())


def test_a_recording_of_an_hour_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(DecodingError, match=r"^too-long: 3600 s"):
        decode(encoded(np.zeros(8_000 * 3_600), 8_000, "FLAC"))


def test_a_cut_off_recording_is_told_by_its_digest_not_by_luck() -> None:
    whole = encoded(tone(7, 2.0))
    cut = decode(whole[: len(whole) // 2])
    assert cut.sha256 != decode(whole).sha256
    assert hashlib.sha256(cut.samples.tobytes()).hexdigest() == cut.sha256
