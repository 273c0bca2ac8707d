"""The gate: two evaluation reports and a policy -> decision."""

from __future__ import annotations

from functools import partial

from prefect import flow

from flows.stages import stage
from flows.transcription import scored
from tasks.gating import count_look, decide, note_look, plan
from tasks.notes import publish_decision_note, publish_evaluation_note
from tasks.stored import is_stored
from tasks.training import describe_model
from whisper_retrain.config import DecodingConfig, ReleaseConfig
from whisper_retrain.gate.decision import DecisionJob
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.model_files import ModelJob
from whisper_retrain.records import (
    Checkpoint,
    DatasetRevision,
    EvaluationReport,
    ModelRef,
    Pair,
    TrainingRun,
)
from whisper_retrain.release.evidence import Evidence

ENGLISH = "en"
"""The language of a model that is told none."""


@flow(
    name="gate",
    flow_run_name="gate-{release.repo}",
    persist_result=True,  # a parent on another machine reads it
)
@stage("gate")
def gate(
    dataset: DatasetRevision,
    run: TrainingRun,
    release: ReleaseConfig,
    champion_revision: str | None,
    decoding: DecodingConfig,
    policy: GatePolicy,
    general_speech: DatasetRevision | None = None,
) -> Evidence:
    """Score baseline, champion and challenger on the frozen test set, and decide.

    Args:
        dataset: Holds the frozen test set.
        run: The training whose checkpoint is the challenger.
        release: Where the champion is published.
        champion_revision: The champion; without one the challenger must beat the base model.
        decoding: How the model's users decode.
        policy: The rules.
        general_speech: A second test set, of everyday speech, that must not get worse.
    """
    challenger = _challenger(run)
    score = partial(_score, decoding=decoding, policy=policy)
    first = champion_revision is None
    champion = _champion(run, release, champion_revision)
    baseline = score("baseline", run.base_model, dataset)
    reports: Pair[EvaluationReport] = Pair(
        champion=baseline if first else score("champion", champion, dataset),
        challenger=score("challenger", challenger, dataset, run.checkpoint),
    )
    guard: Pair[EvaluationReport] | None = None
    if general_speech:
        guard = Pair(
            champion=score("champion-general", champion, general_speech, probed=False),
            challenger=score(
                "challenger-general", challenger, general_speech, run.checkpoint, probed=False
            ),
        )
    judged = decide(
        DecisionJob(
            reports=reports,
            baseline=None if first else baseline,
            guard=guard,
            policy=policy,
            looks=count_look(reports, dataset, policy),
            first_champion=first,
            language=decoding.language or ENGLISH,
        )
    )
    note_look(reports, dataset, judged.decision)
    evidence = Evidence(
        decision=judged.decision,
        champion=reports.champion,
        challenger=reports.challenger,
        baseline=None if first else baseline,
        run=run,
        dataset=dataset,
        scores=judged.scores,
        differences=judged.differences,
    )
    publish_evaluation_note(evidence)
    publish_decision_note(evidence, release)
    return evidence


def is_scored(
    dataset: DatasetRevision,
    run: TrainingRun,
    release: ReleaseConfig,
    champion_revision: str | None,
    decoding: DecodingConfig,
    policy: GatePolicy,
    general_speech: DatasetRevision | None = None,
) -> bool:
    """Whether every model has been scored on every test set: then the flow needs no GPU."""

    def known(model: ModelRef, on: DatasetRevision, probed: bool = True) -> bool:
        return is_stored(plan(model, on, decoding, policy, probed=probed).record_key)

    # The challenger first: mostly it is new, and the champion's files stay where they are.
    if not (known(_challenger(run), dataset) and known(run.base_model, dataset)):
        return False
    champion = _champion(run, release, champion_revision)
    return known(champion, dataset) and (
        general_speech is None
        or all(known(one, general_speech, False) for one in (_challenger(run), champion))
    )


def _challenger(run: TrainingRun) -> ModelRef:
    return ModelRef(name="challenger", model_digest=run.checkpoint.model_digest)


def _champion(run: TrainingRun, release: ReleaseConfig, revision: str | None) -> ModelRef:
    """The base model stands in for a first champion."""
    if revision is None:
        return run.base_model
    return describe_model(ModelJob(name="champion", repo=release.repo, revision=revision))


def _score(
    role: str,
    model: ModelRef,
    dataset: DatasetRevision,
    checkpoint: Checkpoint | None = None,
    *,
    decoding: DecodingConfig,
    policy: GatePolicy,
    probed: bool = True,
) -> EvaluationReport:
    """One model on one test set.

    Probes say the same on every test set: they are asked for on one.
    """
    job = plan(model, dataset, decoding, policy, probed=probed)
    return scored(role, job, dataset, policy, checkpoint)
