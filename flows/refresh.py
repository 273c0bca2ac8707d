"""The refresh stage: sources -> dataset revision."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

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

SHARDS_AT_ONCE: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=2)
"""A Dask or Ray task runner in its place spreads the shards over machines."""


@flow(
    name="refresh",
    flow_run_name="refresh-{dataset.sources[0].name}",
    task_runner=SHARDS_AT_ONCE,
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
