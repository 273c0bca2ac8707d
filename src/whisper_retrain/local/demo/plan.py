"""Who reads what in each drop of the demo corpus, and which recordings of drop 2 are faulty.

Pure and fixed: the same plan on every call. It decides nothing about train, validation and test
splits, which is the refresh stage's business; it only sees to it that disjoint ones exist. Test
speakers have sentences of their own, and besides read a few that train speakers read too, so
that a split has something to drop.
"""

import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from whisper_retrain.local.demo.speakers import (
    EVERYDAY_SPEAKERS,
    NEW_SPEAKERS,
    TEST_SPEAKERS,
    TRAIN_SPEAKERS,
    VALIDATION_SPEAKERS,
    Speaker,
)

DROPS = (1, 2)
TEST_GROUPS = ("test", "more_test")
"""Groups of sentences that only test speakers read."""


@dataclass(frozen=True)
class Sentence:
    """A sentence and the prompt that it answers."""

    prompt: str
    """What it answers."""
    text: str
    """What is said."""


@dataclass(frozen=True)
class Reading:
    """One utterance to be: what a speaker says, and what the dataset will claim."""

    id: str
    """Of the utterance."""
    speaker_id: int
    """Who reads."""
    prompt: str
    """Topic or category."""
    sentence: str
    """The reference that is published."""
    spoken: str
    """The text that is read aloud; empty: the audio is that of the reading `copied`."""
    copied: str = ""
    """Id of the reading whose audio it is; empty: its own."""
    fault: str = ""
    """The reason for which the refresh stage must quarantine it; empty: none."""


@cache
def sentences(group: str) -> tuple[Sentence, ...]:
    """The sentences of a group of `sentences.toml`, in the file's order."""
    text = files(__package__).joinpath("sentences.toml").read_text(encoding="utf-8")
    return tuple(
        Sentence(prompt, line)
        for prompt, lines in tomllib.loads(text)[group].items()
        for line in lines
    )


def readings(drop: int) -> tuple[Reading, ...]:
    """The readings of drop 1 (the corpus) or drop 2 (what arrives later)."""
    if drop not in DROPS:
        raise ValueError(f"there is no drop {drop}; expected one of {DROPS}")
    return _first_drop() if drop == 1 else _new_recordings() + _faulty_recordings()


@cache
def everyday_readings() -> tuple[Reading, ...]:
    """Everyday sentences by test speakers: what fine-tuning must not spoil."""
    return _shared_out(sentences("everyday"), EVERYDAY_SPEAKERS)


@cache
def _first_drop() -> tuple[Reading, ...]:
    train = sentences("train")
    return (
        *_shared_out(train, TRAIN_SPEAKERS),
        *_shared_out(train, TRAIN_SPEAKERS, skip=5)[::6],
        *_shared_out(sentences("validation"), VALIDATION_SPEAKERS),
        *_shared_out(sentences("validation"), VALIDATION_SPEAKERS, skip=1),
        *_several_times(sentences("test"), TEST_SPEAKERS, skips=(0, 4)),
        *_shared_out(sentences("more_test"), TEST_SPEAKERS),
        *_shared_out(train[5::32], TEST_SPEAKERS),
    )


@cache
def _new_recordings() -> tuple[Reading, ...]:
    speakers = (*NEW_SPEAKERS, *TRAIN_SPEAKERS)
    return (
        *_several_times(sentences("next"), speakers, skips=(0, 5, 9, 14)),
        *_shared_out(sentences("train")[1::2], NEW_SPEAKERS),
    )


@cache
def _faulty_recordings() -> tuple[Reading, ...]:
    """Recordings that may not be used; each fault is called as the refresh stage calls it."""
    spare = _shared_out(sentences("next")[:4], TRAIN_SPEAKERS, skip=3)
    undecodable = [_faulty(reading, "undecodable") for reading in spare[:2]]
    unlabelled = [
        _faulty(reading, "empty-reference", sentence=blank)
        for reading, blank in zip(spare[2:], ("", "  "), strict=True)
    ]
    story = " ".join(sentence.text for sentence in sentences("next")[20:36])
    long = _reading(TRAIN_SPEAKERS[3], Sentence("Medication", story))
    original, leaked = _first_drop()[0], _first_of(TEST_SPEAKERS[0])
    duplicate = _faulty(original, "duplicate-audio", spoken="", copied=original.id)
    sneaked = _faulty(
        leaked,
        "test-set-leak",
        spoken="",
        copied=leaked.id,
        speaker_id=TRAIN_SPEAKERS[4].id,
    )
    return (*undecodable, *unlabelled, _faulty(long, "too-long"), duplicate, sneaked)


def _first_of(speaker: Speaker) -> Reading:
    return next(reading for reading in _first_drop() if reading.speaker_id == speaker.id)


def _faulty(reading: Reading, fault: str, **changes: str | int) -> Reading:
    speaker_id = changes.get("speaker_id", reading.speaker_id)
    id_ = f"{speaker_id}-{_digest(f'{reading.id} {fault}')}"  # one that looks like any other
    return Reading(**{**vars(reading), "id": id_, "fault": fault, **changes})


def _shared_out(
    lines: Sequence[Sentence], speakers: Sequence[Speaker], skip: int = 0
) -> tuple[Reading, ...]:
    """Deal sentences to speakers in turn, the first one to the speaker number `skip`."""
    return tuple(
        _reading(speakers[(number + skip) % len(speakers)], line)
        for number, line in enumerate(lines)
    )


def _several_times(
    lines: Sequence[Sentence], speakers: Sequence[Speaker], skips: Sequence[int]
) -> tuple[Reading, ...]:
    """Deal sentences to speakers as often as there are `skips`, to other speakers each time."""
    return tuple(reading for skip in skips for reading in _shared_out(lines, speakers, skip))


def _reading(speaker: Speaker, sentence: Sentence) -> Reading:
    return Reading(
        id=f"{speaker.id}-{_digest(sentence.text)}",
        speaker_id=speaker.id,
        prompt=sentence.prompt,
        sentence=sentence.text,
        spoken=sentence.text,
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


FAULTY_DROP_2 = {reading.id: reading.fault for reading in _faulty_recordings()}
"""Utterance id -> the reason for which the refresh stage must quarantine it."""
