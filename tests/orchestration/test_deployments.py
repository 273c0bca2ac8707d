"""`python -m deployments.setup` against a real stack: idempotent, and the outbox is delivered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from whisper_retrain.config import DecodingConfig, TrainingConfig
from whisper_retrain.edges.store import S3Store
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.local import stack
from whisper_retrain.release import outbox
from whisper_retrain.release.notifications import Notification

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@dataclass
class LiveStack:
    """A stack of its own, and the environment that points to it."""

    folder: Path
    environment: dict[str, str]

    def python(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            env=os.environ | self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def api(self, method: str, path: str, body: Any = None) -> Any:
        url = f"{self.environment['PREFECT_API_URL']}{path}"
        for _ in range(10):
            answer = httpx.request(method, url, json=body, timeout=30)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(1)  # its SQLite is busy: Prefect's own client asks again, too
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def received(self) -> list[str]:
        file = self.folder / "notifications.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line)["body"]["subject"] for line in lines]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    folder = tmp_path_factory.mktemp("stack with a space")
    stack.up(folder, progress=lambda _: None)
    try:
        one = LiveStack(folder, stack.environment(folder))
        one.python("-m", "deployments.setup")
        yield one
    finally:
        stack.down(folder, progress=lambda _: None)


def snapshot(live: LiveStack) -> dict[str, Any]:
    """Everything that a second setup might change."""
    deployments = live.api("POST", "/deployments/filter", {})
    automations = live.api("POST", "/automations/filter", {})
    return {
        "deployments": sorted(
            (
                d["id"],
                d["name"],
                json.dumps(d["parameters"], sort_keys=True),
                [(s["slug"], s["active"], json.dumps(s["schedule"])) for s in d["schedules"]],
                d["work_pool_name"],
            )
            for d in deployments
        ),
        "automations": sorted((a["id"], a["name"], a["enabled"]) for a in automations),
        "limit": live.api("GET", "/concurrency_limits/tag/gpu")["concurrency_limit"],
        "gpus": live.api("GET", "/work_pools/whisper-retrain-gpu")["concurrency_limit"],
    }


def test_everything_is_made(live: LiveStack) -> None:
    made = snapshot(live)
    names = {name for _, name, *_ in made["deployments"]}
    assert names == {"nightly", "demo", "hourly", "manual", "accept", "outbox", "gpu"}
    assert len(made["automations"]) == 4
    assert made["limit"] == made["gpus"] == 1


def test_setting_up_twice_changes_nothing_and_wakes_no_paused_schedule(live: LiveStack) -> None:
    [nightly] = [d for d in live.api("POST", "/deployments/filter", {}) if d["name"] == "nightly"]
    [schedule] = nightly["schedules"]
    live.api("PATCH", f"/deployments/{nightly['id']}/schedules/{schedule['id']}", {"active": False})
    live.api("POST", "/concurrency_limits/", {"tag": "gpu", "concurrency_limit": 2})
    before = snapshot(live)
    assert before["limit"] == 2, "a machine with two GPUs"
    live.python("-m", "deployments.setup")
    assert snapshot(live) == before


def test_with_placed_stages_the_gpu_pools_limit_replaces_that_of_the_tag(live: LiveStack) -> None:
    placed = {"WHISPER_RETRAIN_STAGES": '{"gate": "gate/gpu"}', "WHISPER_RETRAIN_GPU_SLOTS": "3"}
    with_stages = LiveStack(live.folder, live.environment | placed)
    limit = "from deployments.setup import limit_gpu; limit_gpu()"
    with_stages.python("-c", limit)
    assert live.api("GET", "/work_pools/whisper-retrain-gpu")["concurrency_limit"] == 3
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        live.api("GET", "/concurrency_limits/tag/gpu")
    live.python("-c", limit)
    assert snapshot(live)["limit"] == 1, "as it was, without the setting"
    assert snapshot(live)["gpus"] == 3, "what a person has set stays"


def test_records_pass_the_schema_of_a_placed_stage(live: LiveStack) -> None:
    """The server checks parameters against the flow's form before it makes a flow run."""
    stored = next((ROOT / "tests/fixtures/stored/retrain/v1").glob("*/evidence/*.json"))
    evidence = json.loads(stored.read_text())
    configs = {"training": TrainingConfig(), "decoding": DecodingConfig(), "policy": GatePolicy()}
    own = {name: config.model_dump(mode="json") for name, config in configs.items()}
    parameters = {
        "fine-tune": {
            "dataset": evidence["dataset"],
            "base_repo": "openai/whisper-small.en",
            "base_revision": "ab" * 20,
            "training": own["training"],
            "decoding": own["decoding"],
        },
        "gate": {
            "dataset": evidence["dataset"],
            "run": evidence["run"],
            "release": {"repo": "demo/model"},
            "champion_revision": None,
            "decoding": own["decoding"],
            "policy": own["policy"],
        },
    }
    for stage, given in parameters.items():
        one = live.api("GET", f"/deployments/name/{stage}/gpu")
        made = live.api("POST", f"/deployments/{one['id']}/create_flow_run", {"parameters": given})
        live.api("DELETE", f"/flow_runs/{made['id']}")


def test_the_run_form_refuses_nonsense(live: LiveStack) -> None:
    demo = live.api("GET", "/deployments/name/retrain/demo")
    parameters = demo["parameters"] | {"training": {"max_steps": 0}}
    with pytest.raises(httpx.HTTPStatusError) as refused:
        live.api("POST", f"/deployments/{demo['id']}/create_flow_run", {"parameters": parameters})
    assert refused.value.response.status_code == 409
    assert "training" in refused.value.response.text
    assert "0 is less than the minimum of 1" in refused.value.response.text


