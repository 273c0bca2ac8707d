"""Screenshots of the running stack's Prefect UI: `make screenshots`, after `make demo`.

Needs a Chromium on the PATH. Each page is opened headless with a profile of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, FlowRunFilter
from prefect.client.schemas.filters import FlowRunFilterDeploymentId as ByDeployment
from prefect.client.schemas.sorting import ArtifactSort, FlowRunSort

from whisper_retrain.errors import InputError

DECIDED = {"Promoted", "Superseded", "Rejected", "Inconclusive"}
TARGET = Path(__file__).parents[1] / "docs" / "screenshots"
QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
)
SETTLE_MS = 20_000
"""The UI loads its parts one after another."""


def pages() -> dict[str, str]:
    """File name -> path of the UI, for the latest run of the demo that decided something."""
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("retrain/demo")
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(deployment_id=ByDeployment(any_=[deployment.id])),
            sort=FlowRunSort.START_TIME_DESC,
        )
        decided = [run for run in runs if run.state_name in DECIDED]
        decisions = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["decision"])),
            sort=ArtifactSort.UPDATED_DESC,
        )
    if not decided or not decisions:
        raise InputError("the demo has not run yet", remedy="run `make demo` first")
    return {
        "run-form": f"/deployments/deployment/{deployment.id}/run",
        "flow-run": f"/runs/flow-run/{decided[0].id}",
        "decision": f"/artifacts/artifact/{decisions[0].id}",
    }


def shoot(url: str, target: Path, browser: str) -> None:
    """One page as a PNG of 1400 x 1000."""
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, *QUIET, f"--user-data-dir={profile}", "--window-size=1400,1000"]
        command += [f"--virtual-time-budget={SETTLE_MS}", f"--screenshot={target}", url]
        subprocess.run(command, check=True, capture_output=True, timeout=120)


def main() -> int:
    """Shoot all pages."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise InputError("no Chromium on the PATH", remedy="apt-get install chromium")
    TARGET.mkdir(parents=True, exist_ok=True)
    ui = os.environ["PREFECT_API_URL"].removesuffix("/api")
    for name, path in pages().items():
        shoot(ui + path, TARGET / f"{name}.png", browser)
        print(TARGET / f"{name}.png")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
