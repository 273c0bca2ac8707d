"""How long a training is, in steps: as many as its epochs hold, or as it was told.

Pure: epochs and shares come from the configuration, the length of an epoch from the data.
"""

from __future__ import annotations

from dataclasses import dataclass

from whisper_retrain.config import TrainingConfig

DEFAULT_EPOCHS = 6.0
"""The demo corpus' best training of 60, 120 and 240 steps saw each utterance 6.8 times."""


@dataclass(frozen=True)
class Schedule:
    """Optimizer steps of one training, if patience does not end it before."""

    steps: int
    """In all."""
    warmup_steps: int
    """In which the learning rate rises."""
    eval_steps: int
    """From one validation to the next."""


def schedule_of(config: TrainingConfig, steps_per_epoch: int) -> Schedule:
    """The schedule over data of which an epoch takes so many steps."""
    steps = max(1, round((config.epochs or DEFAULT_EPOCHS) * steps_per_epoch))
    if config.max_steps is not None:
        steps = config.max_steps if config.epochs is None else min(steps, config.max_steps)
    return Schedule(
        steps=steps,
        warmup_steps=round(config.warmup_share * steps),
        eval_steps=max(1, round(config.eval_share * steps)),
    )


def passes(steps: int, batch_size: int, utterances: int) -> float:
    """How often each utterance was drawn, on average."""
    return round(steps * batch_size / utterances, 2)
