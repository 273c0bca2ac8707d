"""Tasks of a tuning: its order, the next points, survivors, the proposal, and its acceptance."""

from __future__ import annotations

import json

from prefect import get_run_logger, task

from tasks.candidates import Validation
from tasks.policies import LOOKUP
from tasks.services import cache_dir, hub, settings, store
from whisper_retrain import model_files
from whisper_retrain.config import ReleaseConfig, TrainingConfig
from whisper_retrain.edges.clock import SystemClock
from whisper_retrain.errors import InputError
from whisper_retrain.evaluation.jobs import load_evaluation
from whisper_retrain.history.retrainings import latest_retraining
from whisper_retrain.records import EvaluationReport, ModelRef, Record, TrainingRun
from whisper_retrain.release.evidence import Evidence
from whisper_retrain.training.schedule import default_rate
from whisper_retrain.training.trunk import forget_trunk
from whisper_retrain.tuning import proposal as proposals
from whisper_retrain.tuning.budget import (
    LEAST_TRIALS,
    Pace,
    TuningBudget,
    confirmation_s,
    has_room_to_begin,
    is_confirmation_affordable,
    pace_before,
    predicted_s,
    starters,
)
from whisper_retrain.tuning.conclusion import (
    AS_NOW,
    Evaluations,
    concluded,
    pace_of,
    survivors,
    winner_of,
)
from whisper_retrain.tuning.proposal import Proposal
from whisper_retrain.tuning.space import SearchSpace, point_of
from whisper_retrain.tuning.study import next_point
from whisper_retrain.tuning.trials import (
    CONFIRMATION,
    Outcome,
    Trial,
    Trials,
    TuningJob,
    diverged_at,
    known_of,
    outcome_of,
    spent_s,
)


class TuningOrder(Record):
    """A tuning, what may be spent on it, and whom it is for."""

    job: TuningJob
    """What is tuned."""
    budget: TuningBudget
    """What may be spent."""
    release_repo: str
    """Whose retrainings may follow it."""
    validation: Validation
    """The split that settings are compared on."""

    @property
    def trials(self) -> Trials:
        """Its trials in S3."""
        return Trials(store(), self.job)


@task(task_run_name="order-tuning", **LOOKUP)
def order_tuning(
    validation: Validation,
    base_model: ModelRef,
    training: TrainingConfig,
    space: SearchSpace,
    budget: TuningBudget,
    release: ReleaseConfig,
) -> TuningOrder:
    """Refuse what cannot be tuned, and say what it will cost, as far as earlier trainings tell."""
    if validation.words < budget.min_validation_words:
        raise InputError(
            "the validation split is too small to tell settings apart",
            where="dataset.splits.validation_share",
            expected=f"at least {budget.min_validation_words} reference words: with fewer, chance "
            "decides which settings look best",
            got=f"{validation.words}",
            remedy="set a larger share aside for validation, or bring more recordings",
        )
    job = TuningJob(
        dataset=validation.dataset,
        base_model=base_model,
        default_rate=_default_rate(base_model),
        training=training,
        decoding=validation.decoding,
        space=space,
        policy=validation.policy,
    )
    _say_cost(job, budget, release)
    return TuningOrder(job=job, budget=budget, release_repo=release.repo, validation=validation)


def _default_rate(base: ModelRef) -> float:
    """By the width that its configuration names."""
    if base.repo is None or base.revision is None:
        raise ValueError("what training starts from comes from the Hub")
    folder = model_files.fetch_revision(hub(), base.repo, base.revision, cache_dir("models"))
    return default_rate(int(json.loads((folder / "config.json").read_bytes())["d_model"]))


def _say_cost(job: TuningJob, budget: TuningBudget, release: ReleaseConfig) -> None:
    last = latest_retraining(store(), release)
    pace = _pace_of_last(last.evidence, job) if last else None
    if pace:
        _log_prediction(pace, budget, job, "the last retraining")
    else:
        text = "budget %.0f compute-seconds; the first trial measures what the others cost"
        get_run_logger().info(text, budget.seconds)


def _pace_of_last(evidence: Evidence, job: TuningJob) -> Pace | None:
    """Of the last retraining, if its base model was this one."""
    if evidence.run.base_model.model_digest != job.base_model.model_digest:
        return None
    factor = evidence.challenger.real_time_factor
    return pace_before(evidence.run, evidence.dataset, factor, job.dataset)


def _log_prediction(pace: Pace, budget: TuningBudget, job: TuningJob, by: str) -> int:
    epochs = job.space.epochs
    trials = starters(budget, pace, epochs)
    total_s = predicted_s(pace, epochs, trials) + confirmation_s(pace, epochs)
    get_run_logger().info(
        "%d trials, %.0f of %.0f compute-seconds predicted by %s",
        trials,
        total_s,
        budget.seconds,
        by,
    )
    return trials


@task(task_run_name="begin-tuning", **LOOKUP)
def begin_tuning(order: TuningOrder, base: EvaluationReport) -> Trial:
    """Note the base model's WER for later tunings; the first trial: the settings as they are."""
    order.trials.begin(base.words.error_rate)
    job = order.job
    now = point_of(job.space, job.training, job.default_rate)
    return order.trials.add(Trial(number=AS_NOW, point=now, origin="as now"))


