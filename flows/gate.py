"""The gate: two evaluation reports and a policy -> decision."""

from __future__ import annotations

from prefect import flow

from tasks.gating import decide, evaluate
from tasks.notes import publish_decision_note, publish_evaluation_note
from tasks.training import describe_model
from whisper_retrain.config import DecodingConfig, ReleaseConfig
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.records import DatasetRevision, ModelRef, TrainingRun
from whisper_retrain.release.evidence import Evidence


@flow(name="gate", flow_run_name="gate-{release.repo}")
def gate(
    dataset: DatasetRevision,
    run: TrainingRun,
    release: ReleaseConfig,
    champion_revision: str | None,
    decoding: DecodingConfig,
    policy: GatePolicy,
) -> Evidence:
    """Score baseline, champion and challenger on the frozen test set, and decide.

    Args:
        dataset: Holds the frozen test set.
        run: The training whose checkpoint is the challenger.
        release: Where the champion is published.
        champion_revision: The champion; without one the challenger must beat the base model.
        decoding: How the model's users decode.
        policy: The rules.
    """
    challenger = ModelRef(name="challenger", model_digest=run.checkpoint.model_digest)
    baseline_report = evaluate("baseline", run.base_model, dataset, decoding)
    champion_report = baseline_report
    if champion_revision:
        champion = describe_model("champion", release.repo, champion_revision)
        champion_report = evaluate("champion", champion, dataset, decoding)
    challenger_report = evaluate("challenger", challenger, dataset, decoding, run.checkpoint)
    decision = decide(champion_report, challenger_report, policy, champion_revision is None)
    evidence = Evidence(
        decision=decision,
        challenger=challenger_report,
        champion=champion_report,
        baseline=baseline_report,
        run=run,
        dataset=dataset,
    )
    publish_evaluation_note(evidence)
    publish_decision_note(evidence)
    return evidence
