"""Does the model write where nothing is said? Probes made on the fly, from fixed seeds.

Silence, noises, mains hum, tones, clicks, babble (many talkers at once) and voices played
backwards, of many lengths; speech with silence before or after it; and speech of 29 to 31 s,
around the end of Whisper's window. The speech is that of the test set itself, so that a probe asks
about the silence and not about an unfamiliar voice. Most are short: a probe costs a batch's
share of one encoder pass, and what is written where nothing is said is short, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np

from whisper_retrain.evaluation.scoring import repeated_ngrams
from whisper_retrain.evaluation.transcriber import Audio, Transcript
from whisper_retrain.normalizer import normalize
from whisper_retrain.records import MadeUp, ProbeResult
from whisper_retrain.whisper_constants import CONTEXT_S, SAMPLING_RATE_HZ

PROBES_VERSION = "2"
SEED = 20_250_101
NOISE_S = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, CONTEXT_S)
"""Lengths of sound without speech: mostly those of short utterances, and a whole window."""
NOISES = ("silence", "white noise", "brown noise", "hum", "tone", "clicks")
VOICES_S = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0)
"""Lengths of voices that cannot be understood."""
SILENCE_S = (2.0, 5.0, 8.0, 12.0, 16.0, 20.0)
"""Of silence after or before an utterance."""
BOUNDARY_S = (29.0, 30.0, 31.0)
"""Around the end of Whisper's window."""
WHITE_NOISE_RMS, BABBLE_RMS = 0.02, 0.05
"""Of full scale: -34 and -26 dBFS."""
HUM_PEAK = 0.05
"""-26 dBFS of the first harmonic."""
HUM_HZ, TONE_HZ = 50, 440
"""Of the mains; of a dial tone."""
CLICKS_PER_S = 4
TALKERS = 6
SLACK_WORDS = 2
"""Words more than were said that are no hallucination: a misheard word may become two."""
SHOWN_CHARACTERS = 80
"""Of what was written, kept for the report."""
LOOP_NGRAM = 2
"""Words that come again and again in a loop; those of a probe are few."""
LOOP_TIMES = 3


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
    """All probes, the same for every model; those that need speech are left out without any."""
    rng = np.random.default_rng(SEED)
    probes = [Probe(kind, noise(kind, length, rng), 0) for kind in NOISES for length in NOISE_S]
    if speech:
        probes += [Probe("babble", babble(speech, rng, length), 0) for length in VOICES_S]
        probes += [Probe("backwards", _backwards(speech, rng, length), 0) for length in VOICES_S]
        some = list(zip(cycle(speech), SILENCE_S, strict=False))
        probes += [_beside_silence("trailing silence", one, length) for one, length in some]
        probes += [_beside_silence("leading silence", one, length) for one, length in some]
        probes += [_boundary(speech, seconds) for seconds in BOUNDARY_S]
    return probes


def noise(kind: str, duration_s: float, rng: np.random.Generator) -> Audio:
    """Sound without speech, by its name in NOISES."""
    count = int(duration_s * SAMPLING_RATE_HZ)
    time, phase = np.arange(count) / SAMPLING_RATE_HZ, rng.uniform(0, 2 * np.pi)
    if kind == "silence":
        made = np.zeros(count)
    elif kind == "white noise":
        made = rng.normal(0, WHITE_NOISE_RMS, count)
    elif kind == "brown noise":
        made = _at_level(np.cumsum(rng.normal(0, 1, count)), WHITE_NOISE_RMS)
    elif kind == "hum":
        waves = [np.sin(2 * np.pi * HUM_HZ * k * time + phase) / k for k in (1, 2, 3)]
        made = HUM_PEAK * np.sum(waves, axis=0)
    elif kind == "tone":
        made = HUM_PEAK * np.sin(2 * np.pi * TONE_HZ * time + phase)
    else:
        made = np.zeros(count)
        made[rng.integers(0, count, max(1, int(CLICKS_PER_S * duration_s)))] = 0.5
    return made.astype(np.float32)


