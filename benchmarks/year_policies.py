"""Who is champion after a month: six policies, and what a promotion did; pure.

A policy is a function of its champion and of what the month holds out. Models are known by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

BASE = "base"
"""The model that is there before the first promotion."""
HARM = 0.005
"""WER, a fraction: half a point more is harm, whatever the interval says."""
KNOWN, FORGOTTEN = 0.9, 0.5
"""A term that was right in so many of its places, and that no longer is in as many as this."""
MIN_OCCURRENCES = 3
"""Of a term in the vault: of fewer nothing is said."""
RECOGNISED = 0.5
"""A new term counts as recognised when half of its places are right."""


@dataclass(frozen=True)
class Offer:
    """What a month holds out to those who choose a champion."""

    challenger: str
    """The candidate that did best on the validation split."""
    candidates: tuple[str, ...]
    """All that were made."""
    promoted: bool
    """Whether the gate promotes the challenger."""
    test_wer: Mapping[str, float] = field(default_factory=dict)
    """Model -> WER on the test set, a fraction."""
    choice_wer: Mapping[str, float] = field(default_factory=dict)
    """Model -> WER on the half of the vault that is for the oracle alone."""


def gated(champion: str, offer: Offer) -> str:
    """The gate decides."""
    return offer.challenger if offer.promoted else champion


def always_newest(champion: str, offer: Offer) -> str:
    """Whatever comes is better."""
    return offer.challenger


def lower_wer(champion: str, offer: Offer) -> str:
    """The lower figure on the test set wins, by however little."""
    found = offer.test_wer
    return offer.challenger if found[offer.challenger] < found[champion] else champion


def first(champion: str, offer: Offer) -> str:
    """The first model that the gate promotes stays for ever."""
    return gated(champion, offer) if champion == BASE else champion


def oracle(champion: str, offer: Offer) -> str:
    """The best that there is, by speech that nobody else hears; a tie changes nothing."""
    return min((champion, *offer.candidates), key=lambda name: offer.choice_wer[name])


Policy = Callable[[str, Offer], str]
POLICIES: dict[str, Policy] = {
    "default": gated,
    "cold_fixed": gated,
    "always_newest": always_newest,
    "lower_wer": lower_wer,
    "first": first,
    "oracle": oracle,
}
SHORT = ("default", "cold_fixed", "first")
"""Those of a year of a few months."""


@dataclass(frozen=True)
class Change:
    """What another champion means to those who are heard, measured in the vault."""

    month: str
    """When."""
    wer_change: float
    """After less before, a fraction."""
    low: float
    """Of its paired 95 % interval."""
    high: float
    """Of the same."""
    forgotten: tuple[str, ...] = ()
    """Medical terms that it no longer knows."""

    @property
    def is_harmful(self) -> bool:
        """Whether nobody should have promoted it."""
        return self.wer_change > HARM or self.low > 0 or bool(self.forgotten)

    @property
    def is_gain(self) -> bool:
        """Whether it makes fewer errors and forgets nothing."""
        return self.wer_change < 0 and not self.forgotten


@dataclass(frozen=True)
class TermCount:
    """One medical term in the vault."""

    term: str
    """Normalised."""
    occurrences: int
    """In the references."""
    before: int
    """Right before."""
    after: int
    """Right after."""


def forgotten(terms: Sequence[TermCount]) -> tuple[str, ...]:
    """Terms that were right nearly always and now are in half of their places or fewer."""
    return tuple(
        one.term
        for one in terms
        if one.occurrences >= MIN_OCCURRENCES
        and one.before >= KNOWN * one.occurrences
        and one.after <= FORGOTTEN * one.occurrences
    )


def months_until(recalls: Sequence[float], arrived: int) -> int | None:
    """Months from the one in which a term arrived to the one in which it is recognised.

    `recalls` are the champion's by month, `arrived` the place of that month. 0: at once, in the
    month's own retraining; None: never.
    """
    later = recalls[arrived:]
    return next((n for n, recall in enumerate(later) if recall >= RECOGNISED), None)


def cost_ratio(spent_s: Sequence[float], cold_s: Sequence[float]) -> float | None:
    """Seconds spent on candidates, in cold trainings a month; None where nothing was trained."""
    return sum(spent_s) / sum(cold_s) if sum(cold_s) else None
