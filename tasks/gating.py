"""Tasks of the gate: transcribe and score, then decide."""

from __future__ import annotations

from pathlib import Path

from prefect import get_run_logger, task

from tasks.policies import GPU_TAG, LOOKUP, stage
from tasks.services import cache_dir, hub, settings, store
from whisper_retrain import models
from whisper_retrain.config import DecodingConfig, ReleaseConfig
from whisper_retrain.data.manifest import load_manifest
from whisper_retrain.data.shards import AudioShards
from whisper_retrain.evaluation.evaluate import evaluate as run_evaluation
from whisper_retrain.evaluation.jobs import find_report, load_evaluation, plan_evaluation
from whisper_retrain.gate.decision import decide as apply_policy
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.records import (
    Checkpoint,
    DatasetRevision,
    Decision,
    EvaluationReport,
    ModelRef,
)
from whisper_retrain.release.transaction import current_champion


@task(task_run_name="find-champion-{release.repo}", **LOOKUP)
def find_champion(release: ReleaseConfig) -> str | None:
    """The revision of the champion, after completing what an earlier run left unfinished."""
    return current_champion(release, hub())


@task(task_run_name="evaluate-{role}", tags=[GPU_TAG], **stage("evaluate"))
def evaluate(
    role: str,
    model: ModelRef,
    dataset: DatasetRevision,
    decoding: DecodingConfig,
    checkpoint: Checkpoint | None = None,
) -> EvaluationReport:
    """Transcribe and score the test set; a model that was scored before costs nothing."""
    logger = get_run_logger()
    job = plan_evaluation(model, dataset.test_set_digest, decoding)
    if found := find_report(store(), job):
        logger.info("%s was scored before: nothing to transcribe", role)
    else:
        utterances = load_manifest(store(), dataset, cache_dir("manifests"))
        found = run_evaluation(
            job,
            model_folder(model, checkpoint),
            store(),
            AudioShards(store(), cache_dir("shards"), settings().cache_max_bytes).audio,
            [one for one in utterances if one.split == "test"],
            lambda done, total, note: logger.info("%s: %d of %d %s", role, done, total, note),
        )
    # The same files may have been scored under another name, before they were pushed.
    return found.model_copy(update={"model": model})


def model_folder(model: ModelRef, checkpoint: Checkpoint | None) -> Path:
    """The model's files on this machine, fetched where they are not here yet."""
    if checkpoint is not None:
        return models.fetch_checkpoint(store(), checkpoint, cache_dir("models"))
    if model.repo is None or model.revision is None:
        raise ValueError("a model without a checkpoint comes from a Hub revision")
    return models.fetch_revision(hub(), model.repo, model.revision, cache_dir("models"))


@task(task_run_name="decide", **stage("decide"))
def decide(
    champion: EvaluationReport,
    challenger: EvaluationReport,
    policy: GatePolicy,
    first_champion: bool,
) -> Decision:
    """Apply the policy to two reports and their rows."""
    return apply_policy(
        load_evaluation(store(), champion),
        load_evaluation(store(), challenger),
        policy,
        first_champion=first_champion,
    )
