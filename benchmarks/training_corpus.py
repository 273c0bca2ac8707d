"""What benchmarks/training.py trains on and tests with.

The train split is the demo's. The test split is large enough to tell half a point: sentences that
no training heard, read by two dozen voices that no training heard.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from whisper_retrain.data.decoding import decode, from_flac, to_flac
from whisper_retrain.local.demo.plan import TEST_GROUPS, sentences
from whisper_retrain.local.demo.recording import record
from whisper_retrain.local.demo.speakers import (
    DEMO_TEST_SPEAKERS,
    DEMO_VALIDATION_SPEAKERS,
    Speaker,
)
from whisper_retrain.training.speech import TrainingSpeech, TrainingUtterance
from whisper_retrain.whisper_constants import SAMPLING_RATE_HZ
from whisper_retrain.whole import whole_folder

ACCENTS = ("en-us", "en", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-029")
VARIANTS = ("m8", "f1", "Alex", "Andrea", "Denis", "Michael", "adam", "aunty", "david", "edward",
            "grandpa", "linda", "max", "paul", "pablo", "quincy", "robert", "sandro", "shelby",
            "steph", "travis", "victor", "zac", "steph2")  # fmt: skip


def voices(variants: Sequence[str], first_id: int) -> tuple[Speaker, ...]:
    """One voice for each variant of eSpeak NG; accents, manners and microphones in turn."""
    return tuple(
        Speaker(
            id=first_id + number,
            engine="espeak",
            voice=f"{ACCENTS[number % len(ACCENTS)]}+{variant}",
            words_per_minute=140 + 7 * number % 30,
            pitch=40 + 5 * number % 25,
            snr_db=(28.0, 35.0, 40.0)[number % 3],
            noise_slope=float(number % 3),
            rate_hz=(16_000, 22_050, 44_100, 8_000)[number % 4],
        )
        for number, variant in enumerate(variants)
    )


VOICES = voices(VARIANTS, first_id=90_000_000)
GROUPS = ("test", "next", "validation")
"""Of the demo's sentences: those that drop 1 trains on are in none of them."""


@dataclass(frozen=True)
class Spoken:
    """The least that training asks of an utterance."""

    id: str
    reference: str
    duration_s: float
    speaker: str | None = None


def demo_speech(
    corpus: Path, folder: Path
) -> tuple[list[Spoken], list[Spoken], Callable[..., np.ndarray]]:
    """The demo's train and test split, as 16 kHz FLAC read one by one, as a dataset revision's are.

    Sentences and voices of the one are in no utterance of the other.
    """
    import pyarrow.parquet as pq

    test_texts = {one.text for group in TEST_GROUPS for one in sentences(group)}
    train: list[Spoken] = []
    test: list[Spoken] = []
    rows = (
        row
        for path in sorted(corpus.glob("*.parquet"))
        for batch in pq.ParquetFile(path).iter_batches(batch_size=16)
        for row in batch.to_pylist()
    )
    for row in rows:
        if (speaker := row["speaker_id"]) in DEMO_VALIDATION_SPEAKERS:
            continue  # nothing is picked by validation here
        if (row["sentence"] in test_texts) != (speaker in DEMO_TEST_SPEAKERS):
            continue  # would be known by voice or by sentence
        audio = decode(row["path"]["bytes"])
        (folder / f"{row['id']}.flac").write_bytes(to_flac(audio.samples))
        split = test if speaker in DEMO_TEST_SPEAKERS else train
        split.append(Spoken(row["id"], row["sentence"], audio.duration_s, str(speaker)))
    return train, test, _reader(folder)


def unheard_test(cache: Path, at_most: int) -> tuple[list[Spoken], Callable[..., np.ndarray]]:
    """Unheard sentences by unheard voices; every voice reads alike many."""
    folder = _unheard_folder(cache)
    rows = [Spoken(*row) for row in json.loads((folder / "listing.json").read_text())]
    chosen = sorted(rows, key=lambda row: hashlib.sha256(row.id.encode()).digest())[:at_most]
    return chosen, _reader(folder)


def _unheard_folder(cache: Path) -> Path:
    texts = [sentence.text for group in GROUPS for sentence in sentences(group)]
    made_from = json.dumps([2, texts, [asdict(voice) for voice in VOICES]])
    folder = cache / f"unheard-{hashlib.sha256(made_from.encode()).hexdigest()[:12]}"
    if folder.exists():
        return folder
    with whole_folder(folder) as draft:
        # A synthesizer keeps state: each voice has a process of its own.
        pool = ProcessPoolExecutor(2, mp_context=get_context("spawn"), max_tasks_per_child=1)
        with pool:
            own = [texts[number % 2 :: 2] for number in range(len(VOICES))]
            shares = pool.map(_read, VOICES, own, [draft] * len(VOICES))
            listing = [row for share in shares for row in share]
        (draft / "listing.json").write_text(json.dumps(listing))
    return folder


def _read(voice: Speaker, texts: list[str], folder: Path) -> list[tuple[str, str, float, str]]:
    return list(_rows(voice, texts, folder))


def _rows(voice: Speaker, texts: list[str], folder: Path) -> Iterator[tuple[str, str, float, str]]:
    for number, (text, flac) in enumerate(zip(texts, record(voice, texts), strict=True)):
        audio = decode(flac)
        id_ = f"{voice.id}-{number:03d}"
        (folder / f"{id_}.flac").write_bytes(to_flac(audio.samples))
        yield id_, text, audio.duration_s, str(voice.id)


def synthetic_speech(count: int) -> TrainingSpeech:
    """Noise as long as the utterances of the PaulMooney dataset: 2 to 10 s, 4.6 s in the mean."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(SAMPLING_RATE_HZ * 30).astype(np.float32) * 0.1
    durations = np.clip(rng.gamma(6.0, 4.6 / 6.0, count), 2.0, 10.0)
    utterances = [
        Spoken(str(n), "x" * round(15 * seconds), float(seconds), str(n % 40))
        for n, seconds in enumerate(durations)
    ]
    return TrainingSpeech(
        utterances, utterances[:1], lambda u: noise[: round(u.duration_s * SAMPLING_RATE_HZ)].copy()
    )


def _reader(folder: Path) -> Callable[[TrainingUtterance], np.ndarray]:
    return lambda utterance: from_flac((folder / f"{utterance.id}.flac").read_bytes())
