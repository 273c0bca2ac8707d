"""Shards of a refresh on a Dask cluster: the same keys and retries, and a lost worker costs one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from prefect import flow, task
from prefect.settings import PREFECT_API_URL, PREFECT_LOCAL_STORAGE_PATH
from prefect.task_runners import ThreadPoolTaskRunner

from flows.shards import shard_runner
from tasks.policies import STAGE
from tests.fixtures.s3 import free_ports
from whisper_retrain.errors import InputError, StorageError
from whisper_retrain.records import Job
from whisper_retrain.settings import Settings

ROOT = Path(__file__).parents[2]
STARTS_S = 120.0


class Shard(Job):
    """A stand-in for a shard: what happens at its first try."""

    stage: ClassVar[str] = "stand-in"
    version: ClassVar[str] = "v1"
    folder: str
    number: int
    first: str = ""


@task(**STAGE | {"retry_delay_seconds": 0, "retry_jitter_factor": None})
def build(job: Shard) -> int:
    """Note the try; then end as the job says, the first time."""
    tries = Path(job.folder) / str(job.number)
    with tries.open("a") as file:
        file.write("x")
    time.sleep(0.5)
    if len(tries.read_text()) == 1:
        if job.first == "worker dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if job.first == "S3 fails":
            raise StorageError("S3 failed")
    return job.number


def test_threads_are_the_default_and_nonsense_is_refused() -> None:
    runner = shard_runner(Settings().shards)
    assert isinstance(runner, ThreadPoolTaskRunner)
    assert runner._max_workers == 2
    with pytest.raises(ValueError, match="shards"):
        Settings(shards="ray://somewhere")


def test_without_dask_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prefect_dask", None)
    with pytest.raises(InputError, match=r"whisper-retrain\[dask\]"):
        shard_runner("dask://127.0.0.1:8786")


@pytest.fixture
def cluster(prefect_server: None, tmp_path: Path) -> Iterator[str]:
    """A scheduler and two workers, as a team would start them; the setting that names it."""
    (port,) = free_ports(1)
    environment = os.environ | {
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_LOCAL_STORAGE_PATH": str(PREFECT_LOCAL_STORAGE_PATH.value()),
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
    }
    here = ["--host", "127.0.0.1", "--no-dashboard"]
    commands = [["dask_scheduler", "--port", str(port), *here]]
    commands += [["dask_worker", f"tcp://127.0.0.1:{port}", "--nthreads", "1", *here]] * 2
    log = (tmp_path / "dask.log").open("ab")
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{command[0]}", *command[1:]],
            env=environment,
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
        for command in commands
    ]
    try:
        from distributed import Client

        with Client(f"tcp://127.0.0.1:{port}", timeout=STARTS_S) as client:
            client.wait_for_workers(2, timeout=STARTS_S)
        yield f"dask://127.0.0.1:{port}"
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait()


def tries(folder: Path) -> list[int]:
    return [len((folder / str(number)).read_text()) for number in range(4)]


@pytest.mark.slow
def test_shards_over_dask_keep_their_keys_and_retries(cluster: str, tmp_path: Path) -> None:
    folder = tmp_path / "tries"
    folder.mkdir()
    jobs = [Shard(folder=str(folder), number=number) for number in range(4)]
    jobs[1] = jobs[1].model_copy(update={"first": "S3 fails"})
    jobs[2] = jobs[2].model_copy(update={"first": "worker dies"})

    def refresh(runner: Any) -> list[int]:
        @flow(task_runner=runner)
        def shards() -> list[int]:
            return list(build.map(jobs).result())

        return shards()

    assert refresh(shard_runner(cluster)) == [0, 1, 2, 3]
    assert tries(folder) == [1, 2, 2, 1], "the transient error and the lost worker, once each"
    assert refresh(shard_runner(cluster)) == [0, 1, 2, 3]
    assert refresh(shard_runner("threads:2")) == [0, 1, 2, 3]
    assert tries(folder) == [1, 2, 2, 1], "found by their keys, by whomever"
