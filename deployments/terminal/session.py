"""Flow runs triggered one after the other from a terminal, and what the last one decided.

Shared by the demo and by recordings of one's own; knows nothing of what was prepared for them.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from rich.console import Console

from deployments.terminal.summary import (
    UNDECIDED,
    fetch,
    last_run_facts,
    print_links,
    print_summary,
    write_last_run,
)
from deployments.terminal.watch import (
    PeakMemory,
    family_bytes,
    follow,
    subflow_runs,
    trigger,
    wait_for_notification,
)
from tasks.services import hub, settings, store
from whisper_retrain.config import ReleaseConfig
from whisper_retrain.history.retrainings import Retraining, latest_retraining
from whisper_retrain.release.evidence import ReleaseJob
from whisper_retrain.release.measured import evaluations_of
from whisper_retrain.release.notifications import Event, notification_id

LOG_WIDTH = 125
LAST_RUN_TEXT = "last-run.txt"
"""What the last run printed of its result; `make readme` puts the demo's into README.md."""


@dataclass(frozen=True)
class Session:
    """One sitting before the embedded stack."""

    console: Console
    """Where everything is printed."""
    client: SyncPrefectClient
    """Of the Prefect server."""
    memory: PeakMemory
    """Watched since the session began."""
    local_dir: Path
    """Of the stack."""
    started_s: float
    """Monotonic time."""

    def parameters(self, deployment: str) -> dict[str, Any]:
        """The parameters that a deployment runs with when nobody gives others."""
        return self.client.read_deployment_by_name(deployment).parameters

    def run(self, deployment: str, parameters: dict[str, Any] | None = None) -> FlowRun | None:
        """Trigger a deployment, show its log until it ends; None when it did not succeed."""
        run = trigger(self.client, deployment, parameters)
        address = f"{_ui()}/runs/flow-run/{run.id}"
        self.console.print(f"triggered {deployment}: {address}", soft_wrap=True)
        run = follow(self.client, run, self.console)
        if run.state is not None and run.state.is_completed():
            return run
        self.console.print(f"[red]the flow run ended {run.state_name}[/red]: see the log above")
        return None

    def retrain(self, deployment: str, parameters: dict[str, Any] | None = None) -> int:
        """Retrain, and show what was decided and where to look; the exit code."""
        run = self.run(deployment, parameters)
        if run is None:
            return 1
        retraining = latest_retraining(store(), ReleaseConfig(**run.parameters["release"]))
        self.console.export_text()  # of what was printed only the result is kept
        if retraining is None:
            self.console.print("[red]the flow run left no record of a retraining[/red]")
            return 1
        if run.state is not None and run.state_name in UNDECIDED:
            self.console.print(f"\n[bold]{run.state_name}[/bold]: {run.state.message}")
        else:
            self._show_decision(retraining)
        self._show_places(run, retraining)
        return 0

    def _show_decision(self, retraining: Retraining) -> None:
        evidence = retraining.evidence
        print_summary(self.console, evidence, evaluations_of(store(), evidence))
        event: Event = "model.promoted" if retraining.promotion else "challenger.rejected"
        job = ReleaseJob(evidence=evidence, release=retraining.request.release)
        wanted = notification_id(event, job.digest)
        file = self.local_dir / "notifications.jsonl"
        received = wait_for_notification(file, wanted, self.console)
        self.console.print("\n[bold]Notification, as it was received[/bold]")
        self.console.print_json(data=received)

    def _show_places(self, run: FlowRun, retraining: Retraining) -> None:
        stages = subflow_runs(self.client, run.id)
        facts = last_run_facts(run, stages, retraining, hub(), self.memory.bytes)
        files = {
            "report": str(fetch(store(), retraining.report, self.local_dir / "report.html")),
            "facts": str(write_last_run(self.local_dir, facts)),
        }
        self.console.print("\n[bold]Where to look[/bold]")
        app = {"web app": url} if (url := settings().app_url) else {}
        print_links(self.console, _links(run, retraining.request.release) | files | app)
        seconds, peak_gib = time.monotonic() - self.started_s, self.memory.bytes / 2**30
        self.console.print(f"done in {seconds:.0f} s, peak memory {peak_gib:.1f} GiB in all")
        (self.local_dir / LAST_RUN_TEXT).write_text(self.console.export_text())
        self.console.print("`make stop` stops the stack and keeps its state")


@contextmanager
def session() -> Iterator[Session]:
    """A session in the environment of the embedded stack, which must be up."""
    console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH, record=True)
    local_dir = settings().local_dir.absolute()
    started_s = time.monotonic()
    measure_bytes = partial(family_bytes, local_dir)
    with PeakMemory(measure_bytes) as memory, get_client(sync_client=True) as client:
        yield Session(console, client, memory, local_dir, started_s)


def _links(run: FlowRun, release: ReleaseConfig) -> dict[str, str]:
    champion = hub().tags(release.repo).get(release.champion_tag)
    links = {
        "flow run": f"{_ui()}/runs/flow-run/{run.id}",
        "Run form": f"{_ui()}/deployments/deployment/{run.deployment_id}/run",
    }
    return links | ({"champion": hub().url(release.repo, champion)} if champion else {})


def _ui() -> str:
    return os.environ["PREFECT_API_URL"].removesuffix("/api")
