"""Where a challenger only forgets everyday speech: what share of the base model mends it; pure.

Chosen on validation data alone: general speech by other speakers than the guard's, and the
dataset's own validation split. The guard's set is asked once more, and only about the chosen one.
"""

from __future__ import annotations

from collections.abc import Sequence

from whisper_retrain.gate.ledger import worth_a_look
from whisper_retrain.records import Counts, Decision, Pair, Record
from whisper_retrain.training.candidates import BASE, BASE_SHARES, Candidate

GUARD = "general-speech"
"""The rule."""
CHALLENGER = "challenger"
"""Part of a merge: what the gate refused."""


class Given(Record):
    """An average of challenger and base model, and what it makes of the two validation splits."""

    name: str
    """What it is called."""
    general: Counts
    """Words of general speech."""
    own: Counts
    """Words of the dataset's validation split."""


class Remembering(Record):
    """What was tried against forgetting."""

    general_validation: str
    """Digest of the general validation split."""
    guard_test_set: str
    """Digest of the guard's own, which shares no speaker with it."""
    champion: Given
    """What the averages must not fall behind."""
    tried: tuple[Given, ...]
    """The averages, the smallest share of the base model first."""
    winner: str | None
    """The one that goes to the gate; None: none is worth a look."""
    reason: str
    """A sentence for people."""


def only_forgets(decision: Decision) -> bool:
    """Whether general speech is the one rule that stands in the way."""
    against = {one.rule for one in decision.rules if one.outcome in {"fail", "inconclusive"}}
    return against == {GUARD}


def averages() -> tuple[Candidate, ...]:
    """What is tried, the smallest share of the base model first."""
    return tuple(
        Candidate(
            name=f"remember-base-{100 * share:.0f}",
            kind="merge",
            parts={CHALLENGER: 1 - share, BASE: share},
        )
        for share in BASE_SHARES
    )


def choose_average(
    general_validation: str, guard_test_set: str, champion: Given, tried: Sequence[Given]
) -> Remembering:
    """The one with the fewest errors of those that hear general speech no worse than the champion.

    On the dataset's own validation split it must make fewer errors than the champion. Figures are
    compared plainly: the guard's test is the gate's.
    """
    fit = [
        one
        for one in tried
        if one.general.error_rate <= champion.general.error_rate
        and worth_a_look(Pair(champion=champion.own, challenger=one.own))
    ]
    won = min(fit, key=lambda one: one.own.error_rate, default=None)
    if won is None:
        reason = (
            "no average with the base model hears general speech as well as the champion does and"
            " makes fewer errors than it on the validation split"
        )
    else:
        reason = (
            f"{won.name}: WER {won.general.error_rate:.2%} on general validation speech (champion"
            f" {champion.general.error_rate:.2%}), {won.own.error_rate:.2%} on the validation split"
            f" (champion {champion.own.error_rate:.2%})"
        )
    return Remembering(
        general_validation=general_validation,
        guard_test_set=guard_test_set,
        champion=champion,
        tried=tuple(tried),
        winner=won.name if won else None,
        reason=reason,
    )
