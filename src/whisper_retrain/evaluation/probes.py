"""Does the model write where nothing is said? Probes made on the fly, from fixed seeds.

Silence, white noise, mains hum, babble (many talkers at once), speech of 29 to 31 s, around the
end of Whisper's window, and speech with 20 s of silence after it. The speech is that of the test
set itself, so that a probe asks about the silence and not about an unfamiliar voice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np

from whisper_retrain.evaluation.transcriber import Audio, Transcript
from whisper_retrain.normalizer import normalize
from whisper_retrain.records import ProbeResult
from whisper_retrain.whisper_constants import CONTEXT_S, SAMPLING_RATE_HZ

PROBES_VERSION = "1"
SEED = 20_250_101
REPEATS = 3
TRAILING_SILENCE_S = 20.0
BOUNDARY_S = (29.0, 30.0, 31.0)
"""Around the end of Whisper's window."""
NOISE_S = (2.0, 5.0, CONTEXT_S)
"""Lengths of sound without speech: short, usual, a whole window."""
WHITE_NOISE_RMS, HUM_PEAK, BABBLE_RMS = 0.02, 0.05, 0.05
"""Of full scale: -34 dBFS, -26 dBFS of the first harmonic, -26 dBFS."""
HUM_HZ = 50
"""Of the mains."""
TALKERS = 6
SLACK_WORDS = 2
"""Words more than were said that are no hallucination: a misheard word may become two."""


@dataclass(frozen=True)
class ProbeSource:
    """An utterance to make probes of."""

    audio: Audio
    """16 kHz mono."""
    reference: str
    """What is said in it."""


@dataclass(frozen=True)
class Probe:
    """Audio in which `words` words are said, none of them intelligibly where it is 0."""

    kind: str
    """Silence, white noise, ..."""
    audio: Audio
    """16 kHz mono."""
    words: int
    """Said in it so that they can be understood."""


def make_probes(speech: Sequence[ProbeSource]) -> list[Probe]:
    """All probes; those that need speech are left out when there is none."""
    rng = np.random.default_rng(SEED)
    probes = [
        Probe(kind, noise(kind, duration_s, rng), 0)
        for kind in ("silence", "white noise", "hum")
        for duration_s in NOISE_S
    ]
    if speech:
        probes += [Probe("babble", babble(speech, rng), 0) for _ in range(REPEATS)]
        probes += [_trailing(one) for one in speech[:REPEATS]]
        probes += [_boundary(speech, seconds) for seconds in BOUNDARY_S]
    return probes


def noise(kind: str, duration_s: float, rng: np.random.Generator) -> Audio:
    """Sound without speech: nothing at all, white noise at -34 dBFS, or 50 Hz hum."""
    count = int(duration_s * SAMPLING_RATE_HZ)
    if kind == "silence":
        return np.zeros(count, dtype=np.float32)
    if kind == "white noise":
        return rng.normal(0, WHITE_NOISE_RMS, count).astype(np.float32)
    time, phase = np.arange(count) / SAMPLING_RATE_HZ, rng.uniform(0, 2 * np.pi)
    waves = [np.sin(2 * np.pi * HUM_HZ * k * time + phase) / k for k in (1, 2, 3)]
    return (HUM_PEAK * np.sum(waves, axis=0)).astype(np.float32)


def babble(
    speech: Sequence[ProbeSource], rng: np.random.Generator, duration_s: float = 6.0
) -> Audio:
    """Many talkers at once, each from a place of their own, at -26 dBFS."""
    count = int(duration_s * SAMPLING_RATE_HZ)
    mixed = np.zeros(count)
    for pick in rng.integers(0, len(speech), TALKERS):
        voice = np.resize(speech[pick].audio, count)
        mixed += np.roll(voice, int(rng.integers(count)))
    level = float(np.sqrt(np.mean(np.square(mixed)))) or 1.0
    return (mixed * BABBLE_RMS / level).astype(np.float32)


def judge(probe: Probe, transcript: Transcript) -> tuple[bool, int]:
    """Whether the model made something up, and how many words more than were said."""
    written = len(normalize(transcript.text).split())
    slack = SLACK_WORDS + probe.words // 3 if probe.words else 0
    return written > probe.words + slack, max(0, written - probe.words)


def run_probes(
    probes: Sequence[Probe], transcribe: Callable[[Sequence[Audio]], list[Transcript]], batch: int
) -> dict[str, ProbeResult]:
    """Kind -> how often and how much was made up."""
    found: dict[str, list[tuple[bool, int]]] = {}
    for first in range(0, len(probes), batch):
        part = probes[first : first + batch]
        for probe, transcript in zip(part, transcribe([p.audio for p in part]), strict=True):
            found.setdefault(probe.kind, []).append(judge(probe, transcript))
    return {
        kind: ProbeResult(
            utterances=len(judged),
            hallucinated=sum(bad for bad, _ in judged),
            mean_words=sum(words for _, words in judged) / len(judged),
        )
        for kind, judged in found.items()
    }


def _trailing(speech: ProbeSource) -> Probe:
    silence = np.zeros(int(TRAILING_SILENCE_S * SAMPLING_RATE_HZ), dtype=np.float32)
    words = len(normalize(speech.reference).split())
    return Probe("trailing silence", np.concatenate([speech.audio, silence]), words)


def _boundary(speech: Sequence[ProbeSource], duration_s: float) -> Probe:
    """Utterance after utterance until the time is up; the last one may be cut."""
    count, length, words = int(duration_s * SAMPLING_RATE_HZ), 0, 0
    parts: list[Audio] = []
    for one in cycle(speech):
        parts.append(one.audio)
        length += len(one.audio)
        words += len(normalize(one.reference).split())
        if length >= count:
            break
    return Probe("29 to 31 s", np.concatenate(parts)[:count], words)