def _at_level(
    wave: np.ndarray[tuple[int], np.dtype[np.float64]], rms: float
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Without its mean, at a level of full scale, within -1 to 1."""
    centred = wave - wave.mean()
    level = float(np.sqrt(np.mean(np.square(centred)))) or 1.0
    return np.clip(centred * rms / level, -1, 1)


def babble(
    speech: Sequence[ProbeSource], rng: np.random.Generator, duration_s: float = 6.0
) -> Audio:
    """Many talkers at once, each from a place of their own, at -26 dBFS."""
    count = int(duration_s * SAMPLING_RATE_HZ)
    mixed = np.zeros(count)
    for pick in rng.integers(0, len(speech), TALKERS):
        voice = np.resize(speech[pick].audio, count)
        mixed += np.roll(voice, int(rng.integers(count)))
    return _at_level(mixed, BABBLE_RMS).astype(np.float32)


def _backwards(speech: Sequence[ProbeSource], rng: np.random.Generator, duration_s: float) -> Audio:
    """One voice played backwards: speech in all but words."""
    voice = speech[int(rng.integers(0, len(speech)))].audio
    return np.resize(voice, int(duration_s * SAMPLING_RATE_HZ))[::-1].astype(np.float32).copy()


def judge(probe: Probe, transcript: Transcript) -> tuple[bool, int]:
    """Whether the model made something up, and how many words more than were said."""
    written = len(normalize(transcript.text).split())
    slack = SLACK_WORDS + probe.words // 3 if probe.words else 0
    return written > probe.words + slack, max(0, written - probe.words)


def is_loop(transcript: Transcript) -> bool:
    """Whether a transcript did not end, or says the same again and again."""
    return transcript.runaway or repeated_ngrams(transcript.text, LOOP_NGRAM) >= LOOP_TIMES


def run_probes(
    probes: Sequence[Probe], transcribe: Callable[[Sequence[Audio]], list[Transcript]], batch: int
) -> dict[str, ProbeResult]:
    """Kind -> how often and how much was made up, and what; longest first, as all transcription."""
    found: dict[str, list[tuple[int, int, MadeUp | None]]] = {}
    order = sorted(range(len(probes)), key=lambda place: -len(probes[place].audio))
    for first in range(0, len(order), batch):
        part = [(place, probes[place]) for place in order[first : first + batch]]
        for (place, probe), transcript in zip(
            part, transcribe([probe.audio for _, probe in part]), strict=True
        ):
            found.setdefault(probe.kind, []).append((place, *_judged(place, probe, transcript)))
    return {
        kind: ProbeResult(
            utterances=len(judged),
            hallucinated=sum(made is not None for _, _, made in judged),
            mean_words=sum(words for _, words, _ in judged) / len(judged),
            made_up=tuple(made for _, _, made in sorted(judged, key=lambda one: one[0]) if made),
        )
        for kind, judged in sorted(found.items(), key=lambda one: min(one[1])[0])
    }


def _judged(place: int, probe: Probe, transcript: Transcript) -> tuple[int, MadeUp | None]:
    """Words too many, and what was made up; None where nothing was."""
    bad, words = judge(probe, transcript)
    if not bad:
        return words, None
    text = transcript.text[:SHOWN_CHARACTERS]
    return words, MadeUp(probe=place, words=words, loop=is_loop(transcript), text=text)


def _beside_silence(kind: str, speech: ProbeSource, silence_s: float) -> Probe:
    """An utterance after which, or before which, nothing is said."""
    silence = np.zeros(int(silence_s * SAMPLING_RATE_HZ), dtype=np.float32)
    parts = [speech.audio, silence] if kind == "trailing silence" else [silence, speech.audio]
    return Probe(kind, np.concatenate(parts), len(normalize(speech.reference).split()))


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
