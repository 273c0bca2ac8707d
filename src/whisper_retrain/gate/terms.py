"""Which medical terms a challenger has learned and which it has forgotten; pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import model_validator

from whisper_retrain.evaluation.lexicon import Lexicon, default_lexicon
from whisper_retrain.evaluation.rows import Row
from whisper_retrain.evaluation.tiers import Tier
from whisper_retrain.normalizer import normalize
from whisper_retrain.records import Record

HIGH_RISK: tuple[Tier, ...] = ("drug", "diagnosis")
"""Tiers whose terms are watched one by one."""


class TermChange(Record):
    """One term over the whole test set."""

    term: str
    """Normalised."""
    tier: Tier | None
    """None: of no tier."""
    occurrences: int
    """In the references."""
    champion: int
    """Occurrences that the champion got right."""
    challenger: int
    """Occurrences that the challenger got right."""
    new: tuple[str, ...] = ()
    """Ids of utterances where only the champion got all of them right."""
    fixed: tuple[str, ...] = ()
    """Ids of utterances where only the challenger did."""

    @model_validator(mode="before")
    @classmethod
    def _as_stored_before(cls, values: Any) -> Any:
        """An earlier version called the two sides `before` and `after`."""
        if isinstance(values, dict) and "before" in values:
            values = dict(values)
            values["champion"], values["challenger"] = values.pop("before"), values.pop("after")
        return values


@dataclass(frozen=True)
class _Occurrences:
    """One term in one utterance."""

    id: str
    """Of the utterance."""
    said: int
    """How often it was said."""
    champion: int
    """How often the champion got it right."""
    challenger: int
    """How often the challenger did."""


def term_changes(
    champion: Sequence[Row], challenger: Sequence[Row], lexicon: Lexicon | None = None
) -> list[TermChange]:
    """All medical terms of the references, the most forgotten first, the most learned last.

    Rows of both must be in the same order. A term counts as right as often as it stands in the
    hypothesis, wherever that is.
    """
    lexicon = lexicon or default_lexicon()
    found: dict[str, list[_Occurrences]] = defaultdict(list)
    for row, other in zip(champion, challenger, strict=True):
        by_champion, by_challenger = (_terms(one.hypothesis, lexicon) for one in (row, other))
        for token, times in _terms(row.reference, lexicon).items():
            right = min(times, by_champion[token]), min(times, by_challenger[token])
            found[token.replace("_", " ")].append(_Occurrences(row.id, times, *right))
    changes = [_change(term, heard, lexicon.tiers.get(term)) for term, heard in found.items()]
    return sorted(changes, key=lambda change: (change.challenger - change.champion, change.term))


def _terms(text: str, lexicon: Lexicon) -> Counter[str]:
    return Counter(lexicon.find(normalize(text)))


def _change(term: str, heard: Sequence[_Occurrences], tier: Tier | None) -> TermChange:
    return TermChange(
        term=term,
        tier=tier,
        occurrences=sum(one.said for one in heard),
        champion=sum(one.champion for one in heard),
        challenger=sum(one.challenger for one in heard),
        new=tuple(one.id for one in heard if one.challenger < one.said == one.champion),
        fixed=tuple(one.id for one in heard if one.champion < one.said == one.challenger),
    )
