"""Where a training goes on: at its own newest state, at the trunk of a shorter one, or nowhere yet.

Knows how states are found and agreed on by all processes, not what is in them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from whisper_retrain.edges.store import ObjectStore
from whisper_retrain.errors import TransientError
from whisper_retrain.training.course import Course
from whisper_retrain.training.devices import Device
from whisper_retrain.training.job import TrainingJob
from whisper_retrain.training.optimization import Optimization
from whisper_retrain.training.schedule import Schedule
from whisper_retrain.training.state import States
from whisper_retrain.training.trunk import trunk_of
from whisper_retrain.training.weights import KeptWeights

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeptStates:
    """Where a training can go on: at its own states, or at the trunk that a shorter one left."""

    own: States
    """Of this very training."""
    trunk: States | None
    """Of all trainings that begin as this one does; None where the rate is never constant."""

    def close(self) -> None:
        """Stop uploading."""
        for states in filter(None, (self.own, self.trunk)):
            states.close()


def states_of(
    job: TrainingJob, schedule: Schedule, store: ObjectStore, work_dir: Path
) -> KeptStates:
    """The states of a training, on this machine and in S3."""
    interval_s, trunk = job.config.state_interval_s, trunk_of(job, schedule)
    own = States(store, job.prefix, job.digest, work_dir, interval_s)
    if trunk is None:
        return KeptStates(own, None)
    folder, until = work_dir / "trunk", schedule.constant_steps
    return KeptStates(
        own, States(store, trunk.prefix, trunk.digest, folder, interval_s, at_most=until)
    )


def resume(
    states: KeptStates,
    optimization: Optimization,
    kept: KeptWeights,
    device: Device,
    work_dir: Path,
) -> Course:
    """The course so far: that of an earlier try, else that of a shorter training's trunk."""
    course = _restored(states.own, optimization, kept, device, work_dir)
    if course:
        course.resumed_from.append(course.step)
        logger.info("resuming from step %d", course.step)
    elif states.trunk and (course := _restored(states.trunk, optimization, kept, device, work_dir)):
        course.resumed_from.clear()
        course.inherited_s = course.elapsed_s
        logger.info("going on from step %d of a shorter training", course.step)
    return course or Course()


def _restored(
    states: States,
    optimization: Optimization,
    kept: KeptWeights,
    device: Device,
    work_dir: Path,
) -> Course | None:
    """The newest whole state, or None; one process of each machine fetches, all read.

    Raises TransientError unless all have come to the same step: each machine has its own disk, and
    a step more or less on one of them would train nonsense.
    """
    if device.is_first_here:
        states.fetch(alone=optimization.config.nodes == 1)
    device.barrier()
    found = states.restore(optimization, kept)
    steps = device.gather([found.step if found else 0])
    if len(set(steps)) > 1:
        raise TransientError(
            "the machines of this training do not resume at the same step",
            where=str(work_dir),
            expected="one step",
            got=f"by rank: {', '.join(map(str, steps))}",
            remedy="run again; if that does not help, remove this folder on the machine ahead",
        )
    if found:
        optimization.budget_s = found.micro_batch_s or optimization.budget_s
    return found
