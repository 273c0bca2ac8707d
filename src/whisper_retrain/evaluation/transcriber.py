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
    """A written word, when it was said, and how sure the model was.

    `text` as it stands in the transcript, without blanks; `start_s` and `end_s` in seconds from
    the start of the audio; `probability` the least of its tokens' (0 to 1, not calibrated).
    """

    text: str
    start_s: float
    end_s: float
    probability: float


@dataclass(frozen=True)
class Segment:
    """A stretch of a long transcript: text, and from when to when in seconds."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Transcript:
    """What the model wrote.

    `tokens` counts the ids written, without the end; `runaway` says that the bound on tokens
    stopped the model (in long form: in any window). `words` are there on request, `segments` in
    long form.
    """

    text: str
    tokens: int
    runaway: bool
    words: tuple[Word, ...] = ()
    segments: tuple[Segment, ...] = ()


class Transcriber(Protocol):
    """A loaded model that decodes in one fixed way."""

    @property
    def device_name(self) -> str:
        """Where it runs: cpu, cuda:0."""

    def transcribe(self, audios: Sequence[Audio], *, words: bool = False) -> list[Transcript]:
        """Transcribe one batch; what is past 30 s is cut off."""

    def transcribe_long(self, audio: Audio, *, words: bool = False) -> Transcript:
        """Transcribe audio of any length, window after window as it is spoken."""
