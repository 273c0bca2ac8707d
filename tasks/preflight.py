"""Checks that come before anything expensive."""

from __future__ import annotations

from prefect import get_run_logger, task

from tasks.policies import LOOKUP
from tasks.services import settings
from whisper_retrain.config import BaseModelConfig, DatasetConfig, ReleaseConfig, TrainingConfig
from whisper_retrain.doctor import CheckScope, require, run_checks


@task(task_run_name="check-services", **LOOKUP)
def check_services(
    dataset: DatasetConfig,
    base_model: BaseModelConfig,
    release: ReleaseConfig,
    training: TrainingConfig,
) -> None:
    """Fail now, with every reason at once, rather than after hours of training."""
    scope = CheckScope(dataset, base_model, release, training)
    results = run_checks(scope, settings())
    for result in results:
        get_run_logger().info("check %s: %s (%s)", result.name, result.status, result.found)
    require(results)
