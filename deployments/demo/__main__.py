"""`python -m deployments.demo [--next]`, in the environment of the embedded stack."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from rich.console import Console

from deployments.demo.prepare import deploy, publish
from deployments.terminal.summary import (
    fetch,
    last_run_facts,
    print_links,
    print_summary,
    write_last_run,
)
from deployments.terminal.watch import (
    PeakMemory,
    follow,
    subflow_runs,
    trigger,
    wait_for_notification,
)
from tasks.services import hub, settings, store
from whisper_retrain.config import ReleaseConfig
from whisper_retrain.history.retrainings import Retraining, latest_retraining
from whisper_retrain.release.notifications import Event, notification_id

DEPLOYMENT = "retrain/demo"
LOG_WIDTH = 125
RELEASE_REPO = "demo/whisper-tiny-medical"


def main() -> int:
    """Prepare, trigger, follow, show; the exit code says whether the chain worked."""
    arguments = argparse.ArgumentParser(prog="demo", description=__doc__)
    arguments.add_argument(
        "--next", action="store_true", help="the next drop of recordings arrives"
    )
    drop = 2 if arguments.parse_args().next else 1
    console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH)
    local_dir = settings().local_dir.absolute()
    started_s = time.monotonic()
    with PeakMemory(local_dir) as memory:
        publish(local_dir, drop, console)
        deploy(local_dir, console)
        with get_client(sync_client=True) as client:
            run = trigger(client, DEPLOYMENT)
            console.print(f"triggered {DEPLOYMENT}: {_ui()}/runs/flow-run/{run.id}", soft_wrap=True)
            run = follow(client, run, console)
            stages = subflow_runs(client, run.id)
    if run.state is None or not run.state.is_completed():
        console.print(f"[red]the flow run ended {run.state_name}[/red]: see the log above")
        return 1
    retraining = latest_retraining(store(), ReleaseConfig(repo=RELEASE_REPO))
    if retraining is None:
        console.print("[red]the flow run left no record of a retraining[/red]")
        return 1
    if run.state_name == "NothingNew":
        console.print(f"\n[bold]{run.state_name}[/bold]: {run.state.message}")
    else:
        _show(console, local_dir, retraining)
    facts = last_run_facts(run, stages, retraining, hub(), memory.bytes)
    files = {
        "report": str(fetch(store(), retraining.report, local_dir / "report.html")),
        "facts": str(write_last_run(local_dir, facts)),
    }
    console.print("\n[bold]Where to look[/bold]")
    print_links(console, _links(run) | files)
    seconds, peak_gib = time.monotonic() - started_s, memory.bytes / 2**30
    console.print(f"done in {seconds:.0f} s, peak memory {peak_gib:.1f} GiB in all")
    console.print("`make stop` stops the stack and keeps its state")
    return 0


def _show(console: Console, local_dir: Path, retraining: Retraining) -> None:
    print_summary(console, retraining, store())
    event: Event = "model.promoted" if retraining.promotion else "challenger.rejected"
    wanted = notification_id(event, retraining.evidence.decision.digest)
    received = wait_for_notification(local_dir / "notifications.jsonl", wanted, console)
    console.print("\n[bold]Notification, as it was received[/bold]")
    console.print_json(data=received)


def _links(run: FlowRun) -> dict[str, str]:
    champion = hub().tags(RELEASE_REPO).get("champion")
    links = {
        "flow run": f"{_ui()}/runs/flow-run/{run.id}",
        "Run form": f"{_ui()}/deployments/deployment/{run.deployment_id}/run",
    }
    return links | ({"champion": hub().url(RELEASE_REPO, champion)} if champion else {})


def _ui() -> str:
    return os.environ["PREFECT_API_URL"].removesuffix("/api")


if __name__ == "__main__":
    sys.exit(main())