def a_notification(name: str) -> Notification:
    return Notification(
        id=f"model.promoted-{name}",
        event="model.promoted",
        at=datetime.now(UTC),
        subject=f"Promoted: {name}",
        body="WER 4.2 %, was 12.9 %",
        payload={},
    )


def wait_for(live: LiveStack, subject: str, limit_s: float = 120) -> None:
    deadline = time.monotonic() + limit_s
    while subject not in live.received():
        assert time.monotonic() < deadline, f"never received: {subject}"
        time.sleep(0.5)


@pytest.fixture
def store(live: LiveStack, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    for name, value in live.environment.items():
        monkeypatch.setenv(name, value)
    return S3Store(live.environment["WHISPER_RETRAIN_STORE"])


def test_an_event_has_the_outbox_delivered_once_though_the_receiver_is_down(
    live: LiveStack, store: S3Store
) -> None:
    (live.folder / "notifications.jsonl.down-until").write_text(str(time.time() + 12))
    notification = a_notification("with-an-event")
    outbox.enqueue(store, notification)
    live.python(
        "-c",
        "from prefect.events import emit_event\n"
        "emit_event('model.promoted', resource={'prefect.resource.id': 'whisper-retrain.test'})",
    )
    wait_for(live, notification.subject)
    deadline = time.monotonic() + 30
    while outbox.pending(store):  # it is taken out once the receiver has answered
        assert time.monotonic() < deadline, "received, and still in the outbox"
        time.sleep(0.2)
    assert live.received().count(notification.subject) == 1


def test_without_an_event_the_next_sweep_delivers(live: LiveStack, store: S3Store) -> None:
    """The flow run died after it had queued the notification and before it told anybody."""
    notification = a_notification("without-an-event")
    outbox.enqueue(store, notification)
    sweep = live.api("GET", "/deployments/name/notify/outbox")
    live.api("POST", f"/deployments/{sweep['id']}/create_flow_run", {"parameters": {}})
    wait_for(live, notification.subject)
    assert live.received().count(notification.subject) == 1


MORTAL = """
import os, signal, sys, time
from pathlib import Path
from prefect import flow


@flow(name="retrain")
def mortal(attempts: str, deaths: int) -> None:
    attempt = len(Path(attempts).read_text()) + 1
    Path(attempts).write_text("x" * attempt)
    if attempt <= deaths:
        os.kill(os.getpid(), signal.SIGKILL)


@flow(name="refresh")
def asleep() -> None:
    print("asleep", flush=True)
    time.sleep(600)


if __name__ == "__main__":
    asleep()
"""
DEPLOY_MORTAL = """
from prefect import flow
flow.from_source("{folder}", "mortal.py:mortal").deploy(
    name="mortal", work_pool_name="whisper-retrain", build=False, push=False
)
"""


@pytest.fixture(scope="module")
def sooner(live: LiveStack) -> None:
    """The automations with windows that a test can wait for."""
    live.python(
        "-c",
        "from datetime import timedelta as t\n"
        "from deployments.automations import end_zombies, resume_crashed, upsert\n"
        "upsert(end_zombies(t(seconds=12)))\nupsert(resume_crashed(t(seconds=12)))",
    )


@pytest.fixture
def mortal(live: LiveStack, tmp_path: Path) -> Iterator[str]:
    """A deployment of a flow `retrain` that kills itself as often as it is told."""
    (tmp_path / "mortal.py").write_text(MORTAL)
    live.python("-c", DEPLOY_MORTAL.format(folder=tmp_path))
    one = live.api("GET", "/deployments/name/retrain/mortal")
    yield one["id"]
    live.api("DELETE", f"/deployments/{one['id']}")


def wait_until(
    live: LiveStack, run_id: str, state: str, run_count: int, limit_s: float = 120
) -> None:
    deadline = time.monotonic() + limit_s
    while True:
        run = live.api("GET", f"/flow_runs/{run_id}")
        now = (run["state"]["name"], run["run_count"])
        if now == (state, run_count):
            return
        assert time.monotonic() < deadline, f"still {now}, not {(state, run_count)}"
        time.sleep(0.5)


@pytest.mark.usefixtures("sooner")
def test_a_crashed_retraining_is_run_again_once(
    live: LiveStack, mortal: str, tmp_path: Path
) -> None:
    runs = {}
    for deaths in (1, 2):
        attempts = tmp_path / f"attempts-{deaths}"
        attempts.write_text("")
        parameters = {"attempts": str(attempts), "deaths": deaths}
        body = {"parameters": parameters}
        runs[deaths] = live.api("POST", f"/deployments/{mortal}/create_flow_run", body)["id"]
    wait_until(live, runs[1], "Completed", run_count=2)
    wait_until(live, runs[2], "Crashed", run_count=2)
    time.sleep(30)  # longer than the first crash took to be taken up
    wait_until(live, runs[2], "Crashed", run_count=2, limit_s=0)


@pytest.mark.usefixtures("sooner")
def test_a_flow_run_whose_machine_vanished_is_ended(live: LiveStack, tmp_path: Path) -> None:
    """SIGKILL, and nobody left who could report it: only the heartbeat stops."""
    (tmp_path / "mortal.py").write_text(MORTAL)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "mortal.py")],
        env=os.environ | live.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == "asleep\n"
        time.sleep(3)  # the first heartbeat is on its way
    finally:
        process.kill()
        process.communicate()
    only = {"flows": {"name": {"any_": ["refresh"]}}}
    [run] = live.api("POST", "/flow_runs/filter", only)
    assert run["state"]["name"] == "Running"
    wait_until(live, run["id"], "Crashed", run_count=1)
