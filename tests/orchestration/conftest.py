"""One Prefect server for the session, with its data in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from prefect.settings import (
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_LOCAL_STORAGE_PATH,
    PREFECT_LOGGING_TO_API_ENABLED,
    PREFECT_SERVER_ANALYTICS_ENABLED,
    PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_ENABLED,
    PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED,
    PREFECT_SERVER_SERVICES_FOREMAN_ENABLED,
    PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED,
    PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_ENABLED,
    PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED,
    PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_ENABLED,
    PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED,
    temporary_settings,
)
from prefect.testing.utilities import prefect_test_harness

from whisper_retrain.edges.store import S3Store


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A real server in a process of its own; results of tests never reach a person's storage."""
    settings: dict[Any, Any] = {
        PREFECT_LOCAL_STORAGE_PATH: tmp_path_factory.mktemp("prefect-results"),
        # The heartbeat thread makes every flow run a second longer.
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        PREFECT_LOGGING_TO_API_ENABLED: False,
    }
    # Nothing here asks for these, and each write to SQLite that meets another waits two seconds.
    idle = {
        PREFECT_SERVER_ANALYTICS_ENABLED,
        PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_ENABLED,
        PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED,
        PREFECT_SERVER_SERVICES_FOREMAN_ENABLED,
        PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED,
        PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_ENABLED,
        PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED,
        PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_ENABLED,
        PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED,
    }
    with (
        temporary_settings(settings | dict.fromkeys(idle, False)),
        prefect_test_harness(server_startup_timeout=240),
        temporary_settings(settings),
    ):
        yield


@pytest.fixture
def task_store(s3_store: S3Store, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    """The store that tasks use, on the session's real S3 server."""
    for module in ("tasks.services", "tasks.notes", "tasks.notifications"):
        monkeypatch.setattr(f"{module}.store", lambda: s3_store)
    return s3_store
