"""What has happened in a training so far, and what follows from it: best step, when to stop.

Pure: knows nothing of torch or files, and goes into the training state as JSON.
"""

from __future__ import annotations

from math import sqrt

from pydantic import BaseModel

from whisper_retrain.config import TrainingConfig
from whisper_retrain.records import CurvePoint
from whisper_retrain.training.schedule import Schedule

BASE = 0  # the step before the first: the base model, for reading only


class Course(BaseModel):
    """Steps done, curve, and validation WER by step; changes as the training goes on."""

    step: int = 0
    """Optimizer steps done."""
    points: list[CurvePoint] = []
    """The curve."""
    wers: dict[int, float] = {}
    """Step -> normalised validation WER, a fraction."""
    validation_words: int = 0
    """Reference words that those rest on; 0: unknown."""
    elapsed_s: float = 0.0
    """Since the training began, earlier tries included."""
    audio_s: float = 0.0
    """Trained on so far."""
    training_s: float = 0.0
    """Spent in steps."""
    flop: float = 0.0
    """Floating-point operations of all steps."""
    micro_batch_s: float | None = None
    """Padded seconds of audio that fit in memory at once."""
    resumed_from: list[int] = []
    """Steps at which a later try went on."""
    inherited_s: float = 0.0
    """Of `elapsed_s`, what a shorter training had spent whose trunk this one goes on from."""

    @property
    def trained(self) -> dict[int, float]:
        """Validation WER of the steps that trained something."""
        return {step: wer for step, wer in self.wers.items() if step != BASE}

    @property
    def lowest_step(self) -> int | None:
        """The step with the lowest WER, the earliest of equals; None before any validation."""
        trained = self.trained
        return min(trained, key=lambda step: (trained[step], step)) if trained else None

    @property
    def best_step(self) -> int | None:
        """The latest step within one standard error of the lowest WER; None before any validation.

        A few dozen utterances cannot tell such steps apart, and later ones have learned for longer
        and at a lower rate. The one-standard-error rule is that of Breiman et al. 1984, 3.4.3; the
        error of a WER `p` on `n` words is taken as sqrt(p (1 - p) / n).
        """
        trained, lowest = self.trained, self.lowest_step
        if lowest is None:
            return None
        wer = trained[lowest]
        error = (
            sqrt(max(0.0, wer * (1 - wer)) / self.validation_words) if self.validation_words else 0
        )
        return max(step for step, other in trained.items() if other <= wer + error)

    @property
    def best_wer(self) -> float:
        """WER of the best step; infinite before any validation."""
        best = self.best_step
        return float("inf") if best is None else self.wers[best]

    def validation_is_due(self, config: TrainingConfig, schedule: Schedule) -> bool:
        """Whether the weights of this step are to be validated and have not been."""
        if self.step in self.wers:
            return False
        if self.step == BASE:
            return config.validate_base
        return self.step % schedule.eval_steps == 0 or self.step >= schedule.steps

    def out_of_patience(self, config: TrainingConfig) -> bool:
        """Whether the last `patience` validations brought no better WER."""
        lowest = self.lowest_step
        return lowest is not None and sum(step > lowest for step in self.wers) >= config.patience

    def is_over(self, config: TrainingConfig, schedule: Schedule) -> bool:
        """Whether no step is left to do."""
        return self.step >= schedule.steps or self.out_of_patience(config)

    def wanted(self, config: TrainingConfig) -> list[int]:
        """Steps whose weights are kept: the best one, and those that may be averaged."""
        best = self.best_step
        if best is None:
            return []
        return sorted({best, *self.to_average(config)})

    def to_average(self, config: TrainingConfig) -> list[int]:
        """The last or best validated steps, as the config says; none without averaging."""
        trained = self.trained
        if config.average == "none":
            return []
        order = sorted(trained, key=lambda s: (trained[s], s) if config.average == "best" else -s)
        return sorted(order[: config.average_count])

    def eta_s(self, schedule: Schedule, validation_s: float) -> float | None:
        """Time left if no patience runs out: steps at the mean pace, and validations."""
        if not self.step or not self.training_s:
            return None
        left = schedule.steps - self.step
        validations = -(-left // schedule.eval_steps)
        return round(left * self.training_s / self.step + validations * validation_s, 1)
