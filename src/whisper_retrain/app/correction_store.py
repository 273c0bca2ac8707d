"""Corrections in S3: immutable items, and the listing that the refresh reads as a source.

    corrections/v1/items/<id>.json             what was sent
    corrections/v1/audio/<audio sha256>.flac   what was said
    corrections/v1/reviews/<id>/<digest>.json  what others said of it
    corrections/v1/withdrawn/<id>.json         consent taken back; item and audio are deleted
    corrections/v1/accepted/                   the source: listing.csv and the accepted audio

Only the listing changes, by compare-and-swap. Each change writes its own object first and then
makes the listing anew from all of them, so that no change is lost, however many come at once, and
a change that was cut off is caught up by the next one.
"""

from __future__ import annotations

import csv
import io
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from whisper_retrain.app.corrections import (
    Correction,
    Review,
    Standing,
    Withdrawal,
    standing,
    to_listing,
)
from whisper_retrain.edges.store import ObjectStore, RecordT, read_record, write_record
from whisper_retrain.errors import ConflictError, InputError

PREFIX = "corrections/v1"
SOURCE = f"{PREFIX}/accepted"
LISTING = f"{SOURCE}/listing.csv"
COLUMNS = ("audio", "sentence", "id", "speaker")
TRIES = 20

log = logging.getLogger("whisper_retrain.app")


@dataclass(frozen=True)
class Corrections:
    """All that is stored, as it was at one moment."""

    items: dict[str, Correction] = field(default_factory=dict)
    """By id, the oldest first; withdrawn ones are gone."""
    reviews: dict[str, list[Review]] = field(default_factory=dict)
    """Correction's id -> what was said of it."""
    withdrawn: dict[str, Withdrawal] = field(default_factory=dict)
    """Correction's id -> its withdrawal."""

    def standing(self, one: Correction) -> Standing:
        """Where a correction stands."""
        return standing(one, self.reviews.get(one.id, ()))


class CorrectionStore:
    """What people have sent, under one prefix of the store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def load(self) -> Corrections:
        """Everything; some small reads for each correction."""
        withdrawn = {one.correction: one for one in self._records("withdrawn", Withdrawal)}
        items = [one for one in self._records("items", Correction) if one.id not in withdrawn]
        reviews: defaultdict[str, list[Review]] = defaultdict(list)
        for review in self._records("reviews", Review):
            reviews[review.correction].append(review)
        ordered = sorted(items, key=lambda one: (one.at, one.id))
        return Corrections({one.id: one for one in ordered}, dict(reviews), withdrawn)

    def find(self, correction_id: str) -> Correction | None:
        """One correction; None when there is none, or consent was withdrawn."""
        if self._is_withdrawn(correction_id):
            return None
        return read_record(self._store, f"{PREFIX}/items/{correction_id}.json", Correction)

    def audio(self, correction: Correction) -> bytes:
        """The recording as FLAC, 16 kHz mono."""
        return self._store.read(_audio_key(correction.audio_sha256))

    def send(self, correction: Correction, flac: bytes) -> bool:
        """Store a correction, its audio first; False when it had been sent before.

        Raises InputError when consent for the same text was withdrawn: it isn't revived.
        """
        if self._is_withdrawn(correction.id):
            raise InputError(
                "consent for this correction was withdrawn",
                remedy="record it again if the speaker has changed their mind",
            )
        key = f"{PREFIX}/items/{correction.id}.json"
        if self._store.exists(key):
            return False
        self._store.write(_audio_key(correction.audio_sha256), flac, "audio/flac")
        data = correction.model_dump_json(indent=1).encode()
        created = self._store.create(key, data)
        if self._is_withdrawn(correction.id):  # withdrawn while it was being sent
            self._delete(correction)
        return created

    def review(self, review: Review) -> None:
        """Store what somebody said of a correction, and bring the listing up to date."""
        write_record(
            self._store, f"{PREFIX}/reviews/{review.correction}/{review.digest}.json", review
        )
        self.rebuild()

    def withdraw(self, correction: Correction, withdrawal: Withdrawal) -> None:
        """Take a correction back: off the listing first, then text and audio are deleted."""
        self._store.create(
            f"{PREFIX}/withdrawn/{correction.id}.json", withdrawal.model_dump_json().encode()
        )
        self.rebuild()
        self._delete(correction)

    def rebuild(self) -> int:
        """Make the listing anew from what is stored; returns how many it lists.

        Finishes what an earlier process left undone: items of withdrawn consent are deleted.
        """
        for _ in range(TRIES):
            found = self._store.read_versioned(LISTING)
            now = self.load()
            listed = to_listing(now.items.values(), now.reviews, now.withdrawn)
            for one in listed:
                self._accept_audio(one)
            data = listing_bytes(listed)
            try:
                if found is None or found[0] != data:
                    self._store.swap(LISTING, data, found[1] if found else None)
            except ConflictError:
                continue  # somebody else changed it: look again at what is stored
            self._sweep(listed)
            return len(listed)
        raise ConflictError(
            "the listing of corrections kept changing",
            where=self._store.uri(LISTING),
            got=f"{TRIES} conflicts",
            remedy="try again",
        )

    def _accept_audio(self, one: Correction) -> None:
        key = _accepted_key(one.audio_sha256)
        if not self._store.exists(key):
            self._store.write(key, self.audio(one), "audio/flac")

    def _sweep(self, listed: Iterable[Correction]) -> None:
        """Delete accepted audio that is listed no more, and what was withdrawn."""
        wanted = {LISTING, *(_accepted_key(one.audio_sha256) for one in listed)}
        for key in list(self._store.keys(f"{SOURCE}/")):
            if key not in wanted:
                self._store.delete(key)
        for withdrawn in self._records("withdrawn", Withdrawal):
            item = f"{PREFIX}/items/{withdrawn.correction}.json"
            if left := read_record(self._store, item, Correction):
                self._delete(left)

    def _delete(self, correction: Correction) -> None:
        """Remove text, reviews and, unless another correction is of the same audio, audio."""
        for key in list(self._store.keys(f"{PREFIX}/reviews/{correction.id}/")):
            self._store.delete(key)
        self._store.delete(f"{PREFIX}/items/{correction.id}.json")
        others = self.load().items.values()
        if all(one.audio_sha256 != correction.audio_sha256 for one in others):
            self._store.delete(_audio_key(correction.audio_sha256))

    def _is_withdrawn(self, correction_id: str) -> bool:
        return self._store.exists(f"{PREFIX}/withdrawn/{correction_id}.json")

    def _records(self, folder: str, kind: type[RecordT]) -> Iterator[RecordT]:
        for key in list(self._store.keys(f"{PREFIX}/{folder}/")):
            record = read_record(self._store, key, kind)
            if record is not None:  # deleted since it was listed
                yield record


def listing_bytes(corrections: Iterable[Correction]) -> bytes:
    """The listing as the `s3` source reads it, with the preset `corrections`."""
    sink = io.StringIO(newline="")
    writer = csv.writer(sink)
    writer.writerow(COLUMNS)
    for one in corrections:
        writer.writerow([f"{one.audio_sha256}.flac", one.text, one.id, one.speaker])
    return sink.getvalue().encode()


def _audio_key(audio_sha256: str) -> str:
    return f"{PREFIX}/audio/{audio_sha256}.flac"


def _accepted_key(audio_sha256: str) -> str:
    return f"{SOURCE}/{audio_sha256}.flac"
