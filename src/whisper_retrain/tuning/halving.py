"""Successive halving: what each rung trains, and how many trials go on to the next; pure.

All trials train for a few epochs; the better half of them for twice as many, and so on (Jamieson
and Talwalkar 2016, arXiv 1502.07943). A trial goes on from the state that it had before its rate
fell, so that a rung's model is the very one that a training of that length would have given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from whisper_retrain.config import TrainingConfig
from whisper_retrain.training.schedule import DECAY_SHARE


def rung_settings(
    settings: TrainingConfig, epochs: Sequence[float], rung: int, *, keep_trunk: bool = True
) -> TrainingConfig:
    """The settings of a trial on a rung.

    Warm-up and the distance of validations are the same on all rungs, for they share their steps:
    the warm-up is a share of the shortest, and validations are as far apart as on the longest, as
    far as the shortest has one.
    """
    shortest, longest, length = epochs[0], epochs[-1], epochs[rung]
    every = min(settings.eval_share * longest, shortest)
    changes = {
        "epochs": length,
        "max_steps": None,
        "decay": "last-fifth",
        "warmup_share": settings.warmup_share * shortest / length,
        "eval_share": every / length,
        "validate_base": False,
        "keep_trunk": keep_trunk and rung < len(epochs) - 1,
    }
    return TrainingConfig(**settings.model_dump() | changes)


def epochs_trained(epochs: Sequence[float], rung: int) -> float:
    """What a trial trains on a rung: up to its length, from where the one before began to decay."""
    before = (1 - DECAY_SHARE) * epochs[rung - 1] if rung else 0.0
    return epochs[rung] - before


def go_on(trials: int) -> int:
    """How many of so many trials go on: the better half."""
    return math.ceil(trials / 2)
