"""Tasks of the fine-tuning stage."""

from __future__ import annotations

import shutil

from prefect import get_run_logger, task

from tasks.notes import TrainingProgressNote
from tasks.policies import GPU_TAG, LOOKUP, STAGE
from tasks.services import cache_dir, hub, settings
from whisper_retrain import model_files
from whisper_retrain.model_files import ModelJob
from whisper_retrain.records import ModelRef, TrainingRun
from whisper_retrain.training.job import TrainingJob
from whisper_retrain.training.launch import run_training


@task(task_run_name="resolve-{repo}-{ref}", **LOOKUP)
def resolve_model(repo: str, ref: str) -> str:
    """The revision that a ref of a Hub model points to now."""
    return hub().resolve(repo, ref)


@task(task_run_name="describe-{job.name}", **STAGE)
def describe_model(job: ModelJob) -> ModelRef:
    """Fetch a model by revision and digest its files."""
    return model_files.describe(hub(), job, cache_dir("models"))


@task(task_run_name="fine-tune-{job.starts_from.name}", tags=[GPU_TAG], **STAGE)
def fine_tune(job: TrainingJob) -> TrainingRun:
    """Run the training process; its progress reaches the log and a Prefect artifact."""
    base = job.starts_from
    if base.repo is None or base.revision is None:
        raise ValueError("what training starts from comes from the Hub")
    base_dir = model_files.fetch_revision(hub(), base.repo, base.revision, cache_dir("models"))
    note = TrainingProgressNote(get_run_logger())
    # By digest, so that a rerun on this machine resumes from the local training state.
    work_dir = cache_dir("work") / job.digest[:16]
    run = run_training(job, settings().store, base_dir, work_dir, on_progress=note.update)
    shutil.rmtree(work_dir, ignore_errors=True)
    note.finish(run)
    return run
