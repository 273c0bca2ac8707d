"""What a training leaves in the Prefect UI, read back from a real Prefect server."""

from __future__ import annotations

import base64
import logging
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.artifacts import Artifact

from tasks import notes
from tests.fixtures.evidence import some_evidence
from whisper_retrain.edges.store import S3Store
from whisper_retrain.records import TrainingRun
from whisper_retrain.training.figures import draw_figures
from whisper_retrain.training.progress import Progress

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def run(task_store: S3Store, tmp_path: Path) -> TrainingRun:
    """A training run with its figures drawn and stored."""
    found = some_evidence().run
    paths = draw_figures(found.curve, found.best_step, tmp_path)
    (tmp_path / "run.wandb").write_bytes(b"tracked")
    paths["tracking"] = tmp_path / "run.wandb"
    figures = {name: task_store.upload(f"figures/{name}", path) for name, path in paths.items()}
    return found.model_copy(update={"figures": figures})


@flow
def publish(run: TrainingRun) -> None:
    notes.publish_training_note(run)


def artifact(key: str) -> Any:
    found = Artifact.get(key)
    assert found, f"no artifact {key}"
    return found


def test_a_training_shows_its_figures_and_the_way_to_its_tracking(
    run: TrainingRun, task_store: S3Store
) -> None:
    publish(run)
    for name in ("learning", "resources"):
        shown = artifact(f"training-{name}")
        assert shown.type == "image"
        svg = base64.b64decode(shown.data.removeprefix("data:image/svg+xml;base64,"))
        assert svg == task_store.read(f"figures/{name}")
        assert b"</svg>" in svg
    assert run.figures["tracking"].uri in artifact("wandb-run").data


def test_a_training_tracked_online_links_to_its_run(run: TrainingRun) -> None:
    online = run.model_copy(update={"tracking_url": "https://wandb.example/run"})
    publish(online)
    assert "https://wandb.example/run" in artifact("wandb-run").data


def test_progress_says_how_far_how_fast_and_how_long_still(run: TrainingRun) -> None:
    progress = Progress(
        phase="training",
        step=15,
        total_steps=60,
        loss=0.5,
        wer=0.125,
        audio_s_per_s=27.2,
        compute_share=0.61,
        memory_bytes=2 << 30,
        eta_s=90.0,
    )

    @flow
    def training() -> None:
        note = notes.TrainingProgressNote(logging.getLogger("training"))
        note.update(progress)
        shown = artifact("fine-tuning")
        assert (shown.type, shown.data) == ("progress", 25.0)
        assert shown.description == (
            "training, step 15/60, loss 0.500, WER 12.5 %, 27 audio-s/s, 61 % of peak, "
            "2.0 GiB, ETA 90 s"
        )
        note.finish(run)

    training()
    assert artifact("fine-tuning").data == 100.0
