"""What a tuning will cost, and how much of it fits into what may be spent; pure.

A cost is seconds of training and of transcribing the validation split, on whatever device does it,
as their records say; loading a model is left out. Predictions rest on steps that were measured.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from whisper_retrain.config import Config
from whisper_retrain.errors import InputError
from whisper_retrain.records import DatasetRevision, Record, TrainingRun
from whisper_retrain.tuning.halving import epochs_trained, go_on

TOLERANCE = 0.05
"""So much more than the budget may be spent, for no prediction is exact."""
LEAST_TRIALS = 2
"""The settings as they are, and others beside them."""


class TuningBudget(Config):
    """How much may be spent, and what makes it worth while."""

    seconds: float = Field(
        28_800.0,
        title="Budget (compute-seconds)",
        description="Of training and validating, all trials together: GPU-seconds on a GPU.",
        gt=0,
    )
    trials: int = Field(
        8,
        title="Trials at most",
        description="On the first rung; with less budget there are fewer. The first has the "
        "settings as they are.",
        ge=LEAST_TRIALS,
        le=64,
    )
    min_validation_words: int = Field(
        2500,
        title="Least validation split (reference words)",
        description="With fewer words settings can't be told apart, and tuning picks by chance.",
        ge=0,
    )


class Pace(Record):
    """What was measured: how fast trainings of this model on this dataset are."""

    epoch_s: float
    """Of one epoch, with the validations on the way."""
    evaluation_s: float
    """To transcribe the validation split once."""


def pace_before(
    run: TrainingRun, then: DatasetRevision, real_time_factor: float, now: DatasetRevision
) -> Pace | None:
    """What an earlier training tells of trainings on the dataset as it is now; None: nothing."""
    if not run.passes or not then.splits["train"].hours:
        return None
    growth = now.splits["train"].hours / then.splits["train"].hours
    return Pace(
        epoch_s=run.duration_s / run.passes * growth,
        evaluation_s=real_time_factor * 3600 * now.splits["validation"].hours,
    )


def rung_s(pace: Pace, epochs: Sequence[float], rung: int) -> float:
    """Predicted cost of one trial on one rung."""
    return pace.epoch_s * epochs_trained(epochs, rung) + pace.evaluation_s


def confirmation_s(pace: Pace, epochs: Sequence[float]) -> float:
    """Predicted cost of the winner's other seed, which trains from the beginning."""
    return pace.epoch_s * epochs[-1] + pace.evaluation_s


def predicted_s(pace: Pace, epochs: Sequence[float], trials: int, first_rung: int = 0) -> float:
    """Predicted cost of so many trials from a rung on, halved after each, without confirmation."""
    total, left = 0.0, trials
    for rung in range(first_rung, len(epochs)):
        total += left * rung_s(pace, epochs, rung)
        left = go_on(left)
    return total


def starters(budget: TuningBudget, pace: Pace, epochs: Sequence[float]) -> int:
    """How many trials begin: as many as fit with all that follows.

    InputError when the budget has no room for one trial beside the settings as they are.
    """
    confirmed_s = confirmation_s(pace, epochs)
    for trials in range(budget.trials, LEAST_TRIALS - 1, -1):
        if predicted_s(pace, epochs, trials) + confirmed_s <= budget.seconds:
            return trials
    least_s = predicted_s(pace, epochs, LEAST_TRIALS) + confirmed_s
    raise InputError(
        "the budget is too small for one trial beside the settings as they are",
        where="budget.seconds",
        expected=f"at least {least_s:.0f} s",
        got=f"{budget.seconds:.0f} s, at {pace.epoch_s:.0f} s an epoch and "
        f"{pace.evaluation_s:.0f} s a validation",
        remedy="raise the budget, or let the rungs of the space have fewer epochs",
    )


def affordable(
    budget: TuningBudget,
    spent_s: float,
    pace: Pace,
    epochs: Sequence[float],
    rung: int,
    wanted: int,
) -> int:
    """How many trials go on to a rung, so that what follows still fits; 0: the budget is used up.

    The last one may use the tolerance, and what is set aside for the confirmation.
    """
    left_s = budget.seconds - spent_s
    for trials in range(wanted, 0, -1):
        needed_s = predicted_s(pace, epochs, trials, rung)
        if needed_s + confirmation_s(pace, epochs) <= left_s:
            return trials
    return int(rung_s(pace, epochs, rung) <= left_s + TOLERANCE * budget.seconds)


def has_room_to_begin(
    budget: TuningBudget, spent_s: float, pace: Pace, epochs: Sequence[float], begun: int
) -> bool:
    """Whether one more trial may begin after so many, with all that follows."""
    rest_s = predicted_s(pace, epochs, go_on(begun + 1), 1) + confirmation_s(pace, epochs)
    return spent_s + rung_s(pace, epochs, 0) + rest_s <= budget.seconds


def is_confirmation_affordable(
    budget: TuningBudget, spent_s: float, pace: Pace, length: float
) -> bool:
    """Whether the winner can be trained once more, for so many epochs, with another seed."""
    needed_s = pace.epoch_s * length + pace.evaluation_s
    return spent_s + needed_s <= (1 + TOLERANCE) * budget.seconds
