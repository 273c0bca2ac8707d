"""What evaluation needs to know of an utterance; whoever stores utterances stores them elsewhere.

Knows nothing of datasets: any object with these attributes will do, and whoever hands utterances
over hands over the way to their audio too.
"""

from __future__ import annotations

from typing import Protocol, TypeVar


class Utterance(Protocol):
    """One utterance of a test set."""

    @property
    def id(self) -> str:
        """Stable, and the only one of its kind in the test set."""

    @property
    def reference(self) -> str:
        """The human transcript, as it was written."""

    @property
    def duration_s(self) -> float:
        """Length of the audio."""

    @property
    def speaker(self) -> str | None:
        """Who speaks; None where nobody knows."""

    @property
    def prompt(self) -> str | None:
        """The topic or category that the utterance was recorded under."""

    @property
    def phrase(self) -> str:
        """The reference without case and punctuation: recordings of one phrase share it."""

    @property
    def sampling_rate_hz(self) -> int:
        """Of the recording as it came; the audio itself is handed over at 16 kHz."""


UtteranceT = TypeVar("UtteranceT", bound=Utterance)
"""Utterances of one kind, and the function that finds their audio."""
