"""Tasks of the gate: transcribe and score, then decide."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path

from prefect import get_run_logger, task

from tasks.policies import GPU_TAG, LOOKUP, STAGE
from tasks.services import audio_shards, cache_dir, hub, store
from whisper_retrain import model_files
from whisper_retrain.config import DecodingConfig, ReleaseConfig
from whisper_retrain.data.manifest import Utterance, load_manifest
from whisper_retrain.edges.clock import SystemClock
from whisper_retrain.edges.store import write_record
from whisper_retrain.evaluation.evaluate import evaluate_model
from whisper_retrain.evaluation.jobs import (
    EvaluationJob,
    TranscriptShardJob,
    find_report,
    load_evaluation,
    plan_evaluation,
)
from whisper_retrain.evaluation.lexicon import default_lexicon
from whisper_retrain.evaluation.shards import ShardedTranscription, cut
from whisper_retrain.evaluation.transcriber import Transcriber
from whisper_retrain.evaluation.transformers_runtime import load_transcriber
from whisper_retrain.gate.decision import DecisionJob, judge
from whisper_retrain.gate.ledger import Standing
from whisper_retrain.gate.measures import model_scores
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.history.cases import Case, save_case
from whisper_retrain.history.looks import Lineage, close_look, enter_look, lineage_of
from whisper_retrain.normalizer import normalize
from whisper_retrain.records import (
    Artifact,
    Checkpoint,
    DatasetRevision,
    Decision,
    EvaluationReport,
    ModelRef,
    ModelScores,
    Pair,
    Record,
    Split,
)
from whisper_retrain.release.transaction import current_champion


@task(task_run_name="find-champion-{release.repo}", **LOOKUP)
def find_champion(release: ReleaseConfig) -> str | None:
    """The revision that the champion tag points to now; None before the first promotion."""
    return current_champion(release, hub())


def plan(
    model: ModelRef,
    dataset: DatasetRevision | str,
    decoding: DecodingConfig,
    policy: GatePolicy,
    probed: bool = True,
) -> EvaluationJob:
    """All that an evaluation depends on, normalizer, lexicon and library versions included.

    On a dataset's test set, or on a split that is known by its digest.
    """
    lexicon = default_lexicon(policy.own_terms)
    return plan_evaluation(model, dataset, decoding, lexicon, probed=probed)


@task(task_run_name="evaluate-{role}", tags=[GPU_TAG], **STAGE)
def evaluate(
    role: str,
    job: EvaluationJob,
    dataset: DatasetRevision,
    own_terms: tuple[str, ...] = (),
    checkpoint: Checkpoint | None = None,
    split: Split = "test",
) -> EvaluationReport:
    """Transcribe and score the test set or another split; a model scored before costs nothing."""
    logger = get_run_logger()
    if found := find_report(store(), job):
        logger.info("%s was scored before: nothing to transcribe", role)
    else:
        found = evaluate_model(
            job,
            model_folder(job.model, checkpoint),
            store(),
            audio_shards().audio,
            _split_of(dataset, split),
            lambda done, total, note: logger.info("%s: %d of %d %s", role, done, total, note),
            lexicon=default_lexicon(own_terms),
        )
    return found


@task(task_run_name="transcribe-shard-{shard.number}", **STAGE)
def transcribe_shard(
    shard: TranscriptShardJob,
    dataset: DatasetRevision,
    checkpoint: Checkpoint | None = None,
    split: Split = "test",
) -> str:
    """Transcribe one shard of a split, unless it is stored; returns its key.

    For a worker of a cluster, who keeps the model for the next shard.
    """
    if store().exists(shard.key):
        return shard.key
    job = shard.evaluation
    folder = model_folder(job.model, checkpoint)
    work: ShardedTranscription[Utterance] = ShardedTranscription(
        job, folder, store(), audio_shards().audio, load=_kept_transcriber
    )
    work.shard(shard, cut(_split_of(dataset, split), job.shard_size)[shard.number])
    return shard.key


@lru_cache(maxsize=1)
def _kept_transcriber(folder: Path, decoding: DecodingConfig, device: str) -> Transcriber:
    return load_transcriber(folder, decoding, device)


def _split_of(dataset: DatasetRevision, split: Split) -> list[Utterance]:
    return [one for one in load_manifest(store(), dataset, cache_dir()) if one.split == split]


def model_folder(model: ModelRef, checkpoint: Checkpoint | None) -> Path:
    """The model's files on this machine, fetched where they are not here yet."""
    if checkpoint is not None:
        return model_files.fetch_checkpoint(store(), checkpoint, cache_dir("models"))
    if model.repo is None or model.revision is None:
        raise ValueError("a model without a checkpoint comes from a Hub revision")
    return model_files.fetch_revision(hub(), model.repo, model.revision, cache_dir("models"))


@task(task_run_name="count-looks-at-test-set", **LOOKUP)
def count_look(
    reports: Pair[EvaluationReport], dataset: DatasetRevision, policy: GatePolicy
) -> Standing:
    """Enter this comparison in the dataset's ledger; returns what earlier looks have left."""
    models = reports.map(lambda one: one.model.model_digest)
    return enter_look(
        store(),
        _lineage(dataset),
        models.champion,
        models.challenger,
        SystemClock().now(),
        policy.planned_looks,
    )


@task(task_run_name="close-look-at-test-set", **LOOKUP)
def note_look(
    reports: Pair[EvaluationReport], dataset: DatasetRevision, decision: Decision
) -> None:
    """Note whether the challenger was found better: what the next look may spend depends on it."""
    better = any(one.rule == "improvement" and one.outcome == "pass" for one in decision.rules)
    models = reports.map(lambda one: one.model.model_digest)
    close_look(store(), _lineage(dataset), models.champion, models.challenger, better)


def _lineage(dataset: DatasetRevision) -> Lineage:
    utterances = load_manifest(store(), dataset, cache_dir())
    words = {
        one.audio_sha256: len(normalize(one.reference).split())
        for one in utterances
        if one.split == "test"
    }
    return lineage_of(store(), dataset, words)


class Judged(Record):
    """What the gate found: all that is shown later is a view of it."""

    decision: Decision
    """What the gate said."""
    scores: dict[str, ModelScores]
    """Role -> figures with intervals."""
    differences: Artifact
    """Where slices and terms lie."""


@task(task_run_name="decide", **STAGE)
def decide(job: DecisionJob) -> Judged:
    """Apply the policy to the reports and their rows, and keep the case for replays."""
    reports, guard = job.reports, job.guard
    load = partial(load_evaluation, store())
    champion, challenger = load(reports.champion), load(reports.challenger)
    judgement = judge(
        champion,
        challenger,
        job.policy,
        looks=job.looks,
        guard=guard.map(load) if guard else None,
        first_champion=job.first_champion,
        language=job.language,
    )
    case = Case(
        at=SystemClock().now(),
        champion=reports.champion,
        challenger=reports.challenger,
        guard=guard,
        language=job.language,
        policy=job.policy,
        decision=judgement.decision,
    )
    save_case(store(), case)
    against = "baseline" if job.first_champion else "champion"
    measured = {"challenger": challenger, against: champion}
    measured |= {"baseline": load(job.baseline)} if job.baseline else {}
    return Judged(
        decision=judgement.decision,
        scores={role: model_scores(role, one) for role, one in measured.items()},
        differences=write_record(store(), f"{job.prefix}/differences.json", judgement.differences),
    )
