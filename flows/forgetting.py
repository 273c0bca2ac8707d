"""The gate; and once more, about an average with the base model, where only forgetting stops."""

from __future__ import annotations

from prefect import flow

from flows.candidates import merging, score_on
from flows.gate import gate, is_scored
from flows.placement import placed
from flows.stages import stage
from tasks.candidates import Validation, count_validation
from tasks.forgetting import keep_remembering, publish_forgetting_note
from tasks.gating import find_champion
from whisper_retrain.config import DecodingConfig, ReleaseConfig
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.records import Checkpoint, DatasetRevision, ModelRef, TrainingRun
from whisper_retrain.release.evidence import Evidence
from whisper_retrain.training.candidates import BASE
from whisper_retrain.training.forgetting import (
    CHALLENGER,
    Given,
    averages,
    choose_average,
    only_forgets,
)
from whisper_retrain.training.merging import MergeJob, MergePart


def judged(
    dataset: DatasetRevision,
    run: TrainingRun,
    release: ReleaseConfig,
    decoding: DecodingConfig,
    policy: GatePolicy,
    general: DatasetRevision | None,
) -> Evidence:
    """What the gate says of the challenger, or of the average that remembers what it forgets."""
    ask, champion = placed(gate, is_scored), find_champion(release)
    evidence = ask(dataset, run, release, champion, decoding, policy, general)
    if general is None or not only_forgets(evidence.decision):
        return evidence
    average = remember(evidence, general, decoding, policy)
    if average is None:
        return evidence
    return ask(dataset, average, release, champion, decoding, policy, general)


@flow(name="remember", flow_run_name="remember-general-speech")
@stage("remember")
def remember(
    evidence: Evidence, general: DatasetRevision, decoding: DecodingConfig, policy: GatePolicy
) -> TrainingRun | None:
    """Average challenger and base model, and choose on validation data; None: nothing is worth it.

    Args:
        evidence: Why the challenger was stopped.
        general: General speech; its validation split has other speakers than the guard's test set.
        decoding: How models are transcribed with.
        policy: For its own terms.
    """
    own, spoken = (count_validation(one, decoding, policy) for one in (evidence.dataset, general))
    if not spoken.words:
        return None  # general speech by one speaker, or by nobody knows whom
    runs: dict[str, TrainingRun] = {}
    tried = []
    for one in averages():
        job = MergeJob(
            parts=(
                MergePart(
                    model=evidence.challenger.model,
                    share=one.parts[CHALLENGER],
                    checkpoint=evidence.run.checkpoint,
                ),
                MergePart(model=evidence.run.base_model, share=one.parts[BASE]),
            )
        )
        found = runs[one.name] = merging(one, job, evidence.run, own)
        model = ModelRef(name=one.name, model_digest=found.checkpoint.model_digest)
        tried.append(_given(one.name, model, found.checkpoint, spoken, own))
    champion = _given("champion", evidence.champion.model, None, spoken, own)
    choice = choose_average(spoken.split_digest, general.test_set_digest, champion, tried)
    keep_remembering(evidence.decision, choice)
    publish_forgetting_note(choice)
    return runs[choice.winner] if choice.winner else None


def _given(
    name: str, model: ModelRef, checkpoint: Checkpoint | None, general: Validation, own: Validation
) -> Given:
    return Given(
        name=name,
        general=score_on(f"{name}-general", model, checkpoint, general).words,
        own=score_on(name, model, checkpoint, own).words,
    )
