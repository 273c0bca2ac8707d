"""Windows of 30 s as the model hears them in a dictation: utterances, pauses, and nobody speaking.

Fine-tuned on single short clips, Whisper forgets what to do with the rest of its window: it writes
on silence, and long audio loses sentences (SwissText 2025, arXiv 2412.15726). Here the places of
the utterances are known exactly, so labels can hold Whisper's timestamps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from whisper_retrain.training.augmentation import colored_noise
from whisper_retrain.training.batches import PAUSE_S
from whisper_retrain.training.speech import Example, Labels, Wave
from whisper_retrain.whisper_constants import CONTEXT_SAMPLES, POSITION_S, SAMPLING_RATE_HZ

FIRST_PAUSE_S = (0.0, 1.0)
"""Decoding lets the first timestamp be no later than 1 s."""
TIMED_SHARE = 0.5
"""Of windows whose labels hold timestamps, as in Whisper's own training."""
QUIET_SHARE = 1 / 3
"""Of windows whose pauses are digital silence."""
ROOM_DBFS = (-75.0, -45.0)
"""Level of the noise under speech and pauses."""
NOISE_DBFS = (-60.0, -20.0)
"""Level of what is heard where nobody speaks."""
HUM_SHARE = 1 / 3
"""Of windows without speech whose noise is that of the mains."""
MAINS_HZ = (50.0, 60.0)


@dataclass(frozen=True)
class Utterance:
    """One of a window's utterances."""

    id: str
    """Of the utterance."""
    wave: Wave
    """Samples, mono at 16 kHz, within -1..1."""
    reference: str
    """What is said."""


@dataclass(frozen=True)
class _Placed:
    """Where in the window an utterance is heard."""

    utterance: Utterance
    """What is heard."""
    start: int
    """Its first sample."""

    @property
    def end(self) -> int:
        """After its last sample, if the window were long enough."""
        return self.start + len(self.utterance.wave)

    @property
    def is_cut(self) -> bool:
        """Whether the window ends before it does."""
        return self.end > CONTEXT_SAMPLES


def packed(utterances: Sequence[Utterance], labels: Labels, rng: np.random.Generator) -> Example:
    """One window; utterances for which there is no room, or are too many label ids, are left out.

    Half of the windows have timestamps. Only in those may the window's end cut an utterance: its
    start is its label, as it was in Whisper's own training.
    """
    timed = rng.random() < TIMED_SHARE
    placed = _fitting(_placed(utterances, rng, with_cut=timed), labels)
    wave = _background(bool(placed), rng)
    for one in placed:
        part = one.utterance.wave[: CONTEXT_SAMPLES - one.start]
        wave[one.start : one.start + len(part)] += part
    whole = [one for one in placed if not one.is_cut]
    return Example(
        utterances[0].id if utterances else "nobody speaks",
        np.clip(wave, -1, 1),
        _label_ids(placed, labels, timed=timed),
        sum(len(one.utterance.wave) for one in whole) / SAMPLING_RATE_HZ,
    )


def _placed(
    utterances: Sequence[Utterance], rng: np.random.Generator, *, with_cut: bool
) -> list[_Placed]:
    placed: list[_Placed] = []
    end = 0
    for utterance in utterances:
        pause_s = rng.uniform(*(PAUSE_S if placed else FIRST_PAUSE_S))
        # Where a timestamp can say it exactly.
        start_s = POSITION_S * ceil((end / SAMPLING_RATE_HZ + pause_s) / POSITION_S)
        one = _Placed(utterance, round(start_s * SAMPLING_RATE_HZ))
        if not placed and one.is_cut:
            one = _Placed(utterance, 0)  # a window of its own, however long
        if one.start >= CONTEXT_SAMPLES or (one.is_cut and not with_cut):
            return placed
        placed.append(one)
        end = one.end
    return placed


def _fitting(placed: list[_Placed], labels: Labels) -> list[_Placed]:
    """As many as have room in the decoder."""
    while len(placed) > 1 and len(_label_ids(placed, labels, timed=True)) > labels.max_ids:
        placed = placed[:-1]
    return placed


def _label_ids(placed: Sequence[_Placed], labels: Labels, *, timed: bool) -> tuple[int, ...]:
    if not timed:
        return labels.ids(" ".join(one.utterance.reference for one in placed))
    spoken = [
        (
            one.start / SAMPLING_RATE_HZ,
            None if one.is_cut else one.end / SAMPLING_RATE_HZ,
            one.utterance.reference,
        )
        for one in placed
    ]
    # Decoding wants a timestamp first, even where nothing follows.
    return labels.timed_ids(spoken or [(0.0, None, "")])


def _background(speech: bool, rng: np.random.Generator) -> Wave:
    """30 s of digital silence, noise, or (where nobody speaks) hum."""
    if rng.random() < QUIET_SHARE:
        return np.zeros(CONTEXT_SAMPLES, np.float32)
    level = 10 ** (rng.uniform(*(ROOM_DBFS if speech else NOISE_DBFS)) / 20)
    hums = not speech and rng.random() < HUM_SHARE
    wave = _hum(rng) if hums else colored_noise(CONTEXT_SAMPLES, rng)
    return np.asarray(wave * (level / np.sqrt(np.mean(np.square(wave)))), np.float32)


def _hum(rng: np.random.Generator) -> Wave:
    """The mains and its first harmonics."""
    time_s = np.arange(CONTEXT_SAMPLES) / SAMPLING_RATE_HZ
    base_hz, phase = rng.choice(MAINS_HZ), rng.uniform(0, 2 * np.pi)
    waves = (
        np.sin(2 * np.pi * base_hz * k * time_s + phase) * rng.uniform(0, 1) / k
        for k in range(1, 5)
    )
    return np.asarray(sum(waves), np.float32)
