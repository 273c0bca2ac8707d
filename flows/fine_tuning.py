"""The fine-tuning stage: dataset revision + base model -> training run."""

from __future__ import annotations

from prefect import flow

from flows.stages import stage
from tasks.notes import publish_training_note
from tasks.training import describe_model, fine_tune
from whisper_retrain.config import DecodingConfig, TrainingConfig
from whisper_retrain.model_files import ModelJob
from whisper_retrain.records import DatasetRevision, TrainingRun
from whisper_retrain.training.code_revision import code_revision
from whisper_retrain.training.job import TrainingJob


@flow(name="fine-tune", flow_run_name="fine-tune-{base_repo}")
@stage("fine-tune")
def fine_tuning(
    dataset: DatasetRevision,
    base_repo: str,
    base_revision: str,
    training: TrainingConfig,
    decoding: DecodingConfig,
) -> TrainingRun:
    """Fine-tune the base model on a dataset revision, in a process of its own."""
    base = describe_model(ModelJob(name="base", repo=base_repo, revision=base_revision))
    job = TrainingJob(
        dataset=dataset,
        base_model=base,
        config=training,
        decoding=decoding,
        code_revision=code_revision(),
    )
    run = job.named(fine_tune(job))
    publish_training_note(run)
    return run
