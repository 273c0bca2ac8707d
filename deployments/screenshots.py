"""Screenshots of the running stack: `make screenshots`, after `make demo`.

Of Prefect's UI, and of the web application as it is used: an example is tried, and its transcript
opened to be corrected. Needs a Chromium on the PATH. Each page of Prefect's is opened headless with
a profile of its own.
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

from tests.fixtures.browser import Browser
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
WIDTH, APP_HEIGHT = 1280, 1000
TRIED_S = 120.0
"""All three models are loaded for the first recording."""
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


def shoot_app(url: str) -> None:
    """The web application's pages; nothing is sent."""
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(Path(profile))
        try:
            browser.open(url, WIDTH, height=APP_HEIGHT)
            browser.wait("!!document.querySelector('#example input')?.offsetParent")
            browser.value("document.querySelector('#example input').focus()")
            browser.key("ArrowDown")
            browser.key("Enter")
            browser.wait("!!document.querySelector('#try-example')")
            browser.value("document.querySelector('#try-example').click()")
            browser.wait("document.querySelector('#result')?.dataset.state === 'done'", TRIED_S)
            token = browser.value("document.querySelector('#result').dataset.token")
            browser.shot(TARGET / "app-try.png")
            for name, path in {"correct": f"/correct/{token}", "champions": "/champions"}.items():
                browser.go(url + path)
                browser.shot(TARGET / f"app-{name}.png")
        finally:
            browser.close()
    print(*(TARGET / f"app-{name}.png" for name in ("try", "correct", "champions")), sep="\n")  # noqa: T201


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
    shoot_app(os.environ["WHISPER_RETRAIN_APP_URL"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
