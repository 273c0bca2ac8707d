"""Every cache key, retry rule, timeout and tag of the tasks, in one place.

A stage's task takes one job, whose `stage/digest` is the cache key, after the store's address, for
results name places in it: it hits across flow runs and machines, and misses when the stage's
version is raised, as the S3 key does. Prefect's own default contains the flow run's id and never
hits again; `INPUTS` does not contain the task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect.cache_policies import NO_CACHE, CacheKeyFnPolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.tasks import Task, exponential_backoff

from tasks.services import settings
from whisper_retrain.errors import TransientError
from whisper_retrain.records import Job

GPU_TAG = "gpu"
"""Tasks with this tag share one GPU: deployments.setup creates the limit of one."""


def key_of_job(_: TaskRunContext, arguments: dict[str, Any]) -> str:
    """The key of the one job among the arguments; the others have no part in the outcome."""
    (job,) = (value for value in arguments.values() if isinstance(value, Job))
    return f"{settings().store}/{job.cache_key}"


def is_transient(_: Task[..., Any], __: TaskRun, state: State[Any]) -> bool:
    """Retry named transient errors only; anything else would fail again, and cost a GPU hour."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, TransientError)


PAUSES: Mapping[str, Any] = {
    "retry_delay_seconds": exponential_backoff(5),
    "retry_jitter_factor": 0.5,
}
"""5, 10, 20, 40 ... s, each up to half longer or shorter."""

RETRIED: Mapping[str, Any] = {**PAUSES, "retries": 4, "retry_condition_fn": is_transient}

LOOKUP: Mapping[str, Any] = {**RETRIED, "cache_policy": NO_CACHE}
"""Looks at something that changes (a ref, a tag): retried, never cached."""


DELIVERY: Mapping[str, Any] = {**PAUSES, "retries": 5, "cache_policy": NO_CACHE}
"""Tells people: every failure is retried, for a receiver that is down looks like any other."""


STAGE: Mapping[str, Any] = {
    **RETRIED,
    "cache_policy": CacheKeyFnPolicy(cache_key_fn=key_of_job),
    "result_serializer": "json",
}
"""Does the work of a stage: cached by its job, retried."""
