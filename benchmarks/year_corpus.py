"""What arrives in each month of benchmarks/year.py, and the vault that no policy sees.

The plan is pure and fixed. January brings the frozen test set; every other month new voices and
new sentences; May a drug that nobody had named before, August other microphones, October wrong
references, July nothing. Voices and sentences of the vault are in no drop.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from benchmarks.training_corpus import VOICES
from whisper_retrain.local.demo.plan import Sentence, sentences
from whisper_retrain.local.demo.recording import record
from whisper_retrain.local.demo.speakers import (
    EVERYDAY_SPEAKERS,
    NEW_SPEAKERS,
    TEST_SPEAKERS,
    TRAIN_SPEAKERS,
    VALIDATION_SPEAKERS,
    Speaker,
)
from whisper_retrain.whole import whole_folder, write_whole

MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
NOTHING, NEW_DRUG, MICROPHONES, WRONG = "July", "May", "August", "October"
EVENTS = {
    "January": "the first recordings",
    NEW_DRUG: "a drug not named before",
    NOTHING: "nothing",
    MICROPHONES: "other microphones",
    WRONG: "every fifth reference wrong",
}
DROPS = tuple(month for month in MONTHS[1:] if month != NOTHING)
DRUG = "dupilumab"
DRUG_LINES = tuple(
    Sentence("Medication", text)
    for text in (
        "She started dupilumab for her severe eczema.",
        "Dupilumab 300 milligrams under the skin every second week.",
        "The itching went away after the third dose of dupilumab.",
        "Asthma with polyps in the nose, we added dupilumab.",
        "He gives himself the dupilumab injection at home.",
        "Conjunctivitis is a known side effect of dupilumab.",
        "Stop the steroid cream and continue dupilumab.",
        "Her skin has been clear since she takes dupilumab.",
    )
)
VAULT_DRUG_LINES = tuple(
    Sentence("Medication", text)
    for text in (
        "We treat his atopic dermatitis with dupilumab now.",
        "Is dupilumab safe together with my asthma inhaler?",
        "The patient missed two doses of dupilumab in spring.",
        "Dupilumab was approved by her insurance last Monday.",
    )
)
TEST_UTTERANCES, FIRST_SENTENCES, DRUG_READINGS, READINGS, KNOWN_READERS = 900, 150, 3, 3, 3
FIRST_SPEAKERS = TRAIN_SPEAKERS[:7]
LATER_SPEAKERS = TRAIN_SPEAKERS[7:] + NEW_SPEAKERS + VALIDATION_SPEAKERS
WRONG_EVERY = 5
ACCENTS = 6
"""Of the vault's voices, in turn: either half hears all of them."""


@dataclass(frozen=True)
class Reading:
    """One recording to be."""

    id: str
    """Of the utterance."""
    speaker: Speaker
    """Who reads."""
    text: str
    """What is said."""
    reference: str
    """What the listing claims."""
    prompt: str
    """Topic."""


@cache
def drop(month: str, test_utterances: int = TEST_UTTERANCES) -> tuple[Reading, ...]:
    """What arrives in a month; the first one brings the test set, too."""
    if month == NOTHING:
        return ()
    if month == "January":
        lines = (*sentences("test")[::2], *sentences("more_test"))
        test = _spread(lines, TEST_SPEAKERS, test_utterances, "test")
        return test + _dealt(_mixed("train")[:FIRST_SENTENCES], FIRST_SPEAKERS, 2, "01")
    number = DROPS.index(month)
    name = f"{MONTHS.index(month) + 1:02d}"
    readers = _readers(number)
    if month == MICROPHONES:
        readers = [replace(one, rate_hz=8_000, snr_db=18.0, noise_slope=0.0) for one in readers]
    found = _dealt(_lines(number), readers, READINGS, name)
    if month == NEW_DRUG:
        found += _dealt(DRUG_LINES, readers, DRUG_READINGS, f"{name}-drug")
    return _with_wrong_references(found) if month == WRONG else found


