"""Scoring one model on one split; its texts come from the workers of a Dask cluster, where one is.

A shard of texts has the same key and the same batches either way. Without a cluster nothing here is
in the way: one process with all cores, or a GPU, transcribes shard after shard.
"""

from __future__ import annotations

from prefect import flow, unmapped

from flows.shards import is_cluster, shard_runner
from flows.stages import stage
from tasks.gating import evaluate, transcribe_shard
from tasks.stored import is_stored
from whisper_retrain.evaluation.jobs import EvaluationJob
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.records import Checkpoint, DatasetRevision, EvaluationReport, Split
from whisper_retrain.settings import load_settings


def scored(
    role: str,
    job: EvaluationJob,
    dataset: DatasetRevision,
    policy: GatePolicy,
    checkpoint: Checkpoint | None = None,
    split: Split = "test",
) -> EvaluationReport:
    """The report of a model, whose files are a checkpoint's or those of a Hub revision."""
    if is_cluster(load_settings().shards) and not is_stored(job.record_key):
        transcribe(role, job, dataset, checkpoint, split)
    return job.named(evaluate(role, job, dataset, policy.own_terms, checkpoint, split))


@flow(
    name="transcribe",
    flow_run_name="transcribe-{role}",
    task_runner=shard_runner(load_settings().shards),
)
@stage("transcribe")
def transcribe(
    role: str,
    job: EvaluationJob,
    dataset: DatasetRevision,
    checkpoint: Checkpoint | None = None,
    split: Split = "test",
) -> None:
    """Have every shard of a split transcribed and stored.

    Args:
        role: What the model is to the gate.
        job: What is to be evaluated.
        dataset: Whose split it is.
        checkpoint: The model's files; without one they are a Hub revision's.
        split: What is transcribed.
    """
    shards = job.shards(dataset.splits[split].utterances)
    transcribe_shard.map(
        shards, unmapped(dataset), checkpoint=unmapped(checkpoint), split=unmapped(split)
    ).result()