@task(task_run_name="count-starters", **LOOKUP)
def count_starters(order: TuningOrder) -> int:
    """How many trials fit into the budget, as the first one's steps tell.

    Those that were begun by an earlier try of this tuning stay.
    """
    trials = order.trials
    first = [one for one in trials.outcomes() if (one.trial, one.rung) == (AS_NOW, 0)]
    if not first or first[0].report is None:
        raise InputError(
            "training diverges with the settings as they are, so nothing tells what trials cost",
            where="training",
            got=first[0].diverged or "" if first else "",
            remedy="lower training.learning_rate, or lengthen its warm-up",
        )
    pace = pace_of(first, order.job.space.epochs)
    number = _log_prediction(pace, order.budget, order.job, "the first trial")
    return max(number, len(trials.all()))


@task(task_run_name="ask-for-trial-{number}", **LOOKUP)
def ask_trial(order: TuningOrder, number: int, base_wer: float) -> Trial | None:
    """The point of a trial: the one that was fixed before, or a new one.

    None where the space has no other, or where trials proved slower than the first.
    """
    trials, job = order.trials, order.job
    made, outcomes = trials.all(), trials.outcomes()
    if number < len(made):
        return made[number]
    epochs = job.space.epochs
    pace = pace_of(outcomes, epochs)
    if number >= LEAST_TRIALS and not has_room_to_begin(
        order.budget, spent_s(outcomes), pace, epochs, number
    ):
        get_run_logger().info("no room in the budget for trial %d", number)
        return None
    known = trials.earlier() + known_of(made, outcomes, base_wer, len(epochs))
    seed = int(job.digest[:8], 16) + number
    found = next_point(job.space, [one.point for one in made], known, seed % 2**32)
    if found is None:
        get_run_logger().info("the space has no more than %d points", len(made))
        return None
    point, origin = found
    return trials.add(Trial(number=number, point=point, origin=origin))


@task(task_run_name="find-outcome", **LOOKUP)
def find_outcome(order: TuningOrder, trial: Trial, rung: int, epochs: float) -> Outcome | None:
    """What came of a trial on a rung, if an earlier try of this tuning knows."""
    return order.trials.find(trial, rung, epochs)


@task(task_run_name="keep-outcome", **LOOKUP)
def keep_outcome(
    order: TuningOrder,
    trial: Trial,
    rung: int,
    epochs: float,
    run: TrainingRun,
    report: EvaluationReport,
) -> Outcome:
    """Store what came of a trial on a rung."""
    return order.trials.keep(outcome_of(trial, rung, epochs, run, report))


@task(task_run_name="keep-divergence", **LOOKUP)
def keep_divergence(
    order: TuningOrder, trial: Trial, rung: int, config: TrainingConfig, took_s: float, reason: str
) -> Outcome:
    """Count a trial that diverged; it takes no further part."""
    get_run_logger().warning("trial %d diverged: %s", trial.number, reason)
    epochs = config.epochs or 0.0
    return order.trials.keep(diverged_at(trial, rung, epochs, config.seed, took_s, reason))


@task(task_run_name="choose-survivors", **LOOKUP)
def choose_survivors(order: TuningOrder, rung: int) -> list[Trial]:
    """The trials that go on to a rung; the states of the others are forgotten."""
    trials = order.trials
    outcomes, made = trials.outcomes(), {one.number: one for one in trials.all()}
    numbers = survivors(order.job, order.budget, outcomes, _evaluations(outcomes), rung)
    get_run_logger().info("on to %g epochs: trials %s", order.job.space.epochs[rung], numbers)
    forget_states([one for one in outcomes if one.trial not in numbers])
    return [made[number] for number in numbers]


def forget_states(outcomes: list[Outcome]) -> None:
    """Delete the training states that were kept for a longer training."""
    for prefix in {one.trunk for one in outcomes if one.trunk}:
        forget_trunk(store(), prefix)


def _evaluations(outcomes: list[Outcome]) -> Evaluations:
    return {
        (one.trial, one.rung): load_evaluation(store(), one.report)
        for one in outcomes
        if one.report
    }


@task(task_run_name="choose-winner", **LOOKUP)
def choose_winner(order: TuningOrder) -> tuple[Trial, int] | None:
    """The winner and its rung, to be trained once more; all states that were kept go.

    None where the budget has no room for that, or nothing but the settings as they are won.
    """
    trials = order.trials
    outcomes = trials.outcomes()
    forget_states(outcomes)
    winner = winner_of(outcomes, _evaluations(outcomes), order.job.policy)
    if winner is None or winner.trial == AS_NOW:
        return None
    before = [one for one in outcomes if one.rung != CONFIRMATION]
    pace = pace_of(before, order.job.space.epochs)
    if not is_confirmation_affordable(order.budget, spent_s(before), pace, winner.epochs):
        return None
    return trials.all()[winner.trial], winner.rung


@task(task_run_name="conclude-tuning", **LOOKUP)
def conclude_tuning(order: TuningOrder) -> Proposal:
    """The proposal, stored; the newest one is what `tune/accept` accepts."""
    trials, job = order.trials, order.job
    outcomes = trials.outcomes()
    first = [one for one in outcomes if (one.trial, one.rung) == (AS_NOW, 0)]
    pace, epochs = pace_of(first, job.space.epochs), job.space.epochs
    number = min(len(trials.all()), order.budget.trials)
    predicted = predicted_s(pace, epochs, number) + confirmation_s(pace, epochs)
    made = concluded(
        job, order.release_repo, trials.all(), outcomes, _evaluations(outcomes), order.budget,
        predicted, SystemClock().now(),
    )  # fmt: skip
    proposals.keep_proposal(store(), job.prefix, made)
    return made


def slots() -> int:
    """How many trials train at once: as many as there are GPUs."""
    return settings().gpu_slots or 1
