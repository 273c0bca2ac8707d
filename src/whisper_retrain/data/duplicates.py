"""Of utterances that share an id or an audio, which one stays, and why the others don't. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from whisper_retrain.data.manifest import Utterance
from whisper_retrain.data.rows import Gathering, Rows, is_in, repeated
from whisper_retrain.data.validation import Quarantined


def without_duplicates(
    candidates: Rows[Utterance], frozen: Rows[Utterance], earlier: Rows[Utterance]
) -> tuple[Rows[Utterance], Rows[Quarantined]]:
    """One utterance for each id and each audio; which one does not depend on what came later.

    `candidates`: in the order of id and audio. `frozen`: the test set, which stays as it is.
    """
    doubtful = np.zeros(len(candidates), dtype=bool)
    for name in ("id", "audio_sha256"):
        doubtful |= repeated(name, candidates, frozen)
    if not doubtful.any():
        return candidates, Rows.of((), Quarantined)
    places = _earlier_first(np.flatnonzero(doubtful), candidates, earlier)
    kept, quarantined = _judged(candidates.take(places), frozen)
    doubtful[places[kept]] = False
    return candidates.where(~doubtful), quarantined


def _earlier_first(
    places: NDArray[np.int64], candidates: Rows[Utterance], earlier: Rows[Utterance]
) -> NDArray[np.int64]:
    """Those first that an earlier revision took with the same audio."""
    utterances = candidates.take(places)
    known = earlier.where(is_in(earlier.column("id"), utterances.column("id")))
    audio = {u.id: u.audio_sha256 for u in known}
    return places[
        np.argsort([audio.get(u.id) != u.audio_sha256 for u in utterances], kind="stable")
    ]


def _judged(
    utterances: Rows[Utterance], frozen: Rows[Utterance]
) -> tuple[list[int], Rows[Quarantined]]:
    """Which of the utterances that have an id or audio in common can be kept, and the others."""
    in_test = frozen.where(is_in(frozen.column("audio_sha256"), utterances.column("audio_sha256")))
    test_audio = {u.audio_sha256: u.id for u in in_test}
    ids = set(
        frozen.column("id").filter(is_in(frozen.column("id"), utterances.column("id"))).to_pylist()
    )
    phrases = _conflicting(utterances)
    audio: dict[str, str] = {}
    kept: list[int] = []
    quarantined = Gathering(Quarantined)
    for number, u in enumerate(utterances):
        if u.audio_sha256 in test_audio:
            fault = ("test-set-leak", test_audio[u.audio_sha256], "audio that is not in test")
        elif u.audio_sha256 in phrases:
            fault = ("conflicting-references", " | ".join(sorted(phrases[u.audio_sha256])), "one")
        elif u.audio_sha256 in audio:
            fault = ("duplicate-audio", audio[u.audio_sha256], "audio once")
        elif u.id in ids:
            fault = ("duplicate-id", u.id, "an id once")
        else:
            ids.add(u.id)
            audio[u.audio_sha256] = u.id
            kept.append(number)
            continue
        quarantined.append(_faulty(u, *fault))
    return kept, quarantined.rows()


def _conflicting(utterances: Iterable[Utterance]) -> dict[str, set[str]]:
    """Audio with more than one phrase -> the phrases. Mostly there is none: few sets are made."""
    first: dict[str, str] = {}
    several: dict[str, set[str]] = {}
    for u in utterances:
        phrase = first.setdefault(u.audio_sha256, u.phrase)
        if phrase != u.phrase:
            several.setdefault(u.audio_sha256, {phrase}).add(u.phrase)
    return several


def _faulty(u: Utterance, reason: str, figure: str, bound: str) -> Quarantined:
    return Quarantined(
        u.id, u.source, reason, figure, bound, u.speaker, u.reference, u.audio_sha256
    )
