"""Does the model hear a dictation to its end? Long audio stitched from the test set's utterances.

Users dictate for minutes, and a model that was fine-tuned on single sentences may lose whole ones
beyond its 30 s, write timestamps that run backwards, or loop. Which utterances make a dictation
follows from their ids alone, so that every model hears the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic

import jiwer
import numpy as np

from whisper_retrain.evaluation.scoring import count_chunks, longest_deletion, repeated_ngrams
from whisper_retrain.evaluation.transcriber import Audio, Transcript
from whisper_retrain.evaluation.utterance import UtteranceT
from whisper_retrain.normalizer import normalize
from whisper_retrain.records import Dictation, Record
from whisper_retrain.whisper_constants import SAMPLING_RATE_HZ

LONG_FORM_VERSION = "2"
"""Raise it when the same test set would give other dictations or other figures of them."""
DICTATION_S = (60.0, 120.0)
"""Shortest and longest; how long each is, its first utterance decides."""
PAUSE_S = (0.3, 1.5)
"""Between two utterances."""
MOST_DICTATIONS = 40
"""Of a large test set; about an hour of speech."""
ENOUGH_DICTATIONS = 24
"""A test set of fewer is stitched again, for a lost passage is rare, and one more is chance."""
MOST_STITCHINGS = 3
"""Of a small test set; what a model loses depends on where its windows of 30 s begin."""
TIME_SLACK_S = 0.1
"""A last segment may end so much after the audio: timestamps are multiples of 20 ms."""


@dataclass(frozen=True)
class Passage(Generic[UtteranceT]):
    """What is spoken in a dictation."""

    utterances: tuple[UtteranceT, ...]
    """One after the other."""
    pauses_s: tuple[float, ...]
    """Before each of them."""
    stitching: int = 0
    """Which one of the test set it is of, from 0."""

    @property
    def id(self) -> str:
        """Of the dictation: a digest of its utterances' ids."""
        return _digest(" ".join(utterance.id for utterance in self.utterances)).hex()[:16]

    @property
    def duration_s(self) -> float:
        """With its pauses."""
        return sum(u.duration_s for u in self.utterances) + sum(self.pauses_s)

    @property
    def reference(self) -> str:
        """What is said."""
        return " ".join(utterance.reference for utterance in self.utterances)


class DictatedText(Record):
    """What a model wrote for one dictation."""

    id: str
    """Of the dictation."""
    reference: str
    """What is said."""
    text: str
    """The transcript."""
    in_order: bool
    """Whether the timestamps never run backwards and end with the audio."""


class DictatedTexts(Record):
    """The transcripts of all dictations, as they are stored."""

    items: tuple[DictatedText, ...] = ()
    """A dictation each."""


def plan_passages(utterances: Sequence[UtteranceT]) -> list[Passage[UtteranceT]]:
    """The dictations of a test set; a small one is stitched up to three times."""
    passages: list[Passage[UtteranceT]] = []
    for stitching in range(MOST_STITCHINGS):
        passages += _stitching(utterances, stitching)
        if len(passages) >= ENOUGH_DICTATIONS:
            break
    return passages[:MOST_DICTATIONS]


def _stitching(utterances: Sequence[UtteranceT], number: int) -> list[Passage[UtteranceT]]:
    """Speaker after speaker, in an order that ids decide, another one for each number.

    One may begin with the last words of one speaker and go on with the next one's. What is left
    over at the end and lasts less than 60 s is in none.
    """
    salt = f"{number} " if number else ""
    ordered = sorted(utterances, key=lambda u: (_digest(u.speaker or ""), _digest(salt + u.id)))
    passages: list[Passage[UtteranceT]] = []
    part: list[UtteranceT] = []
    for utterance in ordered:
        passage = _passage([*part, utterance], number)
        if part and passage.duration_s > _wanted_s(part[0].id):
            passages.append(_passage(part, number))
            part = [utterance]
        else:
            part.append(utterance)
    if part:
        passages.append(_passage(part, number))
    long = [passage for passage in passages if passage.duration_s >= DICTATION_S[0]]
    return sorted(long, key=lambda passage: passage.id)


def _passage(utterances: Sequence[UtteranceT], stitching: int) -> Passage[UtteranceT]:
    pauses_s = tuple(_between(PAUSE_S, one.id) for one in utterances)
    return Passage(tuple(utterances), pauses_s, stitching)


def _wanted_s(id_: str) -> float:
    shortest_s, longest_s = DICTATION_S
    # The next utterance may be a long one: what stops before it must not be too short.
    return _between((shortest_s + (longest_s - shortest_s) / 2, longest_s), id_)


def _between(bounds: tuple[float, float], name: str) -> float:
    """A number between the bounds that the name decides."""
    low, high = bounds
    return low + (high - low) * int.from_bytes(_digest(f"long {name}")[:8], "big") / 2**64


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def stitch(passage: Passage[UtteranceT], audio: Callable[[UtteranceT], Audio]) -> Audio:
    """The dictation's audio, digital silence between utterances."""
    parts: list[Audio] = []
    for utterance, pause_s in zip(passage.utterances, passage.pauses_s, strict=True):
        parts += [np.zeros(round(pause_s * SAMPLING_RATE_HZ), np.float32), audio(utterance)]
    return np.concatenate(parts)


def dictated(passage: Passage[UtteranceT], transcript: Transcript) -> DictatedText:
    """What is kept of a transcript."""
    times_s = [time_s for one in transcript.segments for time_s in (one.start_s, one.end_s)]
    ends_s = max(times_s, default=0.0)
    in_order = times_s == sorted(times_s) and ends_s <= passage.duration_s + TIME_SLACK_S
    return DictatedText(
        id=passage.id, reference=passage.reference, text=transcript.text, in_order=in_order
    )


def examine(passage: Passage[UtteranceT], written: DictatedText) -> Dictation:
    """Hold what was written against what was said."""
    said, heard = normalize(passage.reference), normalize(written.text)
    (chunks,) = jiwer.process_words([said], [heard]).alignments
    return Dictation(
        id=passage.id,
        duration_s=round(passage.duration_s, 2),
        utterances=len(passage.utterances),
        words=count_chunks(chunks),
        longest_deletion=longest_deletion(chunks),
        repeated=max(0, repeated_ngrams(written.text) - repeated_ngrams(passage.reference)),
        in_order=written.in_order,
        stitching=passage.stitching,
    )
