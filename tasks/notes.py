"""Prefect artifacts: the notes that people read in the UI. They hold no fact that S3 lacks.

Keys are fixed, so that a key's page is a history over flow runs.
"""

from __future__ import annotations

import logging
import time
from typing import cast
from uuid import UUID

from prefect import task
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE

from tasks.policies import LOOKUP
from tasks.services import cache_dir, hub, recordings, report_address, store
from whisper_retrain.config import ReleaseConfig
from whisper_retrain.data.manifest import load_manifest
from whisper_retrain.data.report import dataset_table, write_dataset_report
from whisper_retrain.gate.foresight import finds
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.history.learning import advice
from whisper_retrain.history.retrainings import finished_retrainings
from whisper_retrain.records import Artifact, DatasetRevision, Promotion, TrainingRun
from whisper_retrain.release.evidence import Evidence, ReleaseJob, report_key
from whisper_retrain.release.measured import differences_of, evaluations_of
from whisper_retrain.release.scores import METRIC_NAMES, ROLE_NAMES, score_text
from whisper_retrain.release.transaction import champions
from whisper_retrain.report.figures import svg_data_uri, wer_history_svg
from whisper_retrain.report.html import html_report
from whisper_retrain.report.markdown import decision_markdown
from whisper_retrain.training.progress import Progress

PROGRESS_EVERY_S = 5.0
"""An update costs an event each: more often helps nobody."""

TRAINING_FIGURES = {
    "learning": "Training loss, validation loss and WER by step; the star is the step kept",
    "resources": "Speed, share of the machine's peak and memory over time",
}


@task(task_run_name="dataset-report", cache_policy=NO_CACHE)
def publish_dataset_note(revision: DatasetRevision) -> None:
    """What the dataset revision holds, as a table."""
    utterances = load_manifest(store(), revision, cache_dir())
    found = finds([one for one in utterances if one.split == "test"], GatePolicy())
    create_table_artifact(
        table=dataset_table(revision),
        key="dataset-report",
        description=f"Dataset revision `{revision.digest[:12]}`. {found}",
    )
    report = write_dataset_report(store(), revision, cache_dir(), found)
    create_markdown_artifact(f"Report with plots: `{report.uri}`", key="dataset-report-html")


@task(task_run_name="training-figures", cache_policy=NO_CACHE)
def publish_training_note(run: TrainingRun) -> None:
    """How the training went: its two figures, and the way to its W&B run."""
    for name, title in TRAINING_FIGURES.items():
        svg = store().read(store().key(run.figures[name].uri))
        create_image_artifact(svg_data_uri(svg), key=f"training-{name}", description=title)
    if run.tracking_url:
        create_link_artifact(run.tracking_url, link_text="W&B run", key="wandb-run")
    elif offline := run.figures.get("tracking"):
        text = f"Tracked offline: download `{offline.uri}` and `wandb sync` it."
        create_markdown_artifact(text, key="wandb-run")


@task(task_run_name="evaluation-table", cache_policy=NO_CACHE)
def publish_evaluation_note(evidence: Evidence) -> None:
    """Scores of the models side by side, with 95 % intervals."""
    table = [
        {"model": ROLE_NAMES[role]}
        | {title: score_text(one.scores[metric]) for metric, title in METRIC_NAMES.items()}
        for role, one in evidence.scores.items()
    ]
    create_table_artifact(table, key="evaluation", description="Scores on the frozen test set")


@task(task_run_name="decision", cache_policy=NO_CACHE)
def publish_decision_note(evidence: Evidence, release: ReleaseConfig) -> None:
    """The decision with its reasons, and of a rejection what might help."""
    lines = advice(evidence, finished_retrainings(store(), release))
    markdown = decision_markdown(evidence, differences_of(store(), evidence), advice=lines)
    create_markdown_artifact(markdown, key="decision", description="What the gate decided, and why")


@task(task_run_name="write-report", **LOOKUP)
def write_report(
    evidence: Evidence, release: ReleaseConfig, promoted: Promotion | None
) -> Artifact:
    """The self-contained HTML report, in S3, where card and notification say that it lies."""
    audio = recordings(evidence.dataset).flac if release.report_audio else None
    job = ReleaseJob(evidence=evidence, release=release)
    html = html_report(
        evidence,
        evaluations_of(store(), evidence),
        differences_of(store(), evidence),
        audio=audio,
        promotion=promoted,
    )
    artifact = store().write(report_key(job), html.encode(), "text/html; charset=utf-8")
    create_markdown_artifact(f"Report: {report_address(job)}", key="report")
    return artifact


@task(task_run_name="promotion-link", cache_policy=NO_CACHE)
def publish_promotion_link(promoted: Promotion) -> None:
    """Link to the Hub revision."""
    url = hub().url(promoted.repo, promoted.revision)
    create_link_artifact(url, link_text=f"{promoted.repo} {promoted.tags[0]}", key="hub-revision")


@task(task_run_name="champions-plot", cache_policy=NO_CACHE)
def publish_champions_plot(release: ReleaseConfig) -> None:
    """WER over champions."""
    svg = wer_history_svg(champions(store(), release))
    create_image_artifact(svg, key="champions", description="WER of every champion")


class TrainingProgressNote:
    """Turns the training process's progress into log lines and a progress artifact."""

    def __init__(self, logger: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        self._logger = logger
        self._artifact: UUID | None = None
        self._last_s = 0.0

    def update(self, progress: Progress) -> None:
        """Take one progress line; called often, writes seldom."""
        if time.monotonic() - self._last_s < PROGRESS_EVERY_S:
            return
        self._last_s = time.monotonic()
        self._logger.info("%s", progress.line())
        self._show(100.0 * progress.step / max(progress.total_steps, 1), progress.line())

    def finish(self, run: TrainingRun) -> None:
        """The training has ended."""
        passes = f", each utterance {run.passes:.1f} times" if run.passes else ""
        text = f"{run.steps} steps{passes}, validation WER {run.validation_wer:.2%}"
        self._show(100.0, text)

    def _show(self, percent: float, text: str) -> None:
        if self._artifact is None:
            created = create_progress_artifact(percent, "fine-tuning", description="Fine-tuning")
            self._artifact = cast(UUID, created)  # typed for async callers too
        update_progress_artifact(self._artifact, min(percent, 100.0), description=text)
