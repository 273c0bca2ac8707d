"""How much of a year's false promotions a look at a test set may cost.

A test that is right 95 % of the time errs once in 20 looks, and a weekly gate looks 52 times a
year. So a year's alpha is shared out among the looks, most of it to the first ones, where a
fresh test set should decide: look k gets alpha * (0.8 / (k (k + 1)) + 0.2 / planned). By
Bonferroni the probability of any false promotion in `planned` looks is below alpha, however the
looks depend on one another.

Looks are counted in S3, one object a test set, changed by compare-and-swap. A look is the pair of
models that was compared: deciding on the same pair again, after a crash or in a replay, is the
same look. Only looks of the last 365 days count, which keeps every window of a year below alpha:
the i-th look of any window has at least i - 1 looks in the year before it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from whisper_retrain.errors import ConflictError
from whisper_retrain.records import Record, canonical_json

EARLY_SHARE = 0.8
YEAR = timedelta(days=365)
TRIES = 20


class LedgerStore(Protocol):
    """What the ledger needs of S3."""

    def read_versioned(self, key: str) -> tuple[bytes, str] | None: ...
    def swap(self, key: str, data: bytes, version: str | None) -> str: ...


class Look(Record):
    """Two models compared on one test set, and how many looks there had been in the year."""

    champion: str
    challenger: str
    at: datetime
    earlier: int


class Looks(Record):
    """All looks at one test set, oldest first."""

    looks: tuple[Look, ...] = ()


def alpha_of_look(look: int, alpha: float, planned: int) -> float:
    """Alpha of the look-th look (from 1) at one test set; 0 when the year's is used up."""
    if look > planned:
        return 0.0
    return alpha * (EARLY_SHARE / (look * (look + 1)) + (1 - EARLY_SHARE) / planned)


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
