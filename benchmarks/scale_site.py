"""A Prefect server, two pools, a worker for each: the site on which benchmarks/scale.py works."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

ROOT = Path(__file__).parents[1]
PARENTS, GPUS = "whisper-retrain", "whisper-retrain-gpu"
IDLE = ("EVENT_PERSISTER", "LATE_RUNS", "PAUSE_EXPIRATIONS", "SCHEDULER", "TASK_RUN_RECORDER")
LIMIT_S = 420.0
DEPLOY = f"""
pull: []
deployments:
  - name: campaign
    entrypoint: benchmarks.scale_stages.retrain
    pull: []
    work_pool:
      name: {PARENTS}
      job_variables: {{env: {{PREFECT_FLOWS_HEARTBEAT_FREQUENCY: "30"}}}}
  - name: gpu
    entrypoint: benchmarks.scale_stages.train
    pull: []
    work_pool:
      name: {GPUS}
      job_variables: {{stream_output: false, env: {{PREFECT_FLOWS_HEARTBEAT_FREQUENCY: "30"}}}}
"""  # fmt: skip
MAKE_POOLS = """
from deployments.setup import GPU_POOL, WORK_POOL, create_work_pool, limit_gpu
from deployments.automations import end_zombies, resume_crashed, upsert
create_work_pool(WORK_POOL)
create_work_pool(GPU_POOL)
limit_gpu()
upsert(end_zombies())
upsert(resume_crashed())
"""


@dataclass
class Site:
    """Server, pools and workers, and the folder that stands for S3."""

    folder: Path
    port: int
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What every process is started with."""
        own = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        return own | {
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_API_URL": f"http://127.0.0.1:{self.port}/api",
            "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PREFECT_LOGGING_TO_API_ENABLED": "false",
            "PYTHONPATH": str(ROOT),
            "SCALE_FOLDER": str(self.folder),
            "TMPDIR": str(self.folder),
            # What no case asks for: each write to SQLite that meets another waits two seconds.
            **{f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in IDLE},
            "WHISPER_RETRAIN_STAGES": json.dumps({"fine-tune": "fine-tune/gpu"}),
            "DO_NOT_TRACK": "1",
        }

    def start(self, name: str, *command: str) -> None:
        """Start one of `python -m prefect`'s services."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "prefect", *command],
                stdout=log,
                stderr=log,
                env=self.environment,
                cwd=self.folder,
                start_new_session=True,
            )

    def start_server(self) -> None:
        """Start it and wait until it answers."""
        self.start("server", "server", "start", "--host", "127.0.0.1", "--port", str(self.port))
        self.until("the server answers", self.is_up, 300)

    def start_worker(self, pool: str) -> None:
        """Start a worker of a pool, three flow runs at once."""
        self.start(pool, "worker", "start", "--pool", pool, "--limit", "3")

    def is_up(self) -> bool:
        """Whether the server answers."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/api/health", timeout=2).is_success
        except httpx.HTTPError:
            return False

    def python(self, *arguments: str) -> None:
        """Something that has to succeed."""
        subprocess.run(
            [sys.executable, *arguments],
            env=self.environment,
            cwd=ROOT,
            check=True,
            capture_output=True,
        )

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the server; it may be busy, or just away."""
        url = f"http://127.0.0.1:{self.port}/api{path}"
        for _ in range(60):
            try:
                answer = httpx.request(method, url, json=body, timeout=30)
            except httpx.TransportError:
                time.sleep(1)
                continue
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                answer.raise_for_status()
                return answer.json() if answer.content else None
            time.sleep(1)
        raise TimeoutError(f"the server does not answer {path}")

    def until(self, what: str, holds: Callable[[], Any], limit_s: float = LIMIT_S) -> Any:
        """What holds, once it does."""
        ends = time.monotonic() + limit_s
        while not (found := holds()):
            if time.monotonic() > ends:
                raise TimeoutError(f"never: {what}")
            time.sleep(0.2)
        return found

    def stop(self) -> None:
        """End everything that was started, and what that started."""
        for found in marked(str(self.folder)):
            found.kill()
        for process in self.processes.values():
            process.wait()


def marked(folder: str) -> Iterator[psutil.Process]:
    """Processes that carry the folder in their environment."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("SCALE_FOLDER") == folder and process.pid != os.getpid():
                yield process
        except psutil.Error:
            continue


@contextmanager
def site() -> Iterator[Site]:
    """A server, pools, deployments and workers, for as long as the context lasts."""
    from tests.fixtures.s3 import free_ports

    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a worker must not inherit its absence
    with tempfile.TemporaryDirectory(prefix="scale-", ignore_cleanup_errors=True) as name:
        one = Site(Path(name), free_ports(1)[0])
        try:
            one.start_server()
            one.python("-c", MAKE_POOLS)
            (one.folder / "prefect.yaml").write_text(DEPLOY)
            deploy = ("deploy", "--all", "--prefect-file", str(one.folder / "prefect.yaml"))
            one.python("-m", "prefect", "--no-prompt", *deploy)
            for pool in (PARENTS, GPUS):
                one.start_worker(pool)
            yield one
        finally:
            one.stop()
