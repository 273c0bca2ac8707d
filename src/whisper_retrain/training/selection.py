"""Which weights a training hands on: the best step's, or a mixture that validates no worse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whisper_retrain.config import TrainingConfig
from whisper_retrain.training.course import Course
from whisper_retrain.training.model import load_model
from whisper_retrain.training.weights import (
    KeptWeights,
    average,
    interpolate,
    set_weights,
    weights_of,
)


@dataclass(frozen=True)
class Selection:
    """The step, its validation WER, and the steps whose mean it is (none: its own weights)."""

    step: int
    """Whose weights they are."""
    wer: float
    """Of the validation split, a fraction."""
    averaged_steps: tuple[int, ...] = ()
    """Whose mean they are; none: those of `step` alone."""


def select_weights(
    model: Any,
    course: Course,
    kept: KeptWeights,
    config: TrainingConfig,
    base_dir: Path,
    validate: Callable[[str], float],
) -> Selection:
    """Put the chosen weights into a plain model; `validate(what)` gives the WER of what is in it.

    The average of checkpoints is taken only when its WER is not above the best step's. A share of
    the base model is mixed in because it was asked for, and its WER is the one reported.
    """
    best = course.best_step or course.step
    chosen = Selection(best, course.best_wer)
    steps = course.to_average(config)
    if len(steps) > 1:
        set_weights(model, average(kept.read(step) for step in steps))
        wer = validate(f"the average of steps {', '.join(map(str, steps))}")
        if wer <= chosen.wer:
            chosen = Selection(best, wer, tuple(steps))
    if not chosen.averaged_steps:
        set_weights(model, kept.read(best))
    if config.base_share:
        base = weights_of(load_model(base_dir))
        set_weights(model, interpolate(weights_of(model), base, config.base_share))
        wer = validate(f"the mixture with {100 * config.base_share:.0f} % of the base model")
        chosen = Selection(chosen.step, wer, chosen.averaged_steps)
    return chosen
