"""The whole chain: refresh -> fine-tune -> gate -> promote, as far as there is reason to."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.candidates import challenger_of
from flows.forgetting import judged
from flows.promotion import promotion
from flows.refresh import refresh
from flows.stages import stage
from tasks.accepted_settings import follow_accepted
from tasks.candidates import keep_as_unbeaten
from tasks.closing import close, find_last, keep_evidence, promoted_before, why_nothing_new
from tasks.notes import write_report
from tasks.preflight import check_services
from tasks.releasing import announce_outbox, complete_unfinished, queue_rejection, why_superseded
from tasks.training import resolve_model
from whisper_retrain.config import (
    BaseModelConfig,
    CandidatesConfig,
    DatasetConfig,
    DatasetSource,
    DecodingConfig,
    ReleaseConfig,
    TrainingConfig,
    guard_of,
)
from whisper_retrain.gate.policy import GatePolicy, PresetName, preset
from whisper_retrain.history.retrainings import RetrainingRequest


@flow(name="retrain", flow_run_name="retrain-{release.repo}")
@stage("retrain")
def retrain(
    dataset: DatasetConfig,
    release: ReleaseConfig,
    base_model: BaseModelConfig = BaseModelConfig(),
    training: TrainingConfig = TrainingConfig(),
    decoding: DecodingConfig = DecodingConfig(),
    policy: PresetName | GatePolicy = "default",
    candidate_models: CandidatesConfig = CandidatesConfig(),
    general_speech: DatasetSource | None = None,
) -> State[Any]:
    """Retrain, and promote only what is provably better.

    Args:
        dataset: What the dataset is made from, and how much must be new.
        release: Where the champion is published.
        base_model: What fine-tuning starts from.
        training: How to fine-tune.
        decoding: How the model's users decode; the gate always scores this way.
        policy: The gate's rules: a preset by name, or every bound.
        candidate_models: Which models are made; the best on validation is judged.
        general_speech: A source of everyday speech, that must not be recognised worse than before.
    """
    rules = policy if isinstance(policy, GatePolicy) else preset(policy)
    check_services(dataset, base_model, release, training)
    complete_unfinished(release)
    base_revision = resolve_model(base_model.repo, base_model.ref)
    revision = refresh(dataset)
    follow = follow_accepted(training, base_model, release)
    request = RetrainingRequest(
        dataset_digest=revision.digest,
        base_repo=base_model.repo,
        base_revision=base_revision,
        training_digest=follow.training.digest,
        decoding_digest=decoding.digest,
        policy_digest=rules.digest,
        release_repo=release.repo,
        champion_tag=release.champion_tag,
        general_speech=general_speech.digest if general_speech else None,
        candidates=None if candidate_models.is_one else candidate_models.digest,
    )
    reason = why_nothing_new(find_last(release), request, revision, dataset)
    if reason:
        return Completed(name="NothingNew", message=reason)

    general = refresh(guard_of(general_speech)) if general_speech else None
    evidence = promoted_before(request)
    if evidence is None:
        found = challenger_of(
            revision, base_model.repo, base_revision, release, candidate_models,
            follow.training, decoding, rules,
        )  # fmt: skip
        if found.run is None:
            keep_as_unbeaten(request, found)
            return Completed(name="Unbeaten", message=found.reason)
        evidence = judged(revision, follow.named(found.run), release, decoding, rules, general)
    keep_evidence(request, evidence)
    promoted, superseded = None, None
    if evidence.decision.outcome == "promote":
        promoted = promotion(evidence, release, decoding)
        superseded = why_superseded(promoted, release)
    else:
        queue_rejection(evidence, release)
    report = write_report(evidence, release, promoted)
    announce_outbox()
    close(request, evidence, promoted, report)
    if superseded:
        return Completed(name="Superseded", message=superseded)
    state = {"promote": "Promoted", "reject": "Rejected", "inconclusive": "Inconclusive"}
    return Completed(
        name=state[evidence.decision.outcome], message="; ".join(evidence.decision.reasons)
    )
