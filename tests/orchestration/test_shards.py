"""Shards on a Dask cluster: the same keys, retries and texts, and a lost worker costs one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from prefect import flow, task
from prefect.settings import PREFECT_API_URL, PREFECT_LOCAL_STORAGE_PATH
from prefect.task_runners import ThreadPoolTaskRunner

from flows.shards import shard_runner
from flows.transcription import transcribe
from tasks.policies import STAGE
from tests.fixtures.chain import forget_clients
from tests.fixtures.evaluation import tiny_whisper
from tests.fixtures.s3 import S3Server, free_ports
from tests.fixtures.training import store_dataset
from whisper_retrain.config import DecodingConfig
from whisper_retrain.data.manifest import load_manifest
from whisper_retrain.data.shards import AudioShards
from whisper_retrain.edges.store import S3Store
from whisper_retrain.errors import InputError, StorageError
from whisper_retrain.evaluation.jobs import EvaluationJob, plan_evaluation
from whisper_retrain.evaluation.shards import ShardedTranscription, TranscriptShard
from whisper_retrain.model_files import upload_checkpoint
from whisper_retrain.records import Job, ModelRef
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


@pytest.fixture(scope="module")
def own_store(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Store]:
    """A store and a cache that the environment names, for this process and for workers."""
    store, cache = s3_server.store("shards"), tmp_path_factory.mktemp("cache")
    own = {"WHISPER_RETRAIN_STORE": store.location, "WHISPER_RETRAIN_CACHE_DIR": str(cache)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (own | s3_server.environment()).items():
            patch.setenv(name, value)
        forget_clients()
        yield store
    forget_clients()


@pytest.fixture(scope="module")
def cluster(
    prefect_server: None, own_store: S3Store, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
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
    log = (tmp_path_factory.mktemp("dask") / "log").open("ab")
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


def stored(store: S3Store, job: EvaluationJob) -> dict[str, TranscriptShard]:
    """The shards of texts that are there."""
    return {
        key: TranscriptShard.model_validate_json(store.read(key))
        for key in store.keys(job.transcripts)
    }


def kill_a_worker(cluster: str, store: S3Store, job: EvaluationJob) -> dict[str, TranscriptShard]:
    """Once a shard is stored, end a worker's process while it works; returns what was stored."""
    from distributed import Client

    with Client(cluster.replace("dask:", "tcp:")) as client:
        victim = next(iter(client.run(os.getpid).values()))
        while not (before := stored(store, job)):
            time.sleep(0.05)
        os.kill(victim, signal.SIGKILL)
    return before


@pytest.mark.slow
def test_texts_over_dask_are_those_of_one_process_and_a_lost_worker_costs_its_shard(
    own_store: S3Store, cluster: str, tmp_path: Path
) -> None:
    dataset = store_dataset(own_store, tmp_path / "speech", train=0, validation=32)
    folder = tiny_whisper(tmp_path / "tiny")
    checkpoint = upload_checkpoint(own_store, "checkpoint", folder)
    model = ModelRef(name="challenger", model_digest=checkpoint.model_digest)
    decoding = DecodingConfig(batch_size=1, max_tokens_per_s=5)
    job = plan_evaluation(model, "ab" * 32, decoding, probed=False)

    early: dict[str, TranscriptShard] = {}
    killer = threading.Thread(target=lambda: early.update(kill_a_worker(cluster, own_store, job)))
    killer.start()
    transcribe.with_options(task_runner=shard_runner(cluster))(
        "challenger", job, dataset, checkpoint, "validation"
    )
    killer.join()
    over_dask = stored(own_store, job)
    assert len(over_dask) == 4
    assert early.items() <= over_dask.items(), "a stored shard is not done again"

    for key in over_dask:
        own_store.delete(key)
    utterances = [u for u in load_manifest(own_store, dataset, tmp_path) if u.split == "validation"]
    audio = AudioShards(own_store, tmp_path / "audio", 2**30).audio
    alone = ShardedTranscription(job, folder, own_store, audio, device="cpu").run(utterances)
    assert [one.items for one in alone] == [over_dask[key].items for key in sorted(over_dask)]
