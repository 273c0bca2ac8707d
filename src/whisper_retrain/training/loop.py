"""The loop: steps, validations, the best weights kept, news, and an orderly stop.

Knows nothing of where utterances, weights or states are stored, nor of records.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from whisper_retrain.config import TrainingConfig
from whisper_retrain.edges.tracking import Tracker
from whisper_retrain.errors import InterruptedTrainingError
from whisper_retrain.records import CurvePoint
from whisper_retrain.training.batches import BatchPlan, Portion, StepPlan, share_of
from whisper_retrain.training.compute import peak_memory_bytes
from whisper_retrain.training.course import Course
from whisper_retrain.training.devices import Device
from whisper_retrain.training.lora import merged
from whisper_retrain.training.optimization import Optimization, Prepared, StepResult
from whisper_retrain.training.progress import Reporter
from whisper_retrain.training.schedule import Schedule
from whisper_retrain.training.speech import Example, prefetched
from whisper_retrain.training.validation import Validator
from whisper_retrain.training.weights import KeptWeights, weights_of

logger = logging.getLogger(__name__)
NEWS_INTERVAL_S = 1.0


class StateKeeper(Protocol):
    """Keeps training states; see state.py."""

    def is_due(self) -> bool: ...
    def save(self, course: Course, optimization: Optimization, kept: KeptWeights) -> None: ...
    def wait(self, patience_s: float = ...) -> None: ...


@dataclass
class TrainingLoop:
    """One training on one process; all processes run the same loop in step."""

    config: TrainingConfig
    schedule: Schedule
    optimization: Optimization
    validator: Validator
    plan: BatchPlan
    load: Callable[[Portion, StepPlan], Example]
    course: Course
    kept: KeptWeights
    states: StateKeeper
    reporter: Reporter
    tracker: Tracker
    stopping: Callable[[], bool]
    peak_flop_per_s: float
    trunk: StateKeeper | None = None
    validation_s: float = 0.0
    _news_at: float = 0.0

    @property
    def device(self) -> Device:
        """Where it runs."""
        return self.optimization.device

    def run(self) -> None:
        """Train until the last step or until patience ends; the course says how it went.

        Raises InterruptedTrainingError when told to stop (its state is saved), DivergedError,
        OutOfMemoryError.
        """
        began = time.monotonic() - self.course.elapsed_s
        self._validate_if_due()
        if self.course.is_over(self.config, self.schedule):
            return
        plans = (self.plan.at(s) for s in range(self.course.step, self.schedule.steps))
        steps = prefetched(plans, self._prepared)
        try:
            for prepared in steps:
                self._step(prepared)
                self.course.elapsed_s = time.monotonic() - began
                self._stop_if_told()
                self._validate_if_due()
                self.course.elapsed_s = time.monotonic() - began
                over = self.course.is_over(self.config, self.schedule)
                self._keep_trunk_if_it_ends(over)
                if over:
                    return
                if self.device.is_main and self.states.is_due():
                    self._save("saving the training state")
        finally:
            steps.close()

    def _prepared(self, plan: StepPlan) -> Prepared:
        mine = share_of(plan, self.plan.durations_s, self.device.rank, self.device.ranks)
        return self.optimization.prepare(plan, [self.load(portion, plan) for portion in mine])

    def _step(self, prepared: Prepared) -> None:
        began = time.monotonic()
        result = self.optimization.step(prepared)
        took_s = time.monotonic() - began
        course = self.course
        course.step = prepared.plan.step + 1
        course.training_s += took_s
        course.audio_s += result.audio_s
        course.flop += result.flop
        course.micro_batch_s = self.optimization.budget_s
        # Measured while the machine had other work too, the peak came out too low.
        self.peak_flop_per_s = max(self.peak_flop_per_s, result.flop / took_s / self.device.ranks)
        point = self._point(result, took_s)
        course.points.append(point)
        self._tell(point, result)

    def _point(self, result: StepResult, took_s: float) -> CurvePoint:
        peak = self.peak_flop_per_s * self.device.ranks
        return CurvePoint(
            step=self.course.step,
            loss=round(result.loss, 6),
            learning_rate=self.schedule.rate(self.course.step - 1, self.optimization.peak),
            audio_s_per_s=round(result.audio_s / took_s, 2),
            memory_bytes=peak_memory_bytes(self.device.torch),
            compute_share=round(result.flop / took_s / peak, 4),
            elapsed_s=round(self.course.elapsed_s + took_s, 2),
        )

    def _tell(self, point: CurvePoint, result: StepResult) -> None:
        figures = {f"train/{name}": value for name, value in _figures(point).items()}
        self.tracker.log(point.step, {**figures, "train/gradient_norm": result.gradient_norm})
        last = point.step == self.schedule.steps
        if time.monotonic() - self._news_at < NEWS_INTERVAL_S and not last:
            return
        self._news_at = time.monotonic()
        self.reporter.say(
            "training",
            step=point.step,
            total_steps=self.schedule.steps,
            loss=point.loss,
            learning_rate=point.learning_rate,
            audio_s_per_s=round(self.course.audio_s / self.course.training_s, 1),
            compute_share=point.compute_share,
            memory_bytes=point.memory_bytes,
            eta_s=self.course.eta_s(self.schedule, self.validation_s),
        )

    def _validate_if_due(self) -> None:
        course = self.course
        if not course.validation_is_due(self.config, self.schedule):
            return
        began = time.monotonic()
        name = "the base model" if course.step == 0 else f"step {course.step}"

        def progress(done: int, of: int) -> None:
            self._stop_if_told()
            self.reporter.say("validating", name, done=done, of=of, step=course.step)

        with merged(self.optimization.loss.whisper):
            result = self.validator.run(self.optimization.loss, progress)
            course.wers[course.step] = result.wer
            course.validation_words = self.validator.words
            self._keep()
        course.points.append(
            CurvePoint(
                step=course.step,
                validation_loss=round(result.loss, 6),
                validation_wer=result.wer,
                elapsed_s=round(course.elapsed_s + time.monotonic() - began, 2),
            )
        )
        self.validation_s = time.monotonic() - began
        self.tracker.log(
            course.step, {"validation/wer": result.wer, "validation/loss": result.loss}
        )
        self.reporter.say("validating", f"{name} done", wer=result.wer)
        logger.info("validation of %s: WER %.2f %%", name, 100 * result.wer)

    def _keep(self) -> None:
        wanted = self.course.wanted(self.config)
        # On every machine: its processes read the best weights from its own disk.
        if self.device.is_first_here and self.course.step in wanted:
            self.reporter.say("saving", f"weights of step {self.course.step}")
            self.kept.keep(self.course.step, weights_of(self.optimization.loss.whisper))
        if self.device.is_first_here:
            self.kept.prune(wanted)

    def _stop_if_told(self) -> None:
        """All processes stop at the same place, and only there is a state whole."""
        if not self.device.any(self.stopping()):
            return
        if self.device.is_main:
            self._save("told to stop: saving the training state")
            self.states.wait()
        raise InterruptedTrainingError(
            "training was stopped and saved its state",
            where=f"step {self.course.step} of {self.schedule.steps}",
            remedy="run again: it resumes there",
        )

    def _keep_trunk_if_it_ends(self, over: bool) -> None:
        """It ends where the rate begins to fall, or before, where patience ran out."""
        ends_at = self.schedule.constant_steps
        ends = self.course.step == ends_at or (over and self.course.step < ends_at)
        if self.trunk and self.device.is_main and ends:
            self.reporter.say("saving", "the training state that a longer training goes on from")
            self.trunk.save(self.course, self.optimization, self.kept)

    def _save(self, message: str) -> None:
        self.reporter.say("saving", message)
        self.states.save(self.course, self.optimization, self.kept)


def _figures(point: CurvePoint) -> dict[str, float]:
    found = point.model_dump(exclude={"step"}, exclude_none=True)
    return {name: float(value) for name, value in found.items()}
