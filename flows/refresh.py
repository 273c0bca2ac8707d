"""The refresh stage: sources -> dataset revision."""

from __future__ import annotations

from prefect import flow

from flows.shards import shard_runner
from flows.stages import stage
from tasks.dataset import (
    build_shard,
    commit_revision,
    latest_revision,
    plan_refresh,
    resolve_sources,
)
from tasks.notes import publish_dataset_note
from whisper_retrain.config import DatasetConfig
from whisper_retrain.data.refresh import PlanJob, is_unchanged
from whisper_retrain.records import DatasetRevision
from whisper_retrain.settings import load_settings


@flow(
    name="refresh",
    flow_run_name="refresh-{dataset.sources[0].name}",
    task_runner=shard_runner(load_settings().shards),
)
@stage("refresh")
def refresh(dataset: DatasetConfig) -> DatasetRevision:
    """Take up new recordings; without any, no audio is read and nothing is written.

    Args:
        dataset: What the dataset is made from.
    """
    resolved = resolve_sources(dataset)
    previous = latest_revision(dataset)
    if previous and is_unchanged(previous, resolved, dataset):
        return previous
    plan = plan_refresh(PlanJob(config=dataset, sources=resolved, previous=previous))
    shards = build_shard.map(list(plan.jobs)).result()
    revision = commit_revision(plan, shards)
    publish_dataset_note(revision)
    return revision
