"""The trunk: the part of a training at a constant rate, which a longer one has in common with it.

With `decay: last-fifth` trainings of 2, 4 and 8 epochs take the very same steps until the shorter
one's rate begins to fall. Its training state there, kept on request, is where the longer one goes
on. That saves time and changes no result, so a trunk has no part in the digest of any job.
"""

from __future__ import annotations

from typing import Any, ClassVar

from whisper_retrain.edges.store import ObjectStore
from whisper_retrain.records import Job
from whisper_retrain.training.job import TrainingJob
from whisper_retrain.training.schedule import Schedule

LENGTH = ("epochs", "max_steps", "warmup_share", "eval_share")
"""What says how long a training is; of these the schedule holds what matters to a trunk."""


class TrunkJob(Job):
    """All that the steps before the decay depend on; the same for trainings of any length."""

    stage: ClassVar[str] = "trunk"
    version: ClassVar[str] = "v1"

    training: TrainingJob
    """A training that has this trunk."""
    warmup_steps: int
    """In which its rate rises."""
    eval_steps: int
    """From one validation to the next: they decide which weights are kept."""

    @property
    def inputs(self) -> dict[str, Any]:
        """Those of the training but its length."""
        inputs = self.training.inputs
        config = {name: value for name, value in inputs["config"].items() if name not in LENGTH}
        steps = [self.warmup_steps, self.eval_steps]
        return {**inputs, "config": config, "steps": steps, "training": self.training.version}


def trunk_of(training: TrainingJob, schedule: Schedule) -> TrunkJob | None:
    """The trunk of a training; None where the rate is never constant."""
    if not schedule.constant_steps:
        return None
    return TrunkJob(
        training=training, warmup_steps=schedule.warmup_steps, eval_steps=schedule.eval_steps
    )


def forget_trunk(store: ObjectStore, trunk: str) -> None:
    """Delete the states that were kept under a TrainingRun's `trunk`."""
    for key in list(store.keys(f"{trunk}/state/")):
        store.delete(key)
