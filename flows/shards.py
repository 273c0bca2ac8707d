"""Who works on shards: threads of the flow run, or the workers of a Dask cluster.

Keys and retries are the tasks' own either way, so that a shard that one of them built is found by
the other.
"""

from __future__ import annotations

from typing import Any

from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from whisper_retrain.errors import InputError


def is_cluster(shards: str) -> bool:
    """Whether a setting names a cluster, and not this process's own threads."""
    return not shards.startswith("threads:")


def shard_runner(shards: str) -> TaskRunner[Any]:
    """The task runner that a setting names: `threads:2` or `dask://host:8786`.

    Raises InputError where Dask is asked for and not installed.
    """
    place = shards.partition(":")[2]
    if not is_cluster(shards):
        return ThreadPoolTaskRunner(max_workers=int(place))
    try:
        from prefect_dask import DaskTaskRunner
    except ImportError as error:
        raise InputError(
            "shards are to be worked on over Dask, which is not installed",
            where=f"WHISPER_RETRAIN_SHARDS={shards}",
            got=str(error),
            remedy="pip install -c constraints.txt 'whisper-retrain[dask]'",
        ) from error
    runner: TaskRunner[Any] = DaskTaskRunner(address=f"tcp:{place}")
    return runner
