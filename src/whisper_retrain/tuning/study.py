"""Which point to try next: Optuna's study, rebuilt from our records; else a fixed table.

Nothing of Optuna's is stored: our records are its memory, so that trials of earlier tunings are its
prior, and a tuning that was killed goes on where it was. A trial that stayed behind on a rung is
`pruned` to it, and counts by how far it came, then by its loss there.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import count, islice
from math import isfinite
from typing import TYPE_CHECKING, Any

from whisper_retrain.tuning.space import RATE, Point, SearchSpace, table_point
from whisper_retrain.tuning.trials import Known, Origin

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

RANDOM_TRIALS = 4
"""Before the sampler's model of good and bad points is worth anything."""
DIVERGED_LOSS = 10.0
"""Relative to the base model's WER: worse than any that ended."""
TRIES = 200
"""In a small space most points are there already."""


def next_point(
    space: SearchSpace, taken: Sequence[Point], known: Sequence[Known], seed: int
) -> tuple[Point, Origin] | None:
    """A point that was not taken; None when the space has no other.

    `known` are trials of this and of earlier tunings. The same arguments give the same point.
    """
    if find_spec("optuna"):
        proposed = _by_optuna(space, known, seed)
        if proposed not in taken:
            return proposed, "optuna"
    for number in islice(count(), TRIES):
        point = table_point(space, number)
        if point not in taken:
            return point, "table"
    return None


def _by_optuna(space: SearchSpace, known: Sequence[Known], seed: int) -> Point:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(n_startup_trials=RANDOM_TRIALS, seed=seed)
    study = optuna.create_study(sampler=sampler)
    distributions = _distributions(space)
    for one in known:
        if space.holds(one.point):
            study.add_trial(_frozen(one, distributions))
    asked = study.ask(distributions).params
    return {name: float(f"{v:.4g}") if name == RATE else v for name, v in asked.items()}


def _distributions(space: SearchSpace) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    rate = FloatDistribution(space.lowest_rate, space.highest_rate, log=True)
    choices = {name: CategoricalDistribution(values) for name, values in space.choices.items()}
    return {RATE: rate, **choices}


def _frozen(known: Known, distributions: dict[str, Any]) -> FrozenTrial:
    from optuna.trial import TrialState, create_trial

    losses = {
        rung: loss if isfinite(loss) else DIVERGED_LOSS for rung, loss in known.losses.items()
    }
    return create_trial(
        state=TrialState.COMPLETE if known.finished else TrialState.PRUNED,
        value=losses[max(losses)] if known.finished else None,
        params=known.point,
        distributions=distributions,
        intermediate_values=losses,
    )
