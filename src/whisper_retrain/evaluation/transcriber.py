"""The port through which everybody hears a model: gate, verification of a release, web page.

A runtime is a module beside this one that loads a model directory and answers as `Transcriber`
does; `transformers_runtime` is the one there is. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Audio = npt.NDArray[np.float32]
"""Mono samples at SAMPLING_RATE_HZ, shape (num_samples,), within -1..1."""


@dataclass(frozen=True)
class Word:
    """A written word, when it was said, and how sure the model was."""

    text: str
    """As it stands in the transcript, without blanks."""
    start_s: float
    """From the start of the audio."""
    end_s: float
    """From the start of the audio."""
    probability: float
    """The least of its tokens', 0 to 1, not calibrated."""


@dataclass(frozen=True)
class Segment:
    """A stretch of a long transcript."""

    text: str
    """What was said in it."""
    start_s: float
    """From the start of the audio."""
    end_s: float
    """From the start of the audio."""


@dataclass(frozen=True)
class Transcript:
    """What the model wrote."""

    text: str
    """All of it."""
    tokens: int
    """Ids written, without the end."""
    runaway: bool
    """Whether the bound on tokens stopped the model (in long form: in any window)."""
    words: tuple[Word, ...] = ()
    """On request."""
    segments: tuple[Segment, ...] = ()
    """In long form."""


class Transcriber(Protocol):
    """A loaded model that decodes in one fixed way."""

    @property
    def device_name(self) -> str:
        """Where it runs: cpu, cuda:0."""

    def transcribe(self, audios: Sequence[Audio], *, words: bool = False) -> list[Transcript]:
        """Transcribe one batch; what is past 30 s is cut off."""

    def transcribe_long(self, audios: Sequence[Audio], *, words: bool = False) -> list[Transcript]:
        """Transcribe audio of any length, window after window as it is spoken."""
