"""Tasks that look at what was decided before, and record what was decided now."""

from __future__ import annotations

from prefect import task

from tasks.policies import LOOKUP
from tasks.services import hub, store
from whisper_retrain.config import DatasetConfig, ReleaseConfig
from whisper_retrain.edges.clock import SystemClock
from whisper_retrain.history import retrainings
from whisper_retrain.history.retrainings import Retraining, RetrainingRequest
from whisper_retrain.history.unbeaten import find_unbeaten
from whisper_retrain.records import Artifact, DatasetRevision, Promotion
from whisper_retrain.release.evidence import Evidence
from whisper_retrain.release.transaction import current_champion


@task(task_run_name="find-last-retraining", **LOOKUP)
def find_last(release: ReleaseConfig) -> Retraining | None:
    """The newest finished retraining for this release repo."""
    return retrainings.latest_retraining(store(), release)


@task(task_run_name="is-there-anything-new", **LOOKUP)
def why_nothing_new(
    last: Retraining | None,
    request: RetrainingRequest,
    revision: DatasetRevision,
    config: DatasetConfig,
) -> str | None:
    """Why a retraining would be pointless; None when it would not."""
    champion = current_champion(request.release, hub()) if request.candidates else None
    unbeaten = find_unbeaten(store(), request, champion) if champion else None
    if unbeaten:
        return f"{unbeaten.choice.reason}, since {unbeaten.at:%Y-%m-%d %H:%M} UTC"
    return retrainings.nothing_new(last, request, revision, config)


@task(task_run_name="find-promoted-evidence", **LOOKUP)
def promoted_before(request: RetrainingRequest) -> Evidence | None:
    """The evidence of this very request, when its challenger was promoted and the run then died.

    Without it a rerun would compare the new champion with itself.
    """
    return retrainings.promoted_evidence(store(), request)


@task(task_run_name="keep-evidence", **LOOKUP)
def keep_evidence(request: RetrainingRequest, evidence: Evidence) -> None:
    """Store the evidence before anything acts on it."""
    retrainings.keep_evidence(store(), request, evidence)


@task(task_run_name="close-retraining", **LOOKUP)
def close(
    request: RetrainingRequest, evidence: Evidence, promoted: Promotion | None, report: Artifact
) -> Retraining:
    """Write the closing record, last."""
    retraining = Retraining(
        request=request,
        evidence=evidence,
        promotion=promoted,
        report=report,
        at=SystemClock().now(),
    )
    return retrainings.close_retraining(store(), retraining)
