"""The world of the benchmarks that live through retrainings: tiny.en, trained in own processes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from benchmarks.year_pieces import World
from tests.fixtures.s3 import BUCKET, S3Server
from whisper_retrain.config import TrainingConfig
from whisper_retrain.edges.store import S3Store
from whisper_retrain.local.demo.base_model import convert_base_model
from whisper_retrain.local.demo.speakers import DEMO_TEST_SPEAKERS
from whisper_retrain.records import TrainingRun
from whisper_retrain.training.job import TrainingJob
from whisper_retrain.training.launch import run_training


def real_world(cache: Path, server: S3Server, training: TrainingConfig, **settings: Any) -> World:
    """tiny.en, and the demo's test voices; trains in own processes."""
    # What the training's own process reads.
    os.environ.update(server.environment() | {"WHISPER_RETRAIN_CACHE_DIR": str(cache)})
    return world_in(S3Store(f"s3://{BUCKET}/year"), cache, training, **settings)


def world_in(
    store: S3Store,
    cache: Path,
    training: TrainingConfig,
    **settings: Any,
) -> World:
    """The same in a store of the server that the environment names."""

    def train(job: TrainingJob, start: Path, work: Path) -> TrainingRun:
        return run_training(job, store.location, start, work, lambda _: None)

    return World(
        store=store,
        cache=cache,
        base=convert_base_model(cache / "whisper-tiny.en"),
        train=train,
        test_speakers=tuple(map(str, DEMO_TEST_SPEAKERS)),
        training=training,
        say=lambda text: print(text, flush=True),
        **settings,
    )
