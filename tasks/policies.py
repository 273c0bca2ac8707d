"""Every cache key, retry rule, timeout and tag of the tasks, in one place.

A task's cache key is `stage/version/digest of its arguments`: it hits across flow runs and
machines, and misses when the stage's meaning changes (bump its version). Prefect's own default
contains the flow run's id and never hits again; `INPUTS` does not contain the task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect.cache_policies import NO_CACHE, CacheKeyFnPolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.tasks import Task, exponential_backoff

from whisper_retrain.config import Config
from whisper_retrain.errors import TransientError
from whisper_retrain.records import Record, digest_of

STAGE_VERSIONS: Mapping[str, str] = {
    "plan": "v1",
    "shard": "v1",
    "revision": "v1",
    "model": "v1",
    "train": "v1",
    "evaluate": "v1",
    "decide": "v1",
    "promote": "v1",
}

GPU_TAG = "gpu"
"""Tasks with this tag share one GPU: deployments.setup creates the limit of one."""


def _plain(value: Any) -> Any:
    if isinstance(value, Record | Config):
        return value.digest  # which leaves out what has no part in the outcome
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def stage_key(stage: str, arguments: Mapping[str, Any]) -> str:
    """`stage/version/sha256`, over arguments that are records, configs or plain values."""
    return (
        f"{stage}/{STAGE_VERSIONS[stage]}/{digest_of({k: _plain(v) for k, v in arguments.items()})}"
    )


def cached(stage: str) -> CacheKeyFnPolicy:
    """The cache policy of a stage."""

    def key(_: TaskRunContext, arguments: dict[str, Any]) -> str:
        return stage_key(stage, arguments)

    return CacheKeyFnPolicy(cache_key_fn=key)


def is_transient(_: Task[..., Any], __: TaskRun, state: State[Any]) -> bool:
    """Retry named transient errors only; anything else would fail again, and cost a GPU hour."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, TransientError)


RETRIED: Mapping[str, Any] = {
    "retries": 4,
    "retry_delay_seconds": exponential_backoff(5),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_transient,
}
"""5, 10, 20, 40 s, each up to half longer or shorter."""

LOOKUP: Mapping[str, Any] = {**RETRIED, "cache_policy": NO_CACHE}
"""Looks at something that changes (a ref, a tag): retried, never cached."""


def stage(name: str) -> dict[str, Any]:
    """Options of a task that does the work of a stage: cached by meaning, retried."""
    return {**RETRIED, "cache_policy": cached(name), "result_serializer": "json"}
