"""Which medical terms a challenger has learned and which it has forgotten; pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

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
    tier: Tier | None
    occurrences: int
    before: int
    """Occurrences that the champion got right."""
    after: int
    """Occurrences that the challenger got right."""
    new: tuple[str, ...] = ()
    """Ids of utterances where only the champion got all of them right."""
    fixed: tuple[str, ...] = ()
    """Ids of utterances where only the challenger did."""


class Heard(NamedTuple):
    """One term in one utterance: how often it was said, and how often each model got it right."""

    id: str
    said: int
    before: int
    after: int


def term_changes(
    champion: Sequence[Row], challenger: Sequence[Row], lexicon: Lexicon | None = None
) -> list[TermChange]:
    """All medical terms of the references, the most forgotten first, the most learned last.

    Rows of both must be in the same order. A term counts as right as often as it stands in the
    hypothesis, wherever that is.
    """
    lexicon = lexicon or default_lexicon()
    found: dict[str, list[Heard]] = defaultdict(list)
    for left, right in zip(champion, challenger, strict=True):
        said = _terms(left.reference, lexicon)
        before, after = _terms(left.hypothesis, lexicon), _terms(right.hypothesis, lexicon)
        for token, times in said.items():
            heard = Heard(left.id, times, min(times, before[token]), min(times, after[token]))
            found[token.replace("_", " ")].append(heard)
    changes = [_change(term, heard, lexicon.tiers.get(term)) for term, heard in found.items()]
    return sorted(changes, key=lambda change: (change.after - change.before, change.term))


def _terms(text: str, lexicon: Lexicon) -> Counter[str]:
    return Counter(lexicon.find(normalize(text)))


def _change(term: str, heard: Sequence[Heard], tier: Tier | None) -> TermChange:
    return TermChange(
        term=term,
        tier=tier,
        occurrences=sum(one.said for one in heard),
        before=sum(one.before for one in heard),
        after=sum(one.after for one in heard),
        new=tuple(one.id for one in heard if one.after < one.said == one.before),
        fixed=tuple(one.id for one in heard if one.before < one.said == one.after),
    )
