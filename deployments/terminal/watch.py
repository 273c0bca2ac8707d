"""Triggers a deployment as the UI's Run button would, and shows its log while it runs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    LogFilter,
    LogFilterFlowRunId,
    LogFilterTimestamp,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import LogSort
from rich.console import Console

from whisper_retrain.local.stack.layout import Layout
from whisper_retrain.local.stack.processes import find

POLL_S = 0.5
QUIET_S = 8.0
"""After so long without a log line, say that it is still going on."""
NOTIFICATION_LIMIT_S = 120.0
UNREMARKABLE = "Finished in state Completed"
LOG_DELAY = timedelta(seconds=3)
"""Log lines reach the server in batches, later ones sometimes first."""


def trigger(
    client: SyncPrefectClient, deployment: str, parameters: dict[str, Any] | None = None
) -> FlowRun:
    """Create a flow run of a deployment; `parameters` stand in for its own, each as a whole."""
    found = client.read_deployment_by_name(deployment)
    return client.create_flow_run_from_deployment(found.id, parameters=parameters)


def follow(client: SyncPrefectClient, run: FlowRun, console: Console) -> FlowRun:
    """Print the log of a flow run and its subflow runs until it ends; returns it as ended."""
    printer = _LogPrinter(client, run.id, console)
    while True:
        run = client.read_flow_run(run.id)
        printer.print_new()
        if run.state is not None and run.state.is_final():
            time.sleep(1.0)
            printer.print_new()
            return run
        printer.say_when_quiet(run)
        time.sleep(POLL_S)


def subflow_runs(client: SyncPrefectClient, run_id: UUID) -> list[FlowRun]:
    """The flow runs that a flow run started."""
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run_id])
        )
    )


@dataclass
class _LogPrinter:
    client: SyncPrefectClient
    run_id: UUID
    console: Console
    seen: set[UUID] = field(default_factory=set)
    since: datetime = field(default_factory=lambda: datetime.now(UTC) - LOG_DELAY)
    last_s: float = field(default_factory=time.monotonic)
    started_s: float = field(default_factory=time.monotonic)

    def print_new(self) -> None:
        ids = [self.run_id, *(run.id for run in subflow_runs(self.client, self.run_id))]
        logs = self.client.read_logs(
            LogFilter(
                flow_run_id=LogFilterFlowRunId(any_=ids),
                timestamp=LogFilterTimestamp(after_=self.since),
            ),
            sort=LogSort.TIMESTAMP_ASC,
        )
        for log in logs:
            if log.id is None or log.id in self.seen or log.message.startswith(UNREMARKABLE):
                continue
            self.seen.add(log.id)
            self.since = max(self.since, log.timestamp - LOG_DELAY)
            self.last_s = time.monotonic()
            style = "red" if log.level >= 40 else "yellow" if log.level >= 30 else ""
            self.console.print(
                f"{log.timestamp:%H:%M:%S}  {log.message}",
                style=style,
                markup=False,
                highlight=False,
                soft_wrap=True,
            )

    def say_when_quiet(self, run: FlowRun) -> None:
        if time.monotonic() - self.last_s < QUIET_S:
            return
        self.last_s = time.monotonic()
        state = run.state_name or "created"
        elapsed = time.monotonic() - self.started_s
        self.console.print(f"          … {state.lower()}, {elapsed:.0f} s so far", style="dim")


def wait_for_notification(file: Path, notification_id: str, console: Console) -> dict[str, Any]:
    """The notification as the stack's receiver got it; TimeoutError when none came."""
    end_s = time.monotonic() + NOTIFICATION_LIMIT_S
    with console.status("waiting for the notification"):
        while time.monotonic() < end_s:
            for line in file.read_text("utf-8").splitlines() if file.exists() else []:
                if notification_id in line:
                    return dict(json.loads(line))
            time.sleep(POLL_S)
    raise TimeoutError(
        f"no notification {notification_id} in {file} after {NOTIFICATION_LIMIT_S:.0f} s; "
        "see the flow runs of notify/outbox"
    )


class PeakMemory:
    """The most memory that was measured, once a second from a thread, while the block lasts."""

    def __init__(self, measure_bytes: Callable[[], int]) -> None:
        self._measure_bytes = measure_bytes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.bytes = 0

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(1.0):
            self.bytes = max(self.bytes, self._measure_bytes())


def family_bytes(local_dir: Path) -> int:
    """What the stack, its flow runs and this process take."""
    stack = str(Layout(local_dir).dir)
    family = [psutil.Process(), *(found.process for found in find(stack))]
    return sum(_rss_bytes(process) for process in family)


def _rss_bytes(process: psutil.Process) -> int:
    """Pages shared with others are counted for each: the sum is rather too high than too low."""
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0  # ended meanwhile
