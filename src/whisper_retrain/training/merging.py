"""The average of trained models: no training, one checkpoint; found again by what went into it.

Knows nothing of why these are averaged, nor of how good the average is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from whisper_retrain.edges.store import ObjectStore, read_record, write_record
from whisper_retrain.model_files import upload_checkpoint
from whisper_retrain.records import (
    Checkpoint,
    Job,
    MergedModel,
    ModelRef,
    Record,
    TrainingRun,
)


class MergePart(Record):
    """A model that goes into an average, and where its files are."""

    model: ModelRef
    """What it is; its files are those of a Hub revision, unless there is a checkpoint."""
    share: float
    """Of the average; all shares add up to 1."""
    checkpoint: Checkpoint | None = None
    """Its files in S3."""


class MergeJob(Job):
    """Average these models of one architecture, weight by weight."""

    stage: ClassVar[str] = "merge"
    version: ClassVar[str] = "v1"

    parts: tuple[MergePart, ...]
    """The first one's tokenizer and configuration are taken over."""

    @property
    def inputs(self) -> dict[str, Any]:
        """Files and shares; the names of the models say nothing about the average."""
        return {"parts": [[one.model.model_digest, one.share] for one in self.parts]}


def merge(job: MergeJob, folders: list[Path], store: ObjectStore, work_dir: Path) -> Checkpoint:
    """Average the models in these folders, one for each part; the record is written last.

    Raises IntegrityError when the files do not load to the average.
    """
    found = read_record(store, job.record_key, Checkpoint)
    if found is not None:
        return found
    # Only where something is to be done: torch takes seconds to import.
    from whisper_retrain.training.checkpoint import write_checkpoint
    from whisper_retrain.training.model import load_model
    from whisper_retrain.training.weights import set_weights, weighted, weights_of

    model = load_model(folders[0])
    shares = [part.share for part in job.parts]
    pairs = zip(folders, shares, strict=True)
    set_weights(model, weighted((weights_of(load_model(one)), share) for one, share in pairs))
    directory = write_checkpoint(model, folders[0], work_dir)
    checkpoint = upload_checkpoint(store, f"{job.prefix}/checkpoint", directory)
    write_record(store, job.record_key, checkpoint)
    return checkpoint


def merged_run(job: MergeJob, first: TrainingRun, merged: Checkpoint, wer: float) -> TrainingRun:
    """The record of a merge: the training of its first part, with another checkpoint.

    `wer` is that of the validation split, a fraction.
    """
    parts = tuple(
        MergedModel(name=one.model.name, model_digest=one.model.model_digest, share=one.share)
        for one in job.parts
    )
    changes = {"checkpoint": merged, "validation_wer": wer, "merged_from": parts}
    return first.model_copy(update=changes)
