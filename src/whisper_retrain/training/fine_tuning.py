"""A training from base model to stored checkpoint, inside one process of one or several.

Knows nothing of who asked for it. What it needs of this machine comes in `Surroundings`; what it
hands back is a record.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from whisper_retrain.config import TrainingConfig
from whisper_retrain.cpu_bfloat16 import use_blocks
from whisper_retrain.edges.store import ObjectStore, write_record
from whisper_retrain.edges.tracking import Tracker, open_tracker
from whisper_retrain.errors import DivergedError
from whisper_retrain.evaluation.transformers_runtime import quiet_transformers
from whisper_retrain.model_files import upload_checkpoint
from whisper_retrain.records import Artifact, Checkpoint, TrainingRun
from whisper_retrain.retries import retried
from whisper_retrain.training import model as whisper
from whisper_retrain.training.augmentation import SpecAugment
from whisper_retrain.training.checkpoint import write_checkpoint
from whisper_retrain.training.compute import peak_flop_per_s, peak_memory_bytes
from whisper_retrain.training.devices import Device
from whisper_retrain.training.figures import draw_figures
from whisper_retrain.training.job import WARM_RATE, TrainingJob
from whisper_retrain.training.loop import TrainingLoop
from whisper_retrain.training.lora import add_adapters
from whisper_retrain.training.optimization import Optimization
from whisper_retrain.training.portions import batch_plan, portion_loader
from whisper_retrain.training.progress import Reporter
from whisper_retrain.training.resuming import KeptStates, resume, states_of
from whisper_retrain.training.schedule import Schedule, passes, schedule_of
from whisper_retrain.training.selection import Selection, select_weights
from whisper_retrain.training.speech import (
    Example,
    Labels,
    TrainingSpeech,
    TrainingUtterance,
    usable,
)
from whisper_retrain.training.trunk import trunk_of
from whisper_retrain.training.validation import Validator
from whisper_retrain.training.weights import KeptWeights, set_weights

STORE_PATIENCE_S = 600.0  # a finished training waits so long for S3 to come back
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Surroundings:
    """What a training finds on its machine."""

    speech: TrainingSpeech
    """What is trained on, and the way to its audio."""
    store: ObjectStore
    """Where checkpoint, states and record go."""
    base_model_dir: Path
    """Files of the base model."""
    work_dir: Path
    """For what is under way."""
    device: Device
    """Where the model runs."""
    reporter: Reporter
    """Tells how far it is."""
    wandb_project: str = "whisper-retrain"
    """Project of the W&B run."""
    stopping: Callable[[], bool] = bool
    """Whether somebody asked to stop."""
    store_patience_s: float = STORE_PATIENCE_S
    """How long a finished training waits for S3."""


def train(job: TrainingJob, around: Surroundings) -> TrainingRun | None:
    """Do a job, resuming from its newest training state; None on all but the main process.

    Raises InterruptedTrainingError when told to stop, InputError, OutOfMemoryError, DivergedError
    (the best checkpoint so far is stored and named), TransientError when S3 stays away.
    """
    began = time.monotonic()
    quiet_transformers()
    around.reporter.say("loading", "base model and utterances")
    loop, kept_states, dropped = _prepare(job, around)
    try:
        selection = _train(job, around, loop)
        run = None
        if around.device.is_main:
            run = _hand_on(job, around, loop, selection, dropped, began)
            kept_states.own.clear()
        around.device.barrier()  # the others' parents look for the record
        return run
    finally:
        kept_states.close()


def _prepare(
    job: TrainingJob, around: Surroundings
) -> tuple[TrainingLoop, KeptStates, dict[str, int]]:
    config, device = job.config, around.device
    if config.threads:
        torch.set_num_threads(config.threads)
    model = whisper.load_model(around.base_model_dir)
    whisper.mend_generation_config(model, job.decoding)
    labels = whisper.labels_for(model, around.base_model_dir, job.decoding)
    chosen, dropped = usable(around.speech.train, labels, "train")
    validation, _ = usable(around.speech.validation, labels, "validation")
    plan = batch_plan(chosen, config, around.speech.new_ids)
    schedule = schedule_of(config, plan.steps_per_epoch)
    optimization = optimization_for(
        model, labels, config, schedule, device, WARM_RATE if job.start else 1.0
    )
    kept = KeptWeights(around.work_dir / "kept")
    states = states_of(job, schedule, around.store, around.work_dir)
    course = resume(states, optimization, kept, device, around.work_dir)
    loop = TrainingLoop(
        config=config,
        schedule=schedule,
        optimization=optimization,
        validator=Validator(
            _spread(validation, config.max_validation_utterances),
            lambda utterance: _example(utterance, labels, around.speech),
            labels,
            job.decoding,
            device,
        ),
        plan=plan,
        load=portion_loader(chosen, labels, config, around.speech),
        course=course,
        kept=kept,
        states=states.own,
        trunk=states.trunk if config.keep_trunk else None,
        reporter=around.reporter,
        tracker=_tracker(job, around),
        stopping=around.stopping,
        peak_flop_per_s=device.from_main(peak_flop_per_s(device.torch, device.precision)),
    )
    return loop, states, dropped


def optimization_for(
    model: Any,
    labels: Labels,
    config: TrainingConfig,
    schedule: Schedule,
    device: Device,
    rate: float = 1.0,
) -> Optimization:
    """The model on its device, with all that the configuration asks for, ready for a first step.

    `rate` is a factor on the learning rate.
    """
    if device.precision == torch.bfloat16 and not config.compile:
        use_blocks(model)
    if config.lora_rank:
        add_adapters(model, config.lora_rank)
    if config.gradient_checkpointing:
        whisper.checkpoint_activations(model)
    loss = whisper.WhisperLoss(model, SpecAugment() if config.spec_augment else None)
    loss.to(device.torch).train()
    if config.compile:
        model.model.compile(dynamic=True)
    peak = rate * (config.learning_rate or whisper.default_learning_rate(model))
    return Optimization(loss, labels, config, schedule, device, peak)


def _spread(utterances: list[TrainingUtterance], at_most: int | None) -> list[TrainingUtterance]:
    """So many utterances, evenly spread over the split."""
    if at_most is None or len(utterances) <= at_most:
        return utterances
    return [utterances[index * len(utterances) // at_most] for index in range(at_most)]


def _example(utterance: TrainingUtterance, labels: Labels, speech: TrainingSpeech) -> Example:
    return Example(utterance.id, speech.audio(utterance), labels.ids(utterance.reference))


def _tracker(job: TrainingJob, around: Surroundings) -> Tracker:
    mode = job.tracking.mode if around.device.is_main else "off"
    config = {
        **job.config.model_dump(mode="json"),
        "job": job.digest,
        "dataset": job.dataset.digest,
        "config": job.config.digest,
        "base_model": job.base_model.model_digest,
        "starts_from": job.starts_from.model_digest,
        "code_revision": job.code_revision,
    }
    return open_tracker(
        mode,
        around.wandb_project,
        job.tracking.name,
        config,
        around.work_dir / "wandb",
        resume_id=job.digest[:32],
    )


def _train(job: TrainingJob, around: Surroundings, loop: TrainingLoop) -> Selection:
    """Train, then put the weights that are to be handed on into the model."""
    try:
        loop.run()
    except DivergedError as error:
        raise _with_best_stored(error, job, around, loop) from error
    plain = _plain_model(job, around)
    loop.optimization.release()
    device = around.device
    device.barrier()  # the main process may still be writing the last weights
    plain.to(device.torch)
    loss = whisper.WhisperLoss(plain).to(device.torch)
    loop.optimization.loss = loss

    def validate(what: str) -> float:
        def progress(done: int, of: int) -> None:
            around.reporter.say("validating", what, done=done, of=of)

        return loop.validator.run(loss, progress).wer

    return select_weights(
        plain, loop.course, loop.kept, job.config, around.base_model_dir, validate
    )


def _plain_model(job: TrainingJob, around: Surroundings) -> Any:
    model = whisper.load_model(around.base_model_dir)
    whisper.mend_generation_config(model, job.decoding)
    return model


def _with_best_stored(
    error: DivergedError, job: TrainingJob, around: Surroundings, loop: TrainingLoop
) -> DivergedError:
    """The same error, naming where the best checkpoint before it is."""
    best = loop.course.best_step
    loop.tracker.finish()
    if best is None or not around.device.is_main:
        return error
    model = _plain_model(job, around)
    set_weights(model, loop.kept.read(best))
    prefix = f"{job.prefix}/diverged"
    _store_checkpoint(model, prefix, around)
    place = f"{error.where}; best checkpoint (step {best}) kept at {around.store.uri(prefix)}"
    return DivergedError(
        error.what, where=place, expected=error.expected, got=error.got, remedy=error.remedy
    )


def _store_checkpoint(model: Any, prefix: str, around: Surroundings) -> Checkpoint:
    around.reporter.say("saving", "writing the checkpoint and loading it again")
    directory = write_checkpoint(model.cpu(), around.base_model_dir, around.work_dir / "checkpoint")
    around.reporter.say("saving", "uploading the checkpoint")
    return retried(
        lambda: upload_checkpoint(around.store, prefix, directory),
        patience_s=around.store_patience_s,
    )


def _hand_on(
    job: TrainingJob,
    around: Surroundings,
    loop: TrainingLoop,
    selection: Selection,
    dropped: dict[str, int],
    began: float,
) -> TrainingRun:
    """Store checkpoint and figures, then the record, last."""
    course = loop.course
    checkpoint = _store_checkpoint(
        loop.optimization.loss.whisper, f"{job.prefix}/checkpoint", around
    )
    url = loop.tracker.finish()
    seconds = course.training_s or 1.0
    peak = loop.peak_flop_per_s * around.device.ranks
    run = TrainingRun(
        dataset_digest=job.dataset.digest,
        base_model=job.base_model,
        started_from=job.start.champion if job.start else None,
        config_digest=job.config.digest,
        code_revision=job.code_revision,
        seed=job.config.seed,
        checkpoint=checkpoint,
        steps=course.step,
        best_step=selection.step,
        validation_wer=selection.wer,
        audio_s_per_s=round(course.audio_s / seconds, 2),
        peak_memory_bytes=peak_memory_bytes(around.device.torch),
        duration_s=round(course.elapsed_s, 2),
        curve=tuple(course.points),
        tracking_url=url,
        dropped=dropped,
        figures=_store_figures(job, around, loop, selection),
        resumed_from_steps=tuple(course.resumed_from),
        stopped_early=course.step < loop.schedule.steps,
        averaged_steps=selection.averaged_steps,
        compute_share=round(course.flop / seconds / peak, 4),
        passes=passes(course.step, job.config.batch_size, len(loop.plan.durations_s)),
        inherited_s=round(course.inherited_s, 2),
        trunk=_stored_trunk(job, around, loop),
    )
    retried(
        lambda: write_record(around.store, job.record_key, run),
        patience_s=around.store_patience_s,
    )
    around.reporter.say("done", f"step {run.best_step} is kept", wer=run.validation_wer, eta_s=0.0)
    logger.info("training took %.0f s in all", time.monotonic() - began)
    return run


def _stored_trunk(job: TrainingJob, around: Surroundings, loop: TrainingLoop) -> str | None:
    """Prefix of the trunk that is kept, once its upload is through."""
    trunk = trunk_of(job, loop.schedule)
    if trunk is None or loop.trunk is None:
        return None
    loop.trunk.wait(around.store_patience_s)
    return trunk.prefix


def _store_figures(
    job: TrainingJob, around: Surroundings, loop: TrainingLoop, selection: Selection
) -> dict[str, Artifact]:
    paths = draw_figures(loop.course.points, selection.step, around.work_dir / "figures")
    for path in loop.tracker.files:
        paths["tracking"] = path
    stored = {}
    for name, path in paths.items():
        kind = "image/svg+xml" if path.suffix == ".svg" else "application/octet-stream"
        key = f"{job.prefix}/figures/{path.name}"
        stored[name] = retried(
            partial(around.store.upload, key, path, kind), patience_s=around.store_patience_s
        )
    return stored
