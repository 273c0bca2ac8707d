"""The task that asks whether a stage's work is done, without doing it."""

from __future__ import annotations

from prefect import task

from tasks.policies import LOOKUP
from tasks.services import store


@task(task_run_name="is-there-a-record", **LOOKUP)
def is_stored(record_key: str) -> bool:
    """Whether the stage's record, which is written last, is in S3."""
    return store().exists(record_key)
