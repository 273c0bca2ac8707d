"""Retrainings whose candidates surely all stayed behind the champion, by the validation split.

They cost no look at the test set, so there is no decision. A record keeps the next night from
doing the same again.
"""

from __future__ import annotations

from datetime import datetime

from whisper_retrain.edges.store import ObjectStore, read_record, write_record
from whisper_retrain.history.retrainings import RetrainingRequest
from whisper_retrain.records import Record
from whisper_retrain.training.candidates import Choice


class Unbeaten(Record):
    """A retraining that ended before the gate."""

    request: RetrainingRequest
    """What it was made from."""
    champion_revision: str
    """Its commit on the Hub: the candidates may yet beat another one."""
    choice: Choice
    """The candidates, and how they compared."""
    at: datetime
    """When it ended, UTC."""


def keep_unbeaten(store: ObjectStore, found: Unbeaten) -> None:
    """Store that no candidate can beat this champion."""
    write_record(store, _key(found.request, found.champion_revision), found)


def find_unbeaten(
    store: ObjectStore, request: RetrainingRequest, champion_revision: str
) -> Unbeaten | None:
    """The record of an equal request against the same champion."""
    return read_record(store, _key(request, champion_revision), Unbeaten)


def _key(request: RetrainingRequest, champion_revision: str) -> str:
    return f"retrain/v1/{request.digest}/unbeaten/{champion_revision}.json"
