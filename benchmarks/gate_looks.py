"""What becomes of the alpha that a look spent on a challenger it found better: three ways.

    python benchmarks/gate_looks.py [--years 5000] [--json FILE]

Normal statistics, no guards. Each look's challenger has learnt a little more (exponentially
distributed gains), three in ten have a bad drop and are worse for that look alone. A model keeps
its luck on the test set for as long as it is champion.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np

from whisper_retrain.gate.ledger import FIRST_SHARE, share_of_look

ALPHA, STANDARD_ERROR = 0.05, 0.5
"""A year's, one-sided; points of WER, of a difference of two models."""
FIRST_GAIN, BAD_DROPS = 5.0, 0.3


@dataclass(frozen=True)
class Budget:
    """What the looks of a year have spent so far, as shares of its alpha."""

    lost: float = 0.0
    """By looks that found nothing."""
    found: float = 0.0
    """By looks that found a challenger better."""
    last: float = 0.0
    """Passed on by the last look; 0 where it found nothing."""


Rule = Callable[[int, int, Budget], float]
"""(earlier looks, looks planned, budget) -> the share that a look spends."""


def kept(looks: int, planned: int, budget: Budget) -> float:
    """Spent is spent."""
    spent = budget.lost + budget.found
    return share_of_look(looks, planned, spent=spent, unseen=float(not looks))


def given_back(looks: int, planned: int, budget: Budget) -> float:
    """To all looks that are still planned: the ledger's way."""
    return share_of_look(looks, planned, spent=budget.lost, unseen=float(not looks))


def to_the_next(looks: int, planned: int, budget: Budget) -> float:
    """All of it to the next look, as the fallback procedure does."""
    rest = 1 - budget.lost - budget.last
    return budget.last + rest * max(FIRST_SHARE * (not looks), 1 / (planned - looks))


@dataclass(frozen=True)
class Year:
    """What a year brought."""

    promotions: int
    """Champions replaced."""
    behind: float
    """Points of WER by which December's champion is worse than what could have been."""
    is_wrong: bool
    """Whether any promoted model was no better than its champion."""


def year(rule: Rule, looks: int, gain: float, bad: float, rng: np.random.Generator) -> Year:
    """A year of looks, all of which find what they can."""
    luck = STANDARD_ERROR / 2**0.5
    champion, champions_luck, could_be = 0.0, rng.normal(0, luck), 0.0
    budget, promotions, is_wrong = Budget(), 0, False
    for look in range(looks):
        could_be -= gain * rng.exponential() if look else FIRST_GAIN
        challenger = could_be + (bad if look and rng.random() < BAD_DROPS else 0.0)
        challengers_luck = rng.normal(0, luck)
        seen = (challenger + challengers_luck - champion - champions_luck) / STANDARD_ERROR
        share = rule(look, looks, budget)
        if seen < NormalDist().inv_cdf(ALPHA * share):
            promotions, is_wrong = promotions + 1, is_wrong or challenger >= champion
            champion, champions_luck = challenger, challengers_luck
            budget = Budget(budget.lost, budget.found + share, last=share)
        else:  # what was passed on to it is part of its share, and lost with it
            budget = Budget(budget.lost + share, budget.found)
    return Year(promotions, champion - could_be, is_wrong)


@dataclass(frozen=True)
class Row:
    """Means over many years of one kind."""

    looks: int
    """Of a year, as planned."""
    gain: float
    """Points of WER that a look's challenger has learnt."""
    bad: float
    """Points that a bad drop costs."""
    rule: str
    """What becomes of alpha that found something."""
    promotions: float
    """A year."""
    behind: float
    """Points of WER by which December's champion is worse than what could have been."""
    wrong: float
    """Share of years in which a model was promoted that was no better."""


KINDS = ((12, 1.0, 1.5), (12, 0.5, 1.5), (12, 0.0, 0.5), (52, 0.2, 1.0))
"""(looks, gain a look, cost of a bad drop)."""


def many(rule: Rule, looks: int, gain: float, bad: float, years: int) -> Row:
    """The same years, whatever the rule."""
    rng = np.random.default_rng(1)
    found = [year(rule, looks, gain, bad, rng) for _ in range(years)]
    promotions, behind, wrong = np.mean([list(asdict(one).values()) for one in found], axis=0)
    return Row(looks, gain, bad, rule.__name__.replace("_", " "), promotions, behind, wrong)


def table(rows: list[Row]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(asdict(rows[0])) + " |", "|---:|---:|---:|---|---:|---:|---:|"]
    lines += [
        f"| {one.looks} | {one.gain} | {one.bad} | {one.rule} | {one.promotions:.2f}"
        f" | {one.behind:.2f} | {one.wrong:.1%} |"
        for one in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """A row for each kind of year and each rule."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--years", type=int, default=5000)
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    rules = (kept, given_back, to_the_next)
    rows = [many(rule, *kind, arguments.years) for kind in KINDS for rule in rules]
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(one) for one in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
