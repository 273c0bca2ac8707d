"""One training on two machines: network namespaces with a cable between them, and a disk each."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.fixtures.s3 import S3Server, free_ports
from tests.fixtures.training import job_of, write_tiny_model
from whisper_retrain.config import TrainingConfig
from whisper_retrain.edges.store import S3Store
from whisper_retrain.errors import InputError
from whisper_retrain.records import TrainingRun
from whisper_retrain.training.__main__ import place_among
from whisper_retrain.training.job import TrainingJob
from whisper_retrain.training.launch import run_training

STEPS = 16
CONFIG = TrainingConfig(
    epochs=100,
    max_steps=STEPS,
    eval_share=0.5,
    batch_size=4,
    learning_rate=1e-3,
    context_margin_s=30.0,  # so that one cut or another has the same context
    threads=1,
    state_interval_s=0.3,
    validate_base=False,
)
NODE = """
import sys
from pathlib import Path
from whisper_retrain.training.job import TrainingJob
from whisper_retrain.training.launch import run_training
folder, store, base = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
job = TrainingJob.model_validate_json((folder / "job.json").read_bytes())
run = run_training(job, store, base, folder / "work", lambda p: print(p.step, flush=True))
print(run.model_dump_json())
"""


def test_the_environment_says_which_machine_this_is() -> None:
    environment = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500", "NODE_RANK": "1"}
    assert place_among(2, environment) == [
        *("--nnodes", "2", "--node-rank", "1"),
        *("--master-addr", "10.0.0.1", "--master-port", "29500"),
    ]
    with pytest.raises(InputError, match="no NODE_RANK"):
        place_among(2, environment | {"NODE_RANK": ""})


@dataclass
class Machine:
    """One of the two: how to start something on it, and its disk."""

    rank: int
    interface: str
    command: list[str]
    folder: Path
    environment: dict[str, str]

    def start(self, job: TrainingJob, store: S3Store, base: Path) -> subprocess.Popen[str]:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "job.json").write_text(job.model_dump_json())
        own = {
            "NODE_RANK": str(self.rank),
            "GLOO_SOCKET_IFNAME": self.interface,
            "WHISPER_RETRAIN_CACHE_DIR": str(self.folder / "cache"),
        }
        arguments = [str(self.folder), store.location, str(base)]
        return subprocess.Popen(
            [*self.command, sys.executable, "-c", NODE, *arguments],
            env=os.environ | self.environment | own,
            stdout=subprocess.PIPE,
            stderr=(self.folder / "log").open("ab"),
            text=True,
        )


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def machines(s3_server: S3Server, tmp_path: Path) -> Iterator[list[Machine]]:
    """This machine, and a namespace that sees of it one address and the S3 server."""
    name = f"wr{uuid.uuid4().hex[:6]}"
    net = f"10.{random.randint(64, 127)}.{random.randint(0, 255)}"
    try:
        ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespaces here: {error}")
    try:
        ip("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
        ip("addr", "add", f"{net}.1/30", "dev", f"{name}a")
        ip("link", "set", f"{name}a", "up")
        ip("-n", name, "addr", "add", f"{net}.2/30", "dev", f"{name}b")
        for interface in ("lo", f"{name}b"):
            ip("-n", name, "link", "set", interface, "up")
        with forwarded(f"{net}.1", s3_server.endpoint) as endpoint:
            environment = s3_server.environment() | {
                "AWS_ENDPOINT_URL_S3": endpoint,
                "MASTER_ADDR": f"{net}.1",
                "MASTER_PORT": str(free_ports(1)[0]),
            }
            inside = ["ip", "netns", "exec", name]
            yield [
                Machine(0, f"{name}a", [], tmp_path / "first", environment),
                Machine(1, f"{name}b", inside, tmp_path / "second", environment),
            ]
    finally:
        ip("netns", "del", name)


class forwarded:  # noqa: N801 - reads as a context
    """A port on an address that leads to a server on loopback."""

    def __init__(self, address: str, endpoint: str) -> None:
        host, port = endpoint.removeprefix("http://").split(":")
        self._to = (host, int(port))
        self._server = socket.create_server((address, 0))
        self.endpoint = f"http://{address}:{self._server.getsockname()[1]}"

    def __enter__(self) -> str:
        threading.Thread(target=self._accept, daemon=True).start()
        return self.endpoint

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                one, _ = self._server.accept()
            except OSError:
                return
            two = socket.create_connection(self._to)
            for source, sink in ((one, two), (two, one)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()


def finished(process: subprocess.Popen[str], machine: Machine) -> TrainingRun:
    out, _ = process.communicate(timeout=180)
    assert process.returncode == 0, (machine.folder / "log").read_text()[-3000:]
    return TrainingRun.model_validate_json(out.splitlines()[-1])


def losses(run: TrainingRun) -> dict[int, float]:
    return {point.step: point.loss for point in run.curve if point.loss is not None}


@pytest.mark.slow
def test_a_machine_that_dies_ends_the_other_and_both_resume_to_what_one_learns(
    s3_store: S3Store,
    s3_environment: S3Server,
    machines: list[Machine],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = write_tiny_model(tmp_path / "base")
    job = job_of(s3_store, tmp_path / "data", base, CONFIG)
    monkeypatch.setenv("WHISPER_RETRAIN_CACHE_DIR", str(tmp_path / "cache"))
    alone = run_training(job, s3_store.location, base, tmp_path / "alone", lambda _: None)
    s3_store.delete(job.record_key)

    pair = job.model_copy(update={"config": CONFIG.model_copy(update={"nodes": 2})})
    assert pair.digest == job.digest
    first, second = (machine.start(pair, s3_store, base) for machine in machines)
    assert first.stdout
    while int(first.stdout.readline() or STEPS) < 3:
        pass
    for process in psutil.Process(second.pid).children(recursive=True):
        process.kill()
    second.kill()
    died = time.monotonic()
    first.communicate(timeout=120)
    assert first.returncode != 0
    assert time.monotonic() - died < 60
    assert "InterruptedTrainingError" in (machines[0].folder / "log").read_text()
    second.communicate()

    # The machine that died comes back with an empty disk.
    shutil.rmtree(machines[1].folder)
    again = [machine.start(pair, s3_store, base) for machine in machines]
    runs = [finished(process, one) for process, one in zip(again, machines, strict=True)]
    assert runs[0] == runs[1], "both get the one record"
    [resumed] = runs[0].resumed_from_steps
    assert 0 < resumed < STEPS
    assert runs[0].validation_wer == alone.validation_wer
    assert losses(runs[0]) == pytest.approx(losses(alone), rel=2e-2)
