"""Tasks of the refresh stage."""

from __future__ import annotations

from prefect import task

from tasks.policies import LOOKUP, STAGE
from tasks.services import store
from whisper_retrain.config import DatasetConfig
from whisper_retrain.data import refresh, sources
from whisper_retrain.data.refresh import PlanJob, RefreshPlan, ShardJob, ShardRecord
from whisper_retrain.records import DatasetRevision, SourceRevision


@task(task_run_name="resolve-sources", **LOOKUP)
def resolve_sources(config: DatasetConfig) -> tuple[SourceRevision, ...]:
    """Resolve every ref once; whatever follows reads these revisions."""
    return sources.resolve_sources(config)


@task(task_run_name="find-latest-dataset-revision", **LOOKUP)
def latest_revision(config: DatasetConfig) -> DatasetRevision | None:
    """The dataset revision to build on."""
    return refresh.latest_revision(store(), config)


@task(task_run_name="plan-refresh", **STAGE)
def plan_refresh(job: PlanJob) -> RefreshPlan:
    """Find what is new; no audio is decoded."""
    return refresh.plan_refresh(job.config, job.sources, store(), job.previous)


@task(task_run_name="build-shard-{job.name}", **STAGE)
def build_shard(job: ShardJob) -> ShardRecord:
    """Decode, validate and store one shard of new recordings."""
    return refresh.build_shard(job, store())


@task(task_run_name="commit-dataset-revision", **STAGE)
def commit_revision(plan: RefreshPlan, shards: list[ShardRecord]) -> DatasetRevision:
    """Split, check for leaks, write manifest and record."""
    return refresh.commit_revision(plan, shards, store())
