"""The looks at a dataset's test set: which pairs of models were compared on it, within a year.

One object for each lineage of dataset revisions, changed by compare-and-swap: one added recording,
a corrected reference or another normalizer makes another test set, and still the data that earlier
looks have seen is mostly the same. So it is kept which recordings some look has seen, and only the
others earn alpha (see gate/ledger). A look is the pair of models that was compared: deciding on the
same pair again, after a crash or in a replay, is the same look. Only looks of the last 365 days
count; none spends more than they have left, which keeps every window of a year below alpha.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar, Protocol

from whisper_retrain.data.latest import revisions_up_to
from whisper_retrain.edges.store import ObjectStore
from whisper_retrain.errors import ConflictError
from whisper_retrain.gate.ledger import Standing, share_of_look
from whisper_retrain.records import DatasetRevision, Record, canonical_json

YEAR = timedelta(days=365)
TRIES = 20
LONGEST_LINEAGE = 10_000
ID_DIGITS = 16
"""Of an audio's digest, that a look has seen it."""


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
    """Looks in the year before."""
    share: float | None = None
    """Of the year's alpha, as it was spent; None: by an earlier version, see `spent`."""
    charged_before: int | None = None
    """Looks in the year before that had found a challenger better; None: all of them."""
    better: bool | None = None
    """Whether it found the challenger better; None: not known. Then it is charged as if it had, and
    gives nothing back."""

    added: ClassVar[frozenset[str]] = frozenset({"share", "charged_before", "better"})

    @property
    def spent(self) -> float:
        """Share of the year's alpha; an earlier version gave 0.8 / (k (k + 1)) + 0.2 / 52."""
        if self.share is not None:
            return self.share
        look = self.earlier + 1
        return 0.8 / (look * (look + 1)) + 0.2 / 52

    @property
    def standing(self) -> Standing:
        """What it was decided by."""
        return Standing(looks=self.earlier, share=self.share, charged=self.charged_before)


class Looks(Record):
    """All looks at one lineage's test sets, oldest first."""

    looks: tuple[Look, ...] = ()
    """Each pair of models once."""
    seen: tuple[str, ...] = ()
    """Recordings that some look has seen: the first digits of their audio's digests, sorted."""

    added: ClassVar[frozenset[str]] = frozenset({"seen"})

    def of(self, champion: str, challenger: str) -> Look | None:
        """The look at this pair of models."""
        pair = (champion, challenger)
        return next((one for one in self.looks if (one.champion, one.challenger) == pair), None)


@dataclass(frozen=True)
class Lineage:
    """Revisions of a dataset that come one from another, and what the last one tests on."""

    name: str
    """Digest of the first revision."""
    words: Mapping[str, int] = field(default_factory=dict)
    """Audio digest of each utterance of the test set -> words said."""
    test_sets: Sequence[str] = ()
    """Digests of all their test sets: an earlier version counted looks by those."""


def lineage_of(store: ObjectStore, revision: DatasetRevision, words: Mapping[str, int]) -> Lineage:
    """The lineage that a revision ends; `words` as in Lineage."""
    found = revisions_up_to(store, revision, LONGEST_LINEAGE)
    digests = dict.fromkeys(one.test_set_digest for one in found)
    return Lineage(found[0].digest, words, tuple(digests))


def ledger_key(lineage: str) -> str:
    """Where the looks at a lineage's test sets are counted."""
    return f"gate/looks/{lineage}.json"


def enter_look(
    store: LedgerStore,
    lineage: Lineage,
    champion: str,
    challenger: str,
    now: datetime,
    planned: int = 52,
) -> Standing:
    """Enter a look (models by digest); returns what the looks of the year before have left it."""
    entered: list[Look] = []

    def enter(before: Looks) -> Looks:
        if found := before.of(champion, challenger):
            entered.append(found)
            return before
        recent = [one for one in before.looks if one.at > now - YEAR]
        look = Look(
            champion=champion,
            challenger=challenger,
            at=now,
            earlier=len(recent),
            share=share_of_look(
                len(recent),
                planned,
                spent=min(1.0, sum(one.spent for one in recent if not one.better)),
                unseen=_unseen(lineage.words, before),
            ),
            charged_before=sum(one.better is not False for one in recent),
        )
        entered.append(look)
        seen = {*before.seen, *(key[:ID_DIGITS] for key in lineage.words)}
        return Looks(looks=(*before.looks, look), seen=tuple(sorted(seen)))

    _swap(store, lineage, enter)
    return entered[-1].standing


def close_look(
    store: LedgerStore, lineage: Lineage, champion: str, challenger: str, better: bool
) -> None:
    """Note whether a look found the challenger better.

    Such a look gives its share of the year's alpha back, and spends of the guards' error.
    """

    def close(before: Looks) -> Looks:
        pair = (champion, challenger)
        looks = [
            one.model_copy(update={"better": better})
            if (one.champion, one.challenger) == pair
            else one
            for one in before.looks
        ]
        return before.model_copy(update={"looks": tuple(looks)})

    _swap(store, lineage, close)


def _unseen(words: Mapping[str, int], before: Looks) -> float:
    """Share of the test set's words that no look has seen."""
    if not words or not before.looks:
        return float(not before.looks)
    seen = set(before.seen)
    new = sum(count for key, count in words.items() if key[:ID_DIGITS] not in seen)
    return new / max(1, sum(words.values()))


def _swap(store: LedgerStore, lineage: Lineage, change: Callable[[Looks], Looks]) -> None:
    for _ in range(TRIES):
        stored = store.read_versioned(ledger_key(lineage.name))
        version = stored[1] if stored else None
        before = Looks.model_validate_json(stored[0]) if stored else _carried(store, lineage)
        after = change(before)
        if after == before and stored:
            return
        try:
            data = canonical_json(after.model_dump(mode="json"))
            store.swap(ledger_key(lineage.name), data, version)
        except ConflictError:
            continue  # somebody else looked in between: count again
        return
    raise ConflictError(
        "the ledger of looks kept changing",
        where=ledger_key(lineage.name),
        got=f"{TRIES} conflicts",
        remedy="run one gate at a time on one test set",
    )


def _carried(store: LedgerStore, lineage: Lineage) -> Looks:
    """Looks that an earlier version counted by test set; what they saw is not known: all of it."""
    found: dict[tuple[str, str], Look] = {}
    for digest in lineage.test_sets:
        if stored := store.read_versioned(ledger_key(digest)):
            for look in Looks.model_validate_json(stored[0]).looks:
                found.setdefault((look.champion, look.challenger), look)
    looks = tuple(sorted(found.values(), key=lambda look: look.at))
    seen = sorted(key[:ID_DIGITS] for key in lineage.words) if looks else []
    return Looks(looks=looks, seen=tuple(seen))
