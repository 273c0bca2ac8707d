"""Tasks of promotion and rollback."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from prefect import task

from tasks.notifications import announce
from tasks.policies import LOOKUP, STAGE
from tasks.services import cache_dir, hub, recordings, report_address, store
from whisper_retrain.config import ReleaseConfig
from whisper_retrain.edges.clock import SystemClock
from whisper_retrain.evaluation.jobs import load_evaluation
from whisper_retrain.history.learning import advice
from whisper_retrain.history.retrainings import finished_retrainings
from whisper_retrain.records import Promotion
from whisper_retrain.release import outbox, promotion, rollback
from whisper_retrain.release.evidence import Evidence, ReleaseJob
from whisper_retrain.release.notifications import challenger_rejected
from whisper_retrain.release.transaction import Edges, recover, superseded
from whisper_retrain.release.verify import verify_in_child


def edges() -> Edges:
    """The outside world of a release."""
    return Edges(hub=hub(), store=store(), clock=SystemClock())


@task(task_run_name="recover-{release.repo}", **LOOKUP)
def complete_unfinished(release: ReleaseConfig) -> int:
    """Complete the promotion or rollback that an earlier flow run died in; mostly none."""
    return len(recover(release, edges()))


@task(task_run_name="promote-to-{job.release.repo}", **STAGE)
def promote(job: ReleaseJob) -> Promotion:
    """Push, verify, move the tags, record, and queue the notification."""
    evidence = job.evidence
    judged = load_evaluation(store(), evidence.challenger)
    with tempfile.TemporaryDirectory(dir=cache_dir("work")) as folder:
        held_out, margin = recordings(evidence.dataset), job.release.dictation_margin
        trial = held_out.trial(judged, job.decoding, Path(folder), margin)
        verify = partial(verify_in_child, trial)
        return promotion.promote(evidence, verify, job.release, edges(), report_address(job))


@task(task_run_name="read-back-from-{release.repo}", **LOOKUP)
def why_superseded(promoted: Promotion, release: ReleaseConfig) -> str | None:
    """Who is champion instead, as the Hub says now; None: what was promoted is."""
    return superseded(promoted, release, edges())


@task(task_run_name="roll-back-{release.repo}", **LOOKUP)
def roll_back(
    request: str, release: ReleaseConfig, to_revision: str | None, reason: str
) -> Promotion:
    """Move the champion tag back, record it, and queue the notification."""
    return rollback.rollback(request, release, edges(), to_revision, reason)


@task(task_run_name="queue-rejection", **LOOKUP)
def queue_rejection(evidence: Evidence, release: ReleaseConfig) -> None:
    """Queue the notification that the champion stays; the same decision is told once."""
    job = ReleaseJob(evidence=evidence, release=release)
    notification = challenger_rejected(
        evidence.decision,
        release.repo,
        job.digest,
        evidence.scores_of("challenger"),
        evidence.scores_of(evidence.against),
        SystemClock().now(),
        {"report": report_address(job)},
        advice(evidence, finished_retrainings(store(), release)),
    )
    outbox.enqueue(store(), notification)


@task(task_run_name="announce-outbox", **LOOKUP)
def announce_outbox() -> None:
    """Emit the events that have the outbox delivered at once."""
    for notification in outbox.pending(store()):
        announce(notification)
