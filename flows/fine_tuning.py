"""The fine-tuning stage: dataset revision + base model -> training run."""

from __future__ import annotations

from prefect import flow

from flows.stages import stage
from tasks.notes import publish_training_note
from tasks.stored import is_stored
from tasks.training import describe_model, fine_tune
from whisper_retrain.config import DecodingConfig, TrainingConfig
from whisper_retrain.model_files import ModelJob
from whisper_retrain.records import DatasetRevision, TrainingRun
from whisper_retrain.training.code_revision import code_revision
from whisper_retrain.training.job import TrainingJob, WarmStart


@flow(
    name="fine-tune",
    flow_run_name="fine-tune-{base_repo}",
    persist_result=True,  # a parent on another machine reads it
)
@stage("fine-tune")
def fine_tuning(
    dataset: DatasetRevision,
    base_repo: str,
    base_revision: str,
    training: TrainingConfig,
    decoding: DecodingConfig,
    start: WarmStart | None = None,
) -> TrainingRun:
    """Fine-tune on a dataset revision, in a process of its own.

    Args:
        dataset: What is trained on.
        base_repo: Hub repo of the base model.
        base_revision: Its commit, 40 hex digits.
        training: How.
        decoding: How the validation split is transcribed.
        start: A champion to go on from; without one training starts from the base model.
    """
    job = _job(dataset, base_repo, base_revision, training, decoding, start)
    run = job.named(fine_tune(job))
    publish_training_note(run)
    return run


def is_trained(
    dataset: DatasetRevision,
    base_repo: str,
    base_revision: str,
    training: TrainingConfig,
    decoding: DecodingConfig,
    start: WarmStart | None = None,
) -> bool:
    """Whether this very training has been done: then the flow needs no GPU."""
    job = _job(dataset, base_repo, base_revision, training, decoding, start)
    return is_stored(job.record_key)


def _job(
    dataset: DatasetRevision,
    base_repo: str,
    base_revision: str,
    training: TrainingConfig,
    decoding: DecodingConfig,
    start: WarmStart | None,
) -> TrainingJob:
    return TrainingJob(
        dataset=dataset,
        base_model=describe_model(ModelJob(name="base", repo=base_repo, revision=base_revision)),
        config=training,
        decoding=decoding,
        code_revision=code_revision(),
        start=start,
    )
