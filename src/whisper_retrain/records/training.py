"""A model, and how it was trained."""

from __future__ import annotations

from pydantic import Field

from whisper_retrain.records.base import Artifact, Record


class ModelRef(Record):
    """A model: where it lies and, by the digest of its files, what it is."""

    name: str
    model_digest: str
    repo: str | None = None
    revision: str | None = None


class Checkpoint(Record):
    """Weights, processor and config in S3: file name -> artifact."""

    files: dict[str, Artifact]
    model_digest: str


class CurvePoint(Record):
    """What was known at one optimizer step; None where it was not measured."""

    step: int
    loss: float | None = None
    learning_rate: float | None = None
    validation_loss: float | None = None
    validation_wer: float | None = None
    audio_s_per_s: float | None = None
    memory_bytes: int | None = None
    compute_share: float | None = None
    elapsed_s: float | None = None


class TrainingRun(Record):
    """One training from a base model to a checkpoint."""

    dataset_digest: str
    base_model: ModelRef
    config_digest: str
    code_revision: str
    seed: int
    checkpoint: Checkpoint
    steps: int
    best_step: int
    validation_wer: float
    audio_s_per_s: float
    peak_memory_bytes: int
    duration_s: float
    curve: tuple[CurvePoint, ...] = ()
    tracking_url: str | None = None
    dropped: dict[str, int] = Field(default_factory=dict)
    figures: dict[str, Artifact] = Field(default_factory=dict)
    resumed_from_steps: tuple[int, ...] = ()
    stopped_early: bool = False
    averaged_steps: tuple[int, ...] = ()
    compute_share: float | None = None
