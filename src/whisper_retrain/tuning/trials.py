"""A tuning's order, its trials and what came of them, in S3.

Everything below `tune/v1/<digest>/` is written once. A trial's point is fixed before it begins, by
create-if-absent: a tuning that goes on after a kill, or a second one beside the first, takes the
points that are there, finds trainings and outcomes by their digests, and comes to the same end.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal

from whisper_retrain.config import DecodingConfig, TrainingConfig
from whisper_retrain.edges.store import ObjectStore, read_record, write_record
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.records import (
    DatasetRevision,
    EvaluationReport,
    Job,
    ModelRef,
    Record,
    TrainingRun,
)
from whisper_retrain.tuning.halving import epochs_trained
from whisper_retrain.tuning.space import SearchSpace, Value, settings_of

Origin = Literal["as now", "table", "optuna"]
CONFIRMATION = -1
"""The rung of the winner's other seed."""


class TuningJob(Job):
    """Find settings for fine-tuning this base model on this dataset revision.

    Budget and number of trials are no part of it: with more of them the same tuning goes on.
    """

    stage: ClassVar[str] = "tune"
    version: ClassVar[str] = "v1"

    dataset: DatasetRevision
    """Its train split is trained on, its validation split says what is better."""
    base_model: ModelRef
    """What every trial starts from; from the Hub."""
    default_rate: float
    """Peak learning rate of its size, which the space's rates are multiples of."""
    training: TrainingConfig
    """The settings as they are; what the space leaves alone stays so."""
    decoding: DecodingConfig
    """How the validation split is transcribed."""
    space: SearchSpace
    """What is varied."""
    policy: GatePolicy
    """Its own medical terms, and the bootstrap of comparisons."""

    @property
    def inputs(self) -> dict[str, Any]:
        """What trials and their order depend on."""
        left_out = set(TrainingConfig.operational | self.training.unchanged)
        return {
            "dataset": self.dataset.digest,
            "model": self.base_model.model_digest,
            "training": self.training.model_dump(mode="json", exclude=left_out),
            "decoding": self.decoding.model_dump(mode="json"),
            "space": self.space.digest,
            "policy": self.policy.digest,
        }

    def settings(self, trial: Trial) -> TrainingConfig:
        """Those of a trial, before its length is set by a rung."""
        return settings_of(trial.point, self.training, self.default_rate)


class Trial(Record):
    """A point that is tried."""

    number: int
    """From 0, which has the settings as they are."""
    point: dict[str, Value]
    """Dimension of the space -> value."""
    origin: Origin
    """Who chose it."""


class Outcome(Record):
    """What came of a trial on a rung."""

    trial: int
    """Its number."""
    rung: int
    """From 0; -1: the winner's other seed."""
    epochs: float
    """That its training was to have."""
    seed: int
    """Of its training."""
    run: str | None
    """Digest of the TrainingRun; None where it diverged."""
    report: EvaluationReport | None
    """Of the validation split; None where it diverged."""
    training_s: float
    """Spent on this rung, earlier rungs left out."""
    evaluation_s: float
    """To transcribe the validation split."""
    whole_s: float
    """What a training like it takes from the beginning, with its validation."""
    trunk: str | None = None
    """Prefix of the state that the next rung goes on from."""
    diverged: str | None = None
    """What was said when it diverged; None: it did not."""

    @property
    def cost_s(self) -> float:
        """Of the budget."""
        return self.training_s + self.evaluation_s


class Tuning(Record):
    """What is known of a tuning before its first trial; later ones find it by its base model."""

    base_model: str
    """Digest of the base model's files."""
    space: SearchSpace
    """What was varied."""
    base_wer: float
    """Of the base model on the validation split: outcomes are shares of it to later tunings."""


class Known(Record):
    """A trial as the sampler sees it."""

    point: dict[str, Value]
    """What was tried."""
    losses: dict[int, float]
    """Rung -> WER relative to the base model's; infinite where it diverged."""
    finished: bool
    """Whether it came to the last rung, or diverged."""


def outcome_of(
    trial: Trial, rung: int, epochs: float, run: TrainingRun, report: EvaluationReport
) -> Outcome:
    """What came of a training that ended well."""
    evaluation_s = report.real_time_factor * report.audio_s
    return Outcome(
        trial=trial.number,
        rung=rung,
        epochs=epochs,
        seed=run.seed,
        run=run.digest,
        report=report,
        training_s=round(run.duration_s - run.inherited_s, 2),
        evaluation_s=round(evaluation_s, 2),
        whole_s=round(run.duration_s + evaluation_s, 2),
        trunk=run.trunk,
    )


