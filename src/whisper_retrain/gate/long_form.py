"""The rules about long audio: a dictation is heard to its end, in order and once; pure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from whisper_retrain.evaluation.scoring import LOST_WORDS
from whisper_retrain.gate.contest import Contest
from whisper_retrain.gate.rules import informing, non_inferior
from whisper_retrain.gate.statistics import Paired, compare
from whisper_retrain.records import Dictation, RuleOutcome

MIN_DICTATIONS = 2
"""One alone tells nothing of chance."""
BY_CHANCE = 0.05
"""Share of the dictations: of models that are equally good, either breaks as many at times."""


def long_form(contest: Contest) -> list[RuleOutcome]:
    """WER on dictations surely not higher by more than the margin, and hardly any newly broken."""
    champion = contest.champion.report.dictations
    challenger = contest.challenger.report.dictations
    first = _first(champion)
    if len(first) < MIN_DICTATIONS:
        return [_untold(len(first))] if contest.champion.report.conditions else []
    return [
        _wer(contest, first, _first(challenger)),
        _newly("lost", "miss eight words or more in a row", _lost, champion, challenger),
        _newly("loops", "repeat what was said once", _loops, champion, challenger),
        _newly("times", "have timestamps out of order", _disordered, champion, challenger),
    ]


def _first(dictations: tuple[Dictation, ...]) -> tuple[Dictation, ...]:
    """Of the first stitching: the next ones hold the same utterances, and are no further blocks."""
    return tuple(one for one in dictations if not one.stitching)


def _untold(found: int) -> RuleOutcome:
    return RuleOutcome(
        rule="long-form",
        outcome="info",
        figure=found,
        bound=MIN_DICTATIONS,
        reason=f"the test set is stitched to {found} dictations of a minute or more: too few to"
        " judge long audio by",
    )


def _wer(
    contest: Contest, champion: tuple[Dictation, ...], challenger: tuple[Dictation, ...]
) -> RuleOutcome:
    """Each dictation is a block."""
    policy = contest.policy
    pairs = Paired(
        np.array([one.words.errors for one in champion], dtype=np.float64),
        np.array([one.words.errors for one in challenger], dtype=np.float64),
        np.array([one.words.reference_length for one in champion], dtype=np.float64),
    )
    found = compare(
        pairs,
        {"dictation": [one.id for one in champion]},
        alpha=policy.guard_alpha,
        replicates=policy.replicates,
        seed=policy.seed,
    )
    rule = non_inferior(
        "long-form", f"WER on {len(champion)} dictations", found, policy.long_form_margin
    )
    words = sum(one.words.reference_length for one in champion)
    few = f"{words} words are too few to judge by"
    return informing(rule, few) if words < policy.min_guarded_words else rule


def _newly(
    name: str,
    what: str,
    broken: Callable[[Dictation], bool],
    champion: tuple[Dictation, ...],
    challenger: tuple[Dictation, ...],
) -> RuleOutcome:
    """Dictations newly broken in one way, less those put right, are no more than chance breaks."""
    pairs = list(zip(champion, challenger, strict=True))
    new = sum(broken(b) and not broken(a) for a, b in pairs)
    fixed = sum(broken(a) and not broken(b) for a, b in pairs)
    allowed = BY_CHANCE * len(pairs)
    return RuleOutcome(
        rule=f"long-form-{name}",
        outcome="fail" if new - fixed > allowed else "pass",
        figure=new - fixed,
        bound=allowed,
        reason=f"{new} of {len(pairs)} dictations newly {what}, {fixed} no longer do",
    )


def _lost(one: Dictation) -> bool:
    return one.longest_deletion >= LOST_WORDS


def _loops(one: Dictation) -> bool:
    return one.repeated > 0


def _disordered(one: Dictation) -> bool:
    return not one.in_order
