"""How much of a year's alpha a look at a test set may spend; pure.

A look is one comparison of two models on a test set. A test that is right 95 % of the time errs
once in 20 looks, and a weekly gate looks 52 times a year. So a year's alpha is shared out: 20 % of
it to the first look, where a fresh test set should decide, and what is left in equal parts to the
looks that are still planned. Data that no look has seen earns more: a test set that is new by half
gets half of what a new one would get, 10 % of what the year has left. No look spends more than the
year has left, so that by Bonferroni the probability of any false promotion in a year is at most
alpha, however the looks depend on one another.

A look that found its challenger better gives back what it spent: either it was right and has cost
nothing, or the year's error is made already (alpha is recycled as in Tian & Ramdas, "Online control
of the familywise error rate", 2021). Looks are counted in history/looks.
"""

from __future__ import annotations

from whisper_retrain.errors import InputError
from whisper_retrain.records import Counts, Pair, Record

FIRST_SHARE = 0.2
"""Of what the year has left, for a look at data that nobody has seen; chosen by simulated years
(docs/gate.md)."""
GUARDS_FIRST_SHARE = 0.4
"""Of the guards' error of a year, for the first look that finds a challenger better: such looks are
few, and the first is likely the one that promotes."""


class Standing(Record):
    """What earlier looks have left of a year's errors."""

    looks: int = 0
    """Earlier looks at the test set within a year."""
    share: float | None = None
    """Of the year's alpha for this look; None: as for a test set that never changed, and on which
    no look found anything."""
    charged: int | None = None
    """Those looks that found the challenger better, whatever the guards said; None: all."""

    def improvement_share(self, planned: int) -> float:
        """Of the year's alpha, for the test of the improvement; 0 when it is used up."""
        found = share_of_look(self.looks, planned)
        return found if self.share is None or not found else self.share

    def guard_share(self, planned: int) -> float:
        """Of the guards' error of a year, for those that protect people.

        Only looks that found a challenger better spend of it: no other could promote one.
        """
        charged = self.looks if self.charged is None else self.charged
        return share_of_look(charged, planned, first=GUARDS_FIRST_SHARE)


def worth_a_look(validation: Pair[Counts]) -> bool:
    """Whether a challenger is better on the validation data; else the test set need not be asked.

    Half of the challengers that are no better are found out here, and spend nothing of the year.
    """
    return validation.challenger.error_rate < validation.champion.error_rate


def share_of_look(
    looks: int,
    planned: int,
    *,
    spent: float | None = None,
    unseen: float | None = None,
    first: float = FIRST_SHARE,
) -> float:
    """The share of a year's alpha that the next look spends, 0 to 1; 0 when it is used up.

    `looks` earlier ones in the year have spent the share `spent`, and `unseen` is the share of the
    test set's words that none of them saw. Without both the test set is one that never changed, and
    on which none of them found anything. `first` goes to the first look of all.
    """
    if looks < 0:
        raise InputError(
            "the number of earlier looks is below 0", where="looks", got=str(looks),
            expected="0 or more",
        )  # fmt: skip
    if looks >= planned:
        return 0.0
    fresh = float(looks == 0) if unseen is None else unseen
    left = 1 - (_spent_before(looks, planned, first) if spent is None else spent)
    return max(0.0, left) * max(first * fresh, 1 / (planned - looks))


def alpha_of_look(look: int, alpha: float, planned: int) -> float:
    """Alpha of the look-th look (from 1) at a test set that never changed; 0 when used up."""
    return alpha * share_of_look(look - 1, planned)


def _spent_before(looks: int, planned: int, first: float) -> float:
    """What so many looks at a test set that never changed have spent, as a share."""
    if not looks:
        return 0.0
    first = max(first, 1 / planned)
    return first + (1 - first) * (looks - 1) / (planned - 1)
