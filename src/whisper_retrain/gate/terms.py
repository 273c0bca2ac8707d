"""Which medical terms a challenger has learned and which it has forgotten; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from whisper_retrain.evaluation.lexicon import Lexicon, default_lexicon
from whisper_retrain.evaluation.rows import Row
from whisper_retrain.evaluation.tiers import Tier
from whisper_retrain.normalizer import normalize

HIGH_RISK: tuple[Tier, ...] = ("drug", "diagnosis")
"""Tiers whose terms are watched one by one."""


@dataclass
class TermChange:
    """One term over the whole test set."""

    term: str
    tier: Tier | None
    occurrences: int = 0
    before: int = 0
    """Occurrences that the champion got right."""
    after: int = 0
    """Occurrences that the challenger got right."""
    new: list[str] = field(default_factory=list)
    """Ids of utterances where only the champion got all of them right."""
    fixed: list[str] = field(default_factory=list)
    """Ids of utterances where only the challenger did."""


def term_changes(
    champion: Sequence[Row], challenger: Sequence[Row], lexicon: Lexicon | None = None
) -> list[TermChange]:
    """All medical terms of the references, the most forgotten first, the most learned last.

    Rows of both must be in the same order. A term counts as right as often as it stands in the
    hypothesis, wherever that is.
    """
    lexicon = lexicon or default_lexicon()
    changes: dict[str, TermChange] = {}
    for left, right in zip(champion, challenger, strict=True):
        said = _terms(left.reference, lexicon)
        heard = _terms(left.hypothesis, lexicon), _terms(right.hypothesis, lexicon)
        for token, times in said.items():
            _add(changes, token, times, tuple(min(times, h[token]) for h in heard), left.id)
    for token, change in changes.items():
        change.tier = lexicon.tiers.get(token.replace("_", " "))
    return sorted(changes.values(), key=lambda change: (change.after - change.before, change.term))


def _terms(text: str, lexicon: Lexicon) -> Counter[str]:
    return Counter(lexicon.find(normalize(text)))


def _add(
    changes: dict[str, TermChange], token: str, times: int, right: tuple[int, ...], row_id: str
) -> None:
    change = changes.setdefault(token, TermChange(token.replace("_", " "), None))
    before, after = right
    change.occurrences += times
    change.before += before
    change.after += after
    if after < times == before:
        change.new.append(row_id)
    if before < times == after:
        change.fixed.append(row_id)
