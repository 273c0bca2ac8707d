"""From outcomes to survivors, a winner and a proposal; pure.

Knows nothing of where outcomes and transcripts lie: evaluations come as values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from whisper_retrain.evaluation.rows import Evaluation
from whisper_retrain.gate.measures import compare_measure
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.records import Interval, Record
from whisper_retrain.training.candidates import TIE_ALPHA
from whisper_retrain.tuning.budget import Pace, TuningBudget, affordable
from whisper_retrain.tuning.halving import go_on, rung_settings
from whisper_retrain.tuning.objective import Scored, best_of, ranked
from whisper_retrain.tuning.proposal import Confirmation, Proposal, Setting, Tried
from whisper_retrain.tuning.trials import (
    CONFIRMATION,
    Outcome,
    Trial,
    TuningJob,
    measured_epochs,
    spent_s,
)

AS_NOW = 0
"""The trial with the settings as they are."""
LENGTH = ("epochs", "max_steps", "decay", "warmup_share", "eval_share")
"""Settings that a rung sets."""
Evaluations = Mapping[tuple[int, int], Evaluation]
"""(Trial, rung) -> what it makes of the validation split."""


def pace_of(outcomes: Sequence[Outcome], epochs: tuple[float, ...]) -> Pace:
    """How fast trials were so far; what diverged is left out."""
    whole = [one for one in outcomes if one.report]
    return Pace(
        epoch_s=sum(one.training_s for one in whole) / measured_epochs(whole, epochs),
        evaluation_s=sum(one.evaluation_s for one in whole) / len(whole),
    )


def survivors(
    job: TuningJob,
    budget: TuningBudget,
    outcomes: Sequence[Outcome],
    evaluations: Evaluations,
    rung: int,
) -> list[int]:
    """Numbers of the trials that go on to a rung, the best first; none: the budget is used up.

    Only what earlier rungs cost counts, so that a tuning that goes on after a kill chooses alike.
    """
    before = [one for one in outcomes if 0 <= one.rung < rung]
    scored = [_scored(o, evaluations) for o in before if o.rung == rung - 1 and o.report]
    if not scored:
        return []
    epochs = job.space.epochs
    room = affordable(
        budget, spent_s(before), pace_of(before, epochs), epochs, rung, go_on(len(scored))
    )
    return [one.number for one in ranked(scored, job.policy)[:room]]


def winner_of(
    outcomes: Iterable[Outcome], evaluations: Evaluations, policy: GatePolicy
) -> Outcome | None:
    """The best of the trials that came furthest, on whichever rung: that is how long to train."""
    ended = [one for one in outcomes if one.report and one.rung != CONFIRMATION]
    if not ended:
        return None
    last = max(one.rung for one in ended)
    furthest = {one.trial for one in ended if one.rung == last}
    entries = dict(enumerate(one for one in ended if one.trial in furthest))
    scored = [_scored(one, evaluations, number=n) for n, one in entries.items()]
    return entries[best_of(scored, policy).number]


def _scored(outcome: Outcome, evaluations: Evaluations, number: int | None = None) -> Scored:
    return Scored(
        outcome.trial if number is None else number,
        evaluations[outcome.trial, outcome.rung],
        outcome.whole_s,
    )


class Change(Record):
    """The winner against the settings as they are."""

    epochs: float
    """Of the rung on which both were."""
    difference: float
    """In WER, a fraction."""
    interval: Interval
    """Paired, 90 %."""


def change_of(
    winner: Outcome, outcomes: Iterable[Outcome], evaluations: Evaluations, policy: GatePolicy
) -> Change | None:
    """On the last rung that has both; None where the winner has the settings as they are."""
    if winner.trial == AS_NOW:
        return None
    rungs = {n: {o.rung for o in outcomes if o.trial == n and o.report and o.rung >= 0}
             for n in (AS_NOW, winner.trial)}  # fmt: skip
    common = rungs[AS_NOW] & rungs[winner.trial]
    if not common:
        return None
    rung = max(common)
    found = compare_measure(
        evaluations[AS_NOW, rung],
        evaluations[winner.trial, rung],
        "words",
        alpha=TIE_ALPHA,
        policy=policy,
    )
    epochs = next(one.epochs for one in outcomes if (one.trial, one.rung) == (AS_NOW, rung))
    return Change(epochs=epochs, difference=found.difference, interval=found.interval)


def concluded(
    job: TuningJob,
    release_repo: str,
    trials: Sequence[Trial],
    outcomes: Sequence[Outcome],
    evaluations: Evaluations,
    budget: TuningBudget,
    predicted: float,
    at: datetime,
) -> Proposal:
    """The proposal that these outcomes come to."""
    winner = winner_of(outcomes, evaluations, job.policy)
    change = change_of(winner, outcomes, evaluations, job.policy) if winner else None
    confirmation = _confirmation(winner, outcomes)
    no_better = change is not None and change.difference >= 0
    settings = {} if no_better else _settings(job, trials, winner)
    return Proposal(
        tuning=job.digest,
        release_repo=release_repo,
        base_repo=job.base_model.repo or job.base_model.name,
        dataset_digest=job.dataset.digest,
        epochs=job.space.epochs,
        settings=settings,
        winner=winner.trial if winner else None,
        selected_wer=_wer(winner) if winner else None,
        confirmation=confirmation,
        change=change.difference if change else None,
        interval=change.interval if change else None,
        tried=tuple(_tried(job, one, outcomes) for one in trials),
        budget_s=budget.seconds,
        predicted_s=round(predicted, 1),
        spent_s=round(spent_s(outcomes), 1),
        sentences=tuple(_sentences(winner, change, confirmation, outcomes)),
        at=at,
    )


def _settings(
    job: TuningJob, trials: Sequence[Trial], winner: Outcome | None
) -> dict[str, Setting]:
    """All that was tuned, so that it holds whatever a retraining asks for; else nothing."""
    if winner is None or winner.trial == AS_NOW:
        return {}
    trial = next(one for one in trials if one.number == winner.trial)
    found = rung_settings(job.settings(trial), job.space.epochs, winner.rung, keep_trunk=False)
    names = ("learning_rate", *job.space.choices, *LENGTH)
    return {name: getattr(found, name) for name in names}


def _wer(outcome: Outcome) -> float:
    return outcome.report.words.error_rate if outcome.report else float("inf")


def _confirmation(winner: Outcome | None, outcomes: Iterable[Outcome]) -> Confirmation | None:
    for one in outcomes:
        if winner and one.rung == CONFIRMATION and one.trial == winner.trial and one.report:
            if one.epochs != winner.epochs:
                continue
            return Confirmation(
                seed=one.seed, wer=_wer(one), medical_wer=one.report.medical.error_rate
            )
    return None


def _tried(job: TuningJob, trial: Trial, outcomes: Sequence[Outcome]) -> Tried:
    own = sorted((o for o in outcomes if o.trial == trial.number), key=lambda one: one.rung)
    rungs = [one for one in own if one.rung != CONFIRMATION]
    reports = [one.report for one in rungs if one.report]
    return Tried(
        number=trial.number,
        origin=trial.origin,
        point=trial.point,
        learning_rate=job.settings(trial).learning_rate or job.default_rate,
        wers=tuple(report.words.error_rate for report in reports),
        medical_wer=reports[-1].medical.error_rate if reports else None,
        cost_s=round(spent_s(rungs), 1),
        diverged=any(one.diverged for one in rungs),
    )


def _sentences(
    winner: Outcome | None,
    change: Change | None,
    confirmation: Confirmation | None,
    outcomes: Sequence[Outcome],
) -> list[str]:
    diverged = sum(bool(one.diverged) for one in outcomes)
    said = [f"{diverged} of the trials diverged"] if diverged else []
    if winner is None:
        return [*said, "no trial ended with a model: there is nothing to propose"]
    if winner.trial == AS_NOW:
        return [*said, "the settings as they are did best: there is nothing to change"]
    said.append(
        f"trial {winner.trial} did best, with {winner.epochs:g} epochs: WER {_wer(winner):.2%} on "
        "the validation split"
    )
    if change:
        low, high = (100 * end for end in (change.interval.low, change.interval.high))
        surely = "" if high < 0 else ", which is not told apart from them"
        surely = ": nothing to change" if change.difference >= 0 else surely
        said.append(
            f"against the settings as they are, at {change.epochs:g} epochs each: "
            f"{100 * change.difference:+.2f} points (90 % interval {low:+.2f} to {high:+.2f})"
            f"{surely}"
        )
    return [*said, _curse(winner, confirmation)]


def _curse(winner: Outcome, confirmation: Confirmation | None) -> str:
    if confirmation is None:
        return "the budget had no room to train the winner with another seed: its WER flatters it"
    curse = confirmation.curse(_wer(winner))
    return (
        f"with another seed the winner has {confirmation.wer:.2%}: chosen as the lowest of several,"
        f" it had looked {abs(100 * curse):.2f} points {'better' if curse >= 0 else 'worse'}"
    )
