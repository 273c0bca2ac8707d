"""The order for one training: everything that determines its outcome, and nothing of this machine.

Knows nothing of how it is done. Paths, endpoints and credentials never enter a job, so its digest
is the same wherever it is asked for.
"""

from __future__ import annotations

from typing import Any, ClassVar

from whisper_retrain.config import DecodingConfig, TrainingConfig
from whisper_retrain.records import DatasetRevision, Job, ModelRef, Record, TrainingRun


class Tracking(Record):
    """Where the curves are shown; has no part in the job's digest."""

    name: str | None = None
    """Of the W&B run; None: W&B chooses one."""
    mode: str = "auto"  # auto: online with a key in the environment, else offline; or "off"
    """auto: online with a key in the environment, else offline; or off."""


WARM_RATE = 1 / 3
"""Of the learning rate: the champion has learned most of it already."""


class WarmStart(Record):
    """Go on from the champion instead of from the base model."""

    champion: ModelRef
    """Whose files are trained on."""
    dataset: DatasetRevision | None = None
    """What it was trained on: half of what is drawn is new since then. None: not known."""
    base_model: ModelRef | None = None
    """What it was once made from. None: not known."""

    @property
    def inputs(self) -> dict[str, Any]:
        """What it changes in the outcome."""
        return {
            "model": self.champion.model_digest,
            "dataset": self.dataset.digest if self.dataset else None,
            "rate": WARM_RATE,
        }


class TrainingJob(Job):
    """Fine-tune this base model on this dataset revision in this way."""

    stage: ClassVar[str] = "train"
    version: ClassVar[str] = "v3"

    dataset: DatasetRevision
    """What is trained on."""
    base_model: ModelRef
    """What fine-tuning starts from."""
    config: TrainingConfig
    """How."""
    decoding: DecodingConfig = DecodingConfig()
    """How the validation split is transcribed."""
    code_revision: str = "unknown"
    """Version of the library, and a digest of its sources."""
    tracking: Tracking = Tracking()
    """Where the curves are shown."""
    start: WarmStart | None = None
    """A champion to go on from; None: the base model."""

    @property
    def starts_from(self) -> ModelRef:
        """The model whose files are trained on."""
        return self.start.champion if self.start else self.base_model

    @property
    def inputs(self) -> dict[str, Any]:
        """What determines the outcome.

        Left out are tracking, the base model's name and place, the code revision and
        the operational settings (deadline, processes, threads, micro-batch, states), so that a
        rerun with other ones resumes.
        """
        left_out = TrainingConfig.operational | self.config.unchanged
        config = self.config.model_dump(mode="json", exclude=set(left_out))
        inputs = {
            "dataset": self.dataset.digest,
            "model": self.base_model.model_digest,
            "config": config,
            "decoding": self.decoding.model_dump(mode="json"),
        }
        return inputs | ({"start": self.start.inputs} if self.start else {})

    def named(self, run: TrainingRun) -> TrainingRun:
        """A training found again: its models under the names and places of this job."""
        started_from = self.start.champion if self.start else None
        return run.model_copy(update={"base_model": self.base_model, "started_from": started_from})
