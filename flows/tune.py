"""Settings of the training, tuned on the validation split; a person accepts what is proposed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.candidates import score_on
from flows.fine_tuning import fine_tuning, is_trained
from flows.placement import placed
from flows.refresh import refresh
from flows.stages import stage
from tasks.accepted_settings import accept_proposal, withdraw_proposal
from tasks.candidates import count_validation
from tasks.preflight import check_services
from tasks.training import describe_model, resolve_model
from tasks.tuning import (
    TuningOrder,
    ask_trial,
    begin_tuning,
    choose_survivors,
    choose_winner,
    conclude_tuning,
    count_starters,
    find_outcome,
    keep_divergence,
    keep_outcome,
    order_tuning,
    slots,
)
from tasks.tuning_notes import TuningCostNote, publish_tuning_note
from whisper_retrain.config import (
    BaseModelConfig,
    DatasetConfig,
    DecodingConfig,
    ReleaseConfig,
    TrainingConfig,
)
from whisper_retrain.errors import DivergedError
from whisper_retrain.gate.policy import GatePolicy, PresetName, preset
from whisper_retrain.model_files import ModelJob
from whisper_retrain.records import ModelRef
from whisper_retrain.tuning.budget import TuningBudget
from whisper_retrain.tuning.halving import rung_settings
from whisper_retrain.tuning.space import SearchSpace
from whisper_retrain.tuning.trials import CONFIRMATION, Outcome, Trial


@flow(name="tune", flow_run_name="tune-{release.repo}")
@stage("tune")
def tune(
    dataset: DatasetConfig,
    release: ReleaseConfig,
    base_model: BaseModelConfig = BaseModelConfig(),
    training: TrainingConfig = TrainingConfig(),
    decoding: DecodingConfig = DecodingConfig(),
    policy: PresetName | GatePolicy = "default",
    space: SearchSpace = SearchSpace(),
    budget: TuningBudget = TuningBudget(),
) -> State[Any]:
    """Search for better settings by successive halving; propose them, and change nothing.

    Args:
        dataset: What the dataset is made from; settings are compared on its validation split.
        release: Whose retrainings may follow the proposal, once it is accepted.
        base_model: What fine-tuning starts from.
        training: The settings as they are: the first trial, and what is not varied.
        decoding: How the model's users decode.
        policy: For its own medical terms, and the bootstrap of comparisons.
        space: What is varied, and how.
        budget: How much may be spent.
    """
    rules = policy if isinstance(policy, GatePolicy) else preset(policy)
    check_services(dataset, base_model, release, training)
    revision = resolve_model(base_model.repo, base_model.ref)
    base = describe_model(ModelJob(name="base", repo=base_model.repo, revision=revision))
    validation = count_validation(refresh(dataset), decoding, rules)
    order = order_tuning(validation, base, training, space, budget, release)
    untuned = score_on("base model", base, None, validation)
    cost = TuningCostNote(order)
    _together(order, [begin_tuning(order, untuned)], 0, cost)
    wanted, at_once = count_starters(order), slots()
    for first in range(1, wanted, at_once):
        numbers = range(first, min(first + at_once, wanted))
        asked = [ask_trial(order, number, untuned.words.error_rate) for number in numbers]
        _together(order, [one for one in asked if one], 0, cost)
    for rung in range(1, len(space.epochs)):
        _together(order, choose_survivors(order, rung), rung, cost)
    if winner := choose_winner(order):
        trial(order, *winner, order.job.training.seed + 1)
        cost.update()
    proposal = conclude_tuning(order)
    publish_tuning_note(proposal)
    name = "Proposed" if proposal.settings else "NothingBetter"
    return Completed(name=name, message="; ".join(proposal.sentences))


@flow(name="trial", flow_run_name="trial-{one.number}-rung-{rung}-seed-{seed}")
@stage("trial")
def trial(order: TuningOrder, one: Trial, rung: int, seed: int) -> Outcome:
    """Train a point for the epochs of a rung, and transcribe the validation split.

    Args:
        order: The tuning.
        one: What is tried.
        rung: For how long it trains.
        seed: Of its training; another one than the tuning's confirms the winner.
    """
    job, epochs = order.job, order.job.space.epochs
    kept_as = rung if seed == job.training.seed else CONFIRMATION
    settings = job.settings(one).model_copy(update={"seed": seed})
    config = rung_settings(settings, epochs, rung, keep_trunk=kept_as != CONFIRMATION)
    if found := find_outcome(order, one, kept_as, epochs[rung]):
        return found
    base, began = job.base_model, time.monotonic()
    train = placed(fine_tuning, is_trained)
    try:
        run = train(job.dataset, base.repo or "", base.revision or "", config, job.decoding)
    except DivergedError as error:
        return keep_divergence(order, one, kept_as, config, time.monotonic() - began, str(error))
    name = f"trial {one.number}"
    model = ModelRef(name=name, model_digest=run.checkpoint.model_digest)
    report = score_on(name, model, run.checkpoint, order.validation)
    return keep_outcome(order, one, kept_as, epochs[rung], run, report)


def _together(order: TuningOrder, trials: Sequence[Trial], rung: int, cost: TuningCostNote) -> None:
    """Trials of one rung, as many at once as there are GPUs."""
    seed = order.job.training.seed
    if slots() == 1 or len(trials) < 2:
        # In this very thread, so that a cancellation reaches the training at once.
        for one in trials:
            trial(order, one, rung, seed)
            cost.update()
        return
    pool = ThreadPoolExecutor(max_workers=slots())
    try:
        # Each in a copy of this run's context, so that it is a child of it.
        begun = [pool.submit(copy_context().run, trial, order, one, rung, seed) for one in trials]
        for future in begun:
            future.result()
            cost.update()
    finally:
        pool.shutdown(cancel_futures=True)


@flow(name="tune", flow_run_name="accept-tuning-{release.repo}")
@stage("accept-tuning")
def accept_tuning(
    release: ReleaseConfig, proposal: str | None = None, withdraw: bool = False
) -> State[Any]:
    """Let the next retrainings of a release repo follow the newest proposal of a tuning.

    Args:
        release: Whose retrainings.
        proposal: Digest of the proposal, or the beginning of it: another one is refused.
        withdraw: Let retrainings follow their own settings again instead.
    """
    if withdraw:
        withdraw_proposal(release)
        return Completed(name="Withdrawn", message="retrainings follow their own settings again")
    accepted = accept_proposal(release, proposal)
    changes = ", ".join(f"{name}: {value}" for name, value in accepted.settings.items())
    return Completed(name="Accepted", message=f"the next retraining trains with {changes}")
