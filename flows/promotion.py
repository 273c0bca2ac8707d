"""Promotion: a decision `promote` -> a new champion on the Hub, and everybody told."""

from __future__ import annotations

from prefect import flow

from flows.stages import stage
from tasks.notes import publish_champions_plot, publish_promotion_link
from tasks.releasing import promote
from whisper_retrain.config import DecodingConfig, ReleaseConfig
from whisper_retrain.records import Promotion
from whisper_retrain.release.evidence import Evidence, ReleaseJob


@flow(name="promote", flow_run_name="promote-to-{release.repo}")
@stage("promote")
def promotion(
    evidence: Evidence, release: ReleaseConfig, decoding: DecodingConfig = DecodingConfig()
) -> Promotion:
    """Publish the challenger; killed at any moment and run again, it ends the same.

    Args:
        evidence: The decision and the records it rests on.
        release: Where the champion is published.
        decoding: As the gate decoded.
    """
    promoted = promote(ReleaseJob(evidence=evidence, release=release, decoding=decoding))
    publish_promotion_link(promoted)
    publish_champions_plot(release)
    return promoted
