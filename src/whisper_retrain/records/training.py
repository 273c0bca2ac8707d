"""A model, and how it was trained."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from whisper_retrain.records.base import Artifact, Record


class ModelRef(Record):
    """A model: where it lies and, by the digest of its files, what it is."""

    name: str
    """What it is called in logs and reports: its role."""
    model_digest: str
    """sha256 over {file name: sha256} of the files that inference reads."""
    repo: str | None = None
    """On the Hub; None for a checkpoint that is only in S3."""
    revision: str | None = None
    """Its commit there, 40 hex digits."""


class Checkpoint(Record):
    """Weights, processor and config in S3: file name -> artifact."""

    files: dict[str, Artifact]
    """File name -> where it lies."""
    model_digest: str
    """sha256 over {file name: sha256}."""


class CurvePoint(Record):
    """What was known at one optimizer step; None where it was not measured."""

    step: int
    """Optimizer steps done."""
    loss: float | None = None
    """Mean cross-entropy by label id of this step's batch, nats."""
    learning_rate: float | None = None
    """Of this step."""
    validation_loss: float | None = None
    """Mean cross-entropy by label id of the validation split, nats."""
    validation_wer: float | None = None
    """Normalised WER of the validation split, a fraction."""
    audio_s_per_s: float | None = None
    """Seconds of audio trained on in a second."""
    memory_bytes: int | None = None
    """The most in use so far, of the GPU or of the process."""
    compute_share: float | None = None
    """Of the device's peak of matrix products, a fraction."""
    elapsed_s: float | None = None
    """Since the training began, earlier tries included."""


class MergedModel(Record):
    """A model whose weights went into an average."""

    name: str
    """What it is called: a candidate, champion or base."""
    model_digest: str
    """sha256 over {file name: sha256} of its files."""
    share: float
    """Of the average; all shares add up to 1."""


class TrainingRun(Record):
    """One training from a base model to a checkpoint.

    Where trained models were averaged, the training is that of the first of them.
    """

    dataset_digest: str
    """Of the DatasetRevision."""
    base_model: ModelRef
    """What fine-tuning started from."""
    config_digest: str
    """Of the TrainingConfig."""
    code_revision: str
    """Version of the library, and a digest of its sources."""
    seed: int
    """Of all randomness."""
    checkpoint: Checkpoint
    """The weights that were chosen, with processor and configuration."""
    steps: int
    """Optimizer steps done."""
    best_step: int
    """The step whose weights were chosen."""
    validation_wer: float
    """Of the checkpoint, normalised, a fraction."""
    audio_s_per_s: float
    """Seconds of audio trained on in a second, validations left out."""
    peak_memory_bytes: int
    """The most in use, of the GPU or of the process."""
    duration_s: float
    """All tries together, validations included."""
    curve: tuple[CurvePoint, ...] = ()
    """What was measured, by step."""
    tracking_url: str | None = None
    """Where the W&B run is shown; None offline."""
    dropped: dict[str, int] = Field(default_factory=dict)
    """Reason -> utterances of the train split that could not be used."""
    figures: dict[str, Artifact] = Field(default_factory=dict)
    """Name -> SVG, or W&B's offline file."""
    resumed_from_steps: tuple[int, ...] = ()
    """Steps at which a later try went on."""
    stopped_early: bool = False
    """Whether patience ended the training."""
    averaged_steps: tuple[int, ...] = ()
    """Steps whose mean the weights are; none: those of `best_step` alone."""
    compute_share: float | None = None
    """Of the device's peak of matrix products over the whole training, a fraction."""
    passes: float | None = None
    """How often each utterance of the train split was drawn; an earlier version did not say."""
    started_from: ModelRef | None = None
    """The champion whose weights a warm start began with; None: the base model's."""
    merged_from: tuple[MergedModel, ...] = ()
    """The models whose average the checkpoint is; none: it is the training's own."""

    inherited_s: float = 0.0
    """Of `duration_s`, what a shorter training had spent whose trunk this one went on from."""
    trunk: str | None = None
    """Prefix in S3 of the state that a longer training goes on from; None: not kept."""
    tuning: str | None = None
    """Digest of the accepted proposal whose settings it used; None: none."""

    added: ClassVar[frozenset[str]] = frozenset(
        {"passes", "started_from", "merged_from", "inherited_s", "trunk", "tuning"}
    )
