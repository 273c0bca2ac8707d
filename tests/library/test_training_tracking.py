"""Experiment tracking: W&B's own offline files, and failures that cost nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import pytest

from whisper_retrain.edges.tracking import Guarded, NoTracker, open_tracker


@pytest.mark.slow
def test_without_a_key_wandb_writes_files_to_upload_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR", "WANDB_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    tracker = open_tracker("auto", "whisper-retrain", "a run", {"seed": 1}, tmp_path / "wandb")
    tracker.log(1, {"train/loss": 2.5})
    tracker.log(2, {"validation/wer": 0.25})
    assert tracker.finish() is None
    (file,) = tracker.files
    content = file.read_bytes()
    assert b"train/loss" in content
    assert b"validation/wer" in content
    assert not (tmp_path / "home").exists()


def test_tracking_can_be_switched_off(tmp_path: Path) -> None:
    tracker = open_tracker("off", "p", None, {}, tmp_path)
    tracker.log(1, {"loss": 1.0})
    assert tracker.finish() is None
    assert tracker.files == []


class Broken(NoTracker):
    """A tracker that has lost its server."""

    def __init__(self) -> None:
        self.calls = 0

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        self.calls += 1
        raise ConnectionError("no route to host")


def test_a_tracker_that_fails_is_said_once_and_never_asked_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = Broken()
    tracker = Guarded(broken)
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            tracker.log(step, {"loss": 1.0})
    assert broken.calls == 1
    assert caplog.text.count("tracking failed") == 1
    assert tracker.finish() is None
