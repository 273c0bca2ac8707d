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

from whisper_retrain.edges.store import S3Store
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
        answer = httpx.request(method, url, json=body, timeout=30)
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
    }


def test_everything_is_made(live: LiveStack) -> None:
    made = snapshot(live)
    names = {name for _, name, *_ in made["deployments"]}
    assert names == {"nightly", "demo", "hourly", "manual", "outbox"}
    assert len(made["automations"]) == 3
    assert made["limit"] == 1


def test_setting_up_twice_changes_nothing_and_wakes_no_paused_schedule(live: LiveStack) -> None:
    [nightly] = [d for d in live.api("POST", "/deployments/filter", {}) if d["name"] == "nightly"]
    [schedule] = nightly["schedules"]
    live.api("PATCH", f"/deployments/{nightly['id']}/schedules/{schedule['id']}", {"active": False})
    live.api("POST", "/concurrency_limits/", {"tag": "gpu", "concurrency_limit": 2})
    before = snapshot(live)
    assert before["limit"] == 2, "a machine with two GPUs"
    live.python("-m", "deployments.setup")
    assert snapshot(live) == before


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
    assert live.received().count(notification.subject) == 1
    assert outbox.pending(store) == []


def test_without_an_event_the_next_sweep_delivers(live: LiveStack, store: S3Store) -> None:
    """The flow run died after it had queued the notification and before it told anybody."""
    notification = a_notification("without-an-event")
    outbox.enqueue(store, notification)
    sweep = live.api("GET", "/deployments/name/notify/outbox")
    live.api("POST", f"/deployments/{sweep['id']}/create_flow_run", {"parameters": {}})
    wait_for(live, notification.subject)
    assert live.received().count(notification.subject) == 1
