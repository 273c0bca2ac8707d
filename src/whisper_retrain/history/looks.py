"""The looks at a test set: which pairs of models were compared on it, counted within a year.

One object a test set, changed by compare-and-swap. A look is the pair of models that was compared:
deciding on the same pair again, after a crash or in a replay, is the same look. Only looks of the
last 365 days count, which keeps every window of a year below alpha (see gate/ledger): the i-th look
of any window has at least i - 1 looks in the year before it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from whisper_retrain.errors import ConflictError
from whisper_retrain.records import Record, canonical_json

YEAR = timedelta(days=365)
TRIES = 20


class LedgerStore(Protocol):
    """What the ledger needs of S3."""

    def read_versioned(self, key: str) -> tuple[bytes, str] | None: ...
    def swap(self, key: str, data: bytes, version: str | None) -> str: ...


class Look(Record):
    """Two models compared on one test set, and how many looks there had been in the year."""

    champion: str
    """Digest of its files."""
    challenger: str
    """Digest of its files."""
    at: datetime
    """When, UTC."""
    earlier: int
    """Looks at the test set in the year before."""


class Looks(Record):
    """All looks at one test set, oldest first."""

    looks: tuple[Look, ...] = ()
    """Each pair of models once."""


def ledger_key(test_set_digest: str) -> str:
    """Where the looks at a test set are counted."""
    return f"gate/looks/{test_set_digest}.json"


def enter_look(
    store: LedgerStore, test_set_digest: str, champion: str, challenger: str, now: datetime
) -> int:
    """Enter a look (models by digest); returns how many others there were in the year before."""
    for _ in range(TRIES):
        stored = store.read_versioned(ledger_key(test_set_digest))
        data, version = stored or (b'{"looks":[]}', None)
        before = Looks.model_validate_json(data).looks
        for look in before:
            if (look.champion, look.challenger) == (champion, challenger):
                return look.earlier
        earlier = sum(look.at > now - YEAR for look in before)
        look = Look(champion=champion, challenger=challenger, at=now, earlier=earlier)
        after = Looks(looks=(*before, look)).model_dump(mode="json")
        try:
            store.swap(ledger_key(test_set_digest), canonical_json(after), version)
        except ConflictError:
            continue  # somebody else looked in between: count again
        return earlier
    raise ConflictError(
        "the ledger of looks kept changing",
        where=ledger_key(test_set_digest),
        got=f"{TRIES} conflicts",
        remedy="run one gate at a time on one test set",
    )
