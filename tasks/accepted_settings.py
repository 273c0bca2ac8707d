"""Tasks around a proposal of a tuning: a person accepts it, and retrainings follow it."""

from __future__ import annotations

from prefect import get_run_logger, task

from tasks.policies import LOOKUP
from tasks.services import store
from whisper_retrain.config import BaseModelConfig, ReleaseConfig, TrainingConfig
from whisper_retrain.edges.clock import SystemClock
from whisper_retrain.records import Record, TrainingRun
from whisper_retrain.tuning import proposal as proposals
from whisper_retrain.tuning.proposal import Proposal, followed


@task(task_run_name="accept-proposal", **LOOKUP)
def accept_proposal(release: ReleaseConfig, proposal: str | None) -> Proposal:
    """Let the next retrainings follow the newest proposal."""
    return proposals.accept(store(), release.repo, proposal, SystemClock().now())


@task(task_run_name="withdraw-proposal", **LOOKUP)
def withdraw_proposal(release: ReleaseConfig) -> None:
    """Let retrainings follow their own settings again."""
    proposals.withdraw(store(), release.repo, SystemClock().now())


class Followed(Record):
    """The settings that a retraining trains with."""

    training: TrainingConfig
    """With those of an accepted proposal in their place."""
    tuning: str | None = None
    """Digest of the proposal; None: none was accepted for this base model."""

    def named(self, run: TrainingRun) -> TrainingRun:
        """A training by these settings, which says where they come from."""
        return run.model_copy(update={"tuning": self.tuning})


@task(task_run_name="find-accepted-settings", **LOOKUP)
def follow_accepted(
    training: TrainingConfig, base_model: BaseModelConfig, release: ReleaseConfig
) -> Followed:
    """The settings with what a person has accepted for this release repo and base model."""
    follow = training.follow_tuning
    found = proposals.accepted_proposal(store(), release.repo) if follow else None
    if found is None:
        return Followed(training=training)
    if found.base_repo != base_model.repo:
        get_run_logger().warning(
            "the accepted settings were tuned for %s and are left aside", found.base_repo
        )
        return Followed(training=training)
    get_run_logger().info("settings of the accepted tuning: %s", found.settings)
    return Followed(training=followed(training, found), tuning=found.digest)
