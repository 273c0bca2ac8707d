"""Rollback: the champion tag goes back to an earlier revision, and everybody is told."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from prefect.runtime import flow_run
from pydantic import Field

from flows.stages import stage
from tasks.notes import publish_champions_plot
from tasks.releasing import announce_outbox, roll_back
from whisper_retrain.config import ReleaseConfig
from whisper_retrain.records import Promotion


@flow(name="rollback", flow_run_name="roll-back-{release.repo}")
@stage("rollback")
def rollback(
    release: ReleaseConfig,
    to_revision: Annotated[str | None, Field(pattern=r"^[0-9a-f]{40}$")] = None,
    reason: Annotated[str, Field(max_length=500)] = "",
) -> Promotion:
    """Make an earlier revision the champion again.

    Args:
        release: The repo whose champion goes back.
        to_revision: The revision (40 hex digits) to go back to; none: the previous champion.
        reason: Why; recorded, and told in the notification.
    """
    moved = roll_back(str(flow_run.id), release, to_revision, reason)
    announce_outbox()
    publish_champions_plot(release)
    return moved
