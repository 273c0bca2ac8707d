"""One Prefect server for the session, with its data in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from prefect import settings as prefect_settings
from prefect.settings import temporary_settings
from prefect.testing.utilities import prefect_test_harness

from whisper_retrain.edges.store import S3Store

IDLE = (
    *("ANALYTICS", "SERVICES_CANCELLATION_CLEANUP", "SERVICES_EVENT_PERSISTER", "SERVICES_FOREMAN"),
    *("SERVICES_LATE_RUNS", "SERVICES_PAUSE_EXPIRATIONS", "SERVICES_SCHEDULER"),
    *("SERVICES_TASK_RUN_RECORDER", "SERVICES_TRIGGERS"),
)
"""What no test asks of the server: each write to SQLite that meets another waits two seconds."""


def setting(name: str) -> Any:
    """Prefect's setting of a name; an unknown one is an error."""
    return getattr(prefect_settings, f"PREFECT_{name}")


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A real server in a process of its own; results of tests never reach a person's storage."""
    idle = {setting(f"SERVER_{name}_ENABLED"): False for name in IDLE}
    ours = {
        setting("LOCAL_STORAGE_PATH"): tmp_path_factory.mktemp("prefect-results"),
        # The heartbeat thread makes every flow run a second longer.
        setting("FLOWS_HEARTBEAT_FREQUENCY"): None,
        setting("LOGGING_TO_API_ENABLED"): False,
    }
    with (
        temporary_settings(idle),
        prefect_test_harness(server_startup_timeout=240),
        temporary_settings(ours),
    ):
        yield


@pytest.fixture
def task_store(s3_store: S3Store, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    """The store that tasks use, on the session's real S3 server."""
    for module in ("tasks.services", "tasks.notes", "tasks.notifications"):
        monkeypatch.setattr(f"{module}.store", lambda: s3_store)
    return s3_store