def vault(utterances: int) -> tuple[tuple[Reading, ...], tuple[Reading, ...]]:
    """Two halves, of other voices each: one to choose by, one to judge by."""
    plain = [*sentences("test")[1::2], *sentences("validation")]
    apart = len(plain) // len(VAULT_DRUG_LINES)
    lines: list[Sentence] = []
    for number, line in enumerate(VAULT_DRUG_LINES):  # whoever reads two thirds reads some of them
        end = None if number == len(VAULT_DRUG_LINES) - 1 else (number + 1) * apart
        lines += [line, *plain[number * apart : end]]
    readings = _spread(lines, VOICES, utterances, "vault")
    chosen = {voice.id for number, voice in enumerate(VOICES) if number // ACCENTS % 2 == 0}
    return (
        tuple(one for one in readings if one.speaker.id in chosen),
        tuple(one for one in readings if one.speaker.id not in chosen),
    )


def everyday() -> tuple[Reading, ...]:
    """General speech, which must not be heard worse."""
    lines = sentences("everyday")
    return _spread(lines, EVERYDAY_SPEAKERS, len(lines), "everyday")


def _mixed(group: str) -> list[Sentence]:
    """The sentences of a group, topics shuffled, always alike."""
    return sorted(sentences(group), key=lambda one: hashlib.sha256(one.text.encode()).digest())


def _lines(number: int) -> list[Sentence]:
    """Sentences that no earlier drop held, some of them with terms that none held either."""
    lines: list[Sentence] = []
    for group, first in (("train", FIRST_SENTENCES), ("next", 0)):
        rest = _mixed(group)[first:]
        lines += rest[number :: len(DROPS)]
    return lines


def _readers(number: int) -> list[Speaker]:
    """The month's new voices, one or two, and some that were heard before."""
    heard = [*FIRST_SPEAKERS, *(one for n in range(number) for one in _new(n))]
    known = [heard[(number * KNOWN_READERS + n) % len(heard)] for n in range(KNOWN_READERS)]
    return [*_new(number), *known]


def _new(number: int) -> tuple[Speaker, ...]:
    return LATER_SPEAKERS[number :: len(DROPS)]


def _dealt(
    lines: Sequence[Sentence], speakers: Sequence[Speaker], times: int, name: str
) -> tuple[Reading, ...]:
    """Each sentence so many times, by another speaker each time."""
    return tuple(
        _reading(f"{name}-{turn}-{number:03d}", speakers[(number + turn) % len(speakers)], line)
        for turn in range(times)
        for number, line in enumerate(lines)
    )


def _spread(
    lines: Sequence[Sentence], speakers: Sequence[Speaker], utterances: int, name: str
) -> tuple[Reading, ...]:
    """Speakers read alike many sentences, each from another one on."""
    found = []
    for number, speaker in enumerate(speakers):
        first = number * len(lines) // len(speakers)
        count = utterances // len(speakers) + (number < utterances % len(speakers))
        for n in range(count):
            line = lines[(first + n) % len(lines)]
            found.append(_reading(f"{name}-{number:02d}-{n:03d}", speaker, line))
    return tuple(found)


def _reading(id_: str, speaker: Speaker, line: Sentence) -> Reading:
    return Reading(id_, speaker, line.text, line.text, line.prompt)


def _with_wrong_references(readings: tuple[Reading, ...]) -> tuple[Reading, ...]:
    """Every fifth is listed with what another recording says."""
    wrong = readings[::WRONG_EVERY]
    others = dict(zip(wrong, (*wrong[1:], wrong[0]), strict=True))
    return tuple(
        replace(one, reference=others[one].text) if one in others else one for one in readings
    )


Progress = Callable[[str], None]


def spoken(folder: Path, name: str, readings: Sequence[Reading], say: Progress = print) -> Path:
    """A folder with these recordings and their listing, made if it is not there yet."""
    target = folder / f"{name}-{digest_of_readings(readings)}"
    if target.exists():
        return target
    say(f"speaking {len(readings)} sentences: {name}")
    by_speaker: dict[Speaker, list[Reading]] = {}
    for reading in readings:
        by_speaker.setdefault(reading.speaker, []).append(reading)
    with whole_folder(target) as draft:
        # A synthesizer keeps state: each voice has a process of its own.
        pool = ProcessPoolExecutor(2, mp_context=get_context("spawn"), max_tasks_per_child=1)
        with pool:
            list(pool.map(_speak, by_speaker, by_speaker.values(), [draft] * len(by_speaker)))
        write_listing(draft, readings)
    return target


def _speak(speaker: Speaker, readings: Sequence[Reading], folder: Path) -> None:
    for reading, flac in zip(readings, record(speaker, [r.text for r in readings]), strict=True):
        (folder / f"{reading.id}.flac").write_bytes(flac)


def digest_of_readings(readings: Sequence[Reading]) -> str:
    """Short digest of who reads what, and of what the listing claims."""
    plan = json.dumps([asdict(one) for one in readings], sort_keys=True)
    return hashlib.sha256(plan.encode()).hexdigest()[:12]


def write_listing(folder: Path, readings: Sequence[Reading]) -> None:
    """`metadata.csv` for these recordings; all files get one time, so that stamps say content."""
    listing = io.StringIO()
    writer = csv.writer(listing)
    writer.writerow(["file_name", "id", "sentence", "speaker", "prompt"])
    for one in readings:
        writer.writerow([f"{one.id}.flac", one.id, one.reference, one.speaker.id, one.prompt])
    write_whole(folder / "metadata.csv", listing.getvalue())
    for path in folder.iterdir():
        os.utime(path, (0, 0))


def arrive(recordings: Path, drops: Sequence[tuple[Path, Sequence[Reading]]]) -> Path:
    """The folder that a refresh reads: the recordings of these drops, and one listing of all."""
    recordings.mkdir(parents=True, exist_ok=True)
    readings = [one for _, part in drops for one in part]
    for folder, part in drops:
        for one in part:
            target = recordings / f"{one.id}.flac"
            if not target.exists():
                os.link(folder / target.name, target)
    write_listing(recordings, readings)
    return recordings