def diverged_at(
    trial: Trial, rung: int, epochs: float, seed: int, took_s: float, reason: str
) -> Outcome:
    """What came of a training that diverged, after so long; it takes no further part."""
    return Outcome(
        trial=trial.number,
        rung=rung,
        epochs=epochs,
        seed=seed,
        run=None,
        report=None,
        training_s=round(took_s, 2),
        evaluation_s=0.0,
        whole_s=round(took_s, 2),
        diverged=reason,
    )


class Trials:
    """The trials of one tuning in S3."""

    def __init__(self, store: ObjectStore, job: TuningJob) -> None:
        self._store, self.job = store, job

    def begin(self, base_wer: float) -> None:
        """Note what later tunings ask for."""
        tuning = Tuning(
            base_model=self.job.base_model.model_digest, space=self.job.space, base_wer=base_wer
        )
        write_record(self._store, f"{self.job.prefix}/tuning.json", tuning)

    def all(self) -> list[Trial]:
        """By number."""
        return _trials(self._store, self.job.prefix)

    def add(self, trial: Trial) -> Trial:
        """Fix a trial; returns the one that is there, if somebody was first."""
        key = f"{self.job.prefix}/trials/{trial.number:04d}.json"
        if self._store.create(key, trial.model_dump_json(indent=1).encode()):
            return trial
        return read_record(self._store, key, Trial) or trial

    def outcomes(self) -> list[Outcome]:
        """By rung, then by trial; the winner's other seed last."""
        return _outcomes(self._store, self.job.prefix)

    def find(self, trial: Trial, rung: int, epochs: float) -> Outcome | None:
        """What came of a trial on a rung, if it is known."""
        return read_record(self._store, self._outcome_key(trial.number, rung, epochs), Outcome)

    def keep(self, outcome: Outcome) -> Outcome:
        """Store what came of a trial on a rung."""
        key = self._outcome_key(outcome.trial, outcome.rung, outcome.epochs)
        write_record(self._store, key, outcome)
        return outcome

    def _outcome_key(self, trial: int, rung: int, epochs: float) -> str:
        where = f"confirmed-{epochs:g}" if rung == CONFIRMATION else f"{rung}"
        return f"{self.job.prefix}/outcomes/{where}-{trial:04d}.json"

    def earlier(self) -> list[Known]:
        """Trials of other tunings of the same base model on the same rungs, whatever the data."""
        known = []
        for key in [k for k in self._store.keys(FOLDER) if k.endswith("/tuning.json")]:
            prefix = key.removesuffix("/tuning.json")
            tuning = read_record(self._store, key, Tuning)
            if tuning is None or prefix == self.job.prefix:
                continue
            of_ours = tuning.base_model == self.job.base_model.model_digest
            if of_ours and tuning.space.epochs == self.job.space.epochs:
                trials, outcomes = _trials(self._store, prefix), _outcomes(self._store, prefix)
                known += known_of(trials, outcomes, tuning.base_wer, len(tuning.space.epochs))
        return known


def known_of(
    trials: Iterable[Trial], outcomes: Iterable[Outcome], base_wer: float, rungs: int
) -> list[Known]:
    """Trials with what came of them, as a sampler sees them; those without an outcome left out."""
    losses: dict[int, dict[int, float]] = {}
    for one in outcomes:
        if one.rung != CONFIRMATION:
            wer = one.report.words.error_rate if one.report else float("inf")
            losses.setdefault(one.trial, {})[one.rung] = wer / (base_wer or 1.0)
    found = [(trial, losses[trial.number]) for trial in trials if trial.number in losses]
    return [
        Known(
            point=trial.point,
            losses=seen,
            finished=rungs - 1 in seen or float("inf") in seen.values(),
        )
        for trial, seen in found
    ]


def spent_s(outcomes: Iterable[Outcome]) -> float:
    """Of the budget."""
    return sum(one.cost_s for one in outcomes)


def measured_epochs(outcomes: Iterable[Outcome], epochs: tuple[float, ...]) -> float:
    """Epochs that were trained for these outcomes, diverged ones left out."""
    return sum(
        one.epochs if one.rung == CONFIRMATION else epochs_trained(epochs, one.rung)
        for one in outcomes
        if one.report
    )


FOLDER = "tune/v1/"


def _trials(store: ObjectStore, prefix: str) -> list[Trial]:
    found = (read_record(store, key, Trial) for key in sorted(store.keys(f"{prefix}/trials/")))
    return [one for one in found if one]


def _outcomes(store: ObjectStore, prefix: str) -> list[Outcome]:
    found = (read_record(store, key, Outcome) for key in sorted(store.keys(f"{prefix}/outcomes/")))
    return [one for one in found if one]
