"""Tasks of the gate: transcribe and score, then decide."""

from __future__ import annotations

from pathlib import Path

from prefect import get_run_logger, task

from tasks.policies import GPU_TAG, LOOKUP, stage
from tasks.services import cache_dir, hub, settings, store
from whisper_retrain import model_files
from whisper_retrain.config import DecodingConfig, ReleaseConfig
from whisper_retrain.data.manifest import load_manifest
from whisper_retrain.data.shards import AudioShards
from whisper_retrain.edges.clock import SystemClock
from whisper_retrain.evaluation.evaluate import evaluate as run_evaluation
from whisper_retrain.evaluation.jobs import (
    EvaluationJob,
    find_report,
    load_evaluation,
    plan_evaluation,
)
from whisper_retrain.evaluation.lexicon import default_lexicon
from whisper_retrain.gate.decision import decide as apply_policy
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.history.cases import Case, save_case
from whisper_retrain.history.looks import enter_look
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


def plan(
    model: ModelRef,
    dataset: DatasetRevision,
    decoding: DecodingConfig,
    policy: GatePolicy,
    probed: bool = True,
) -> EvaluationJob:
    """All that an evaluation depends on, normalizer, lexicon and library versions included."""
    lexicon = default_lexicon(policy.own_terms)
    return plan_evaluation(model, dataset, decoding, lexicon, probed=probed)


@task(task_run_name="evaluate-{role}", tags=[GPU_TAG], **stage("evaluate"))
def evaluate(
    role: str,
    job: EvaluationJob,
    dataset: DatasetRevision,
    own_terms: tuple[str, ...] = (),
    checkpoint: Checkpoint | None = None,
) -> EvaluationReport:
    """Transcribe and score the test set; a model that was scored before costs nothing."""
    logger = get_run_logger()
    if found := find_report(store(), job):
        logger.info("%s was scored before: nothing to transcribe", role)
    else:
        utterances = load_manifest(store(), dataset, cache_dir("manifests"))
        found = run_evaluation(
            job,
            model_folder(job.model, checkpoint),
            store(),
            AudioShards(store(), cache_dir("shards"), settings().cache_max_bytes).audio,
            [one for one in utterances if one.split == "test"],
            lambda done, total, note: logger.info("%s: %d of %d %s", role, done, total, note),
            lexicon=default_lexicon(own_terms),
        )
    return found


def model_folder(model: ModelRef, checkpoint: Checkpoint | None) -> Path:
    """The model's files on this machine, fetched where they are not here yet."""
    if checkpoint is not None:
        return model_files.fetch_checkpoint(store(), checkpoint, cache_dir("models"))
    if model.repo is None or model.revision is None:
        raise ValueError("a model without a checkpoint comes from a Hub revision")
    return model_files.fetch_revision(hub(), model.repo, model.revision, cache_dir("models"))


@task(task_run_name="count-looks-at-test-set", **LOOKUP)
def count_look(champion: EvaluationReport, challenger: EvaluationReport) -> int:
    """Enter this comparison in the test set's ledger; returns the looks before it."""
    return enter_look(
        store(),
        champion.test_set_digest,
        champion.model.model_digest,
        challenger.model.model_digest,
        SystemClock().now(),
    )


@task(task_run_name="decide", **stage("decide"))
def decide(
    champion: EvaluationReport,
    challenger: EvaluationReport,
    guard: tuple[EvaluationReport, EvaluationReport] | None,
    policy: GatePolicy,
    looks: int,
    first_champion: bool,
) -> Decision:
    """Apply the policy to the reports and their rows, and keep the case for replays."""
    general = guard and (load_evaluation(store(), guard[0]), load_evaluation(store(), guard[1]))
    decision = apply_policy(
        load_evaluation(store(), champion),
        load_evaluation(store(), challenger),
        policy,
        looks=looks,
        guard=general or None,
        first_champion=first_champion,
    )
    case = Case(
        at=SystemClock().now(),
        champion=champion,
        challenger=challenger,
        guard=guard,
        policy=policy,
        decision=decision,
    )
    save_case(store(), case)
    return decision
