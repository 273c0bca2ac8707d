"""How much of a year's false promotions a look at a test set may cost.

A test that is right 95 % of the time errs once in 20 looks, and a weekly gate looks 52 times a
year. So a year's alpha is shared out among the looks, most of it to the first ones, where a
fresh test set should decide: look k gets alpha * (0.8 / (k (k + 1)) + 0.2 / planned). By
Bonferroni the probability of any false promotion in `planned` looks is below alpha, however the
looks depend on one another. Looks are counted in history/looks.
"""

from __future__ import annotations

EARLY_SHARE = 0.8


def alpha_of_look(look: int, alpha: float, planned: int) -> float:
    """Alpha of the look-th look (from 1) at one test set; 0 when the year's is used up."""
    if look > planned:
        return 0.0
    return alpha * (EARLY_SHARE / (look * (look + 1)) + (1 - EARLY_SHARE) / planned)
