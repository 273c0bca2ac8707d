"""How long a training is, in steps: as many as its epochs hold, or as it was told.

Pure: epochs and shares come from the configuration, the length of an epoch from the data.
"""

from __future__ import annotations

from dataclasses import dataclass

from whisper_retrain.config import TrainingConfig

LEARNING_RATES = {384: 3.75e-5, 512: 2.5e-5, 768: 1.25e-5, 1024: 6.25e-6, 1280: 4.4e-6}
"""By width: a fortieth of pre-training's peak (Radford et al. 2022, table 17)."""
DECAY_SHARE = 0.2
"""Of the steps, where the rate is constant before (Hägele et al. 2024, arXiv 2405.18392)."""
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
    constant_steps: int = 0
    """After the warm-up, at the peak rate until this step; 0: the rate falls at once."""

    def rate(self, step: int, peak: float) -> float:
        """Of step 0, 1, ...: up to the peak, perhaps constant, down to 0 after the last."""
        if step < self.warmup_steps:
            return peak * (step + 1) / self.warmup_steps
        falls_from = max(self.warmup_steps, self.constant_steps)
        if step < falls_from:
            return peak
        return peak * (self.steps - step) / max(1, self.steps - falls_from)


def default_rate(width: int) -> float:
    """Peak learning rate of the size whose width (`d_model`) is nearest."""
    return LEARNING_RATES[min(LEARNING_RATES, key=lambda known: abs(known - width))]


def schedule_of(config: TrainingConfig, steps_per_epoch: int) -> Schedule:
    """The schedule over data of which an epoch takes so many steps."""
    steps = max(1, round((config.epochs or DEFAULT_EPOCHS) * steps_per_epoch))
    if config.max_steps is not None:
        steps = config.max_steps if config.epochs is None else min(steps, config.max_steps)
    warmup_steps = round(config.warmup_share * steps)
    constant = config.decay == "last-fifth"
    return Schedule(
        steps=steps,
        warmup_steps=warmup_steps,
        eval_steps=max(1, round(config.eval_share * steps)),
        constant_steps=max(warmup_steps, round((1 - DECAY_SHARE) * steps)) if constant else 0,
    )


def passes(steps: int, batch_size: int, utterances: int) -> float:
    """How often each utterance was drawn, on average."""
    return round(steps * batch_size / utterances, 2)
