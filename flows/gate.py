"""The gate: two evaluation reports and a policy -> decision."""

from __future__ import annotations

from functools import partial

from prefect import flow

from flows.stages import stage
from tasks.gating import count_look, decide, evaluate, plan
from tasks.notes import publish_decision_note, publish_evaluation_note
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


@flow(name="gate", flow_run_name="gate-{release.repo}")
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
    challenger = ModelRef(name="challenger", model_digest=run.checkpoint.model_digest)
    score = partial(_score, decoding=decoding, policy=policy)
    first = champion_revision is None
    champion = (
        describe_model(ModelJob(name="champion", repo=release.repo, revision=champion_revision))
        if champion_revision
        else run.base_model
    )
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
            looks=count_look(reports),
            first_champion=first,
            language=decoding.language or ENGLISH,
        )
    )
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
    """One model on one test set; its files are a checkpoint's, or those of a Hub revision.

    Probes say the same on every test set: they are asked for on one.
    """
    job = plan(model, dataset, decoding, policy, probed=probed)
    return job.named(evaluate(role, job, dataset, policy.own_terms, checkpoint))
