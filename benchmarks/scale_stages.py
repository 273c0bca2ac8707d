"""Stand-ins of seconds for a retraining and its training: what benchmarks/scale.py runs on pools.

They call the real `placed`, and import what the real parent imports. A training does a step every
fifth of a second, keeps its state after each, and resumes there; what it did is in a ledger.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from prefect import flow

import flows.retrain  # noqa: F401 - for its weight
from flows.placement import placed
from flows.stages import stage
from whisper_retrain.errors import InputError
from whisper_retrain.records import Record

STEP_S = 0.2


class Trained(Record):
    """A stand-in for a training run."""

    name: str
    """Of what was asked for."""
    steps: int
    """That were done in all."""


def folder() -> Path:
    """Stands for S3: every machine sees it."""
    return Path(os.environ["SCALE_FOLDER"])


def enter(digest: str, event: str, step: int = 0) -> None:
    """A line of the ledger."""
    line = {"digest": digest, "event": event, "step": step, "at": time.time()}
    with (folder() / "ledger.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


@flow(name="fine-tune", persist_result=True)
@stage("fine-tune")
def train(digest: str, steps: int, fails: bool = False) -> Trained:
    """Train, unless there is a record; resume where the state is."""
    record, state = folder() / f"{digest}.json", folder() / f"{digest}.state"
    if not record.exists():
        first = int(state.read_text()) if state.exists() else 0
        enter(digest, "began", first)
        for step in range(first, steps):
            time.sleep(STEP_S)
            state.write_text(str(step + 1))
            if fails and step == 3:
                enter(digest, "failed", step)
                raise InputError("the base model is no Whisper", remedy="name another one")
        enter(digest, "trained", steps)
        record.write_text(Trained(name=digest, steps=steps).model_dump_json())
    return Trained.model_validate_json(record.read_text())


def is_trained(digest: str, steps: int, fails: bool = False) -> bool:
    """Whether there is a record."""
    return (folder() / f"{digest}.json").exists()


@flow(name="retrain")
@stage("retrain")
def retrain(digest: str, steps: int, fails: bool = False) -> str:
    """A parent: waits for the training wherever it is placed, and goes on."""
    trained = placed(train, is_trained)(digest, steps, fails)
    enter(digest, "promoted", trained.steps)
    return trained.name
