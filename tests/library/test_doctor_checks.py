"""The doctor, tried as a new user would get things wrong, against a real Hub and a real S3."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from subprocess import run
from typing import Any, ClassVar

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests.fixtures.hub import HubServer
from tests.fixtures.s3 import S3Server
from whisper_retrain.app.correction_store import SOURCE, CorrectionStore
from whisper_retrain.cli import commands
from whisper_retrain.config import (
    BaseModelConfig,
    Columns,
    DatasetConfig,
    DatasetSource,
    ReleaseConfig,
    TrainingConfig,
)
from whisper_retrain.doctor import CheckResult, CheckScope, machine, require, run_checks
from whisper_retrain.doctor.checks import Check
from whisper_retrain.doctor.services import clock, placed_stages
from whisper_retrain.edges.hub import HubClient, RepoKind
from whisper_retrain.errors import InputError, TransientError
from whisper_retrain.settings import Settings

NOWHERE = "http://127.0.0.1:9"  # the discard port: nothing listens
MODEL = {
    "config.json": json.dumps({"model_type": "whisper", "d_model": 8}).encode(),
    "generation_config.json": b"{}",
    "tokenizer.json": b"{}",
    "preprocessor_config.json": b"{}",
    "model.safetensors": b"0" * 64,
}
AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def parquet(rows: int) -> bytes:
    """A dataset file of the PaulMooney columns; its audio is never read here."""
    columns = {
        "id": pa.array([str(row) for row in range(rows)], pa.string()),
        "sentence": pa.array(["I have a cough"] * rows, pa.string()),
        "path": pa.array([{"bytes": b"x" * 1000, "path": "a.wav"}] * rows, AUDIO),
    }
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


@pytest.fixture
def services(
    hub_server: HubServer,
    s3_environment: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Settings:
    """Everything is as it should be: Hub and S3 by environment, a bucket, no Prefect server."""
    monkeypatch.setenv("HF_ENDPOINT", hub_server.endpoint)
    monkeypatch.setenv("HF_TOKEN", hub_server.token)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    bucket = s3_environment.store().bucket
    return Settings(store=f"s3://{bucket}/prefix", cache_dir=tmp_path / "cache")


def published(server: HubServer, files: dict[str, bytes], kind: RepoKind = "model") -> str:
    """A new public repo with files."""
    hub, repo = HubClient(server.endpoint, server.token), server.new_repo(kind)
    hub.commit(repo, files, "files", hub.head(repo, kind), kind)
    return repo


def source(location: str, audio: str = "path", reference: str = "sentence") -> DatasetConfig:
    columns = Columns(audio=audio, reference=reference)
    return DatasetConfig(sources=(DatasetSource(location=location, columns=columns),))


def outcome(results: list[CheckResult], name: str) -> CheckResult:
    return next(result for result in results if result.name == name)


def checked(settings: Settings, name: str, scope: CheckScope | None = None) -> CheckResult:
    return outcome(run_checks(scope or CheckScope(), settings), name)


def test_all_is_well(services: Settings, hub_server: HubServer) -> None:
    scope = CheckScope(
        dataset=source(published(hub_server, {"data/train.parquet": parquet(3)}, "dataset")),
        base_model=BaseModelConfig(repo=published(hub_server, MODEL)),
        release=ReleaseConfig(repo=hub_server.new_name()),
    )
    results = run_checks(scope, services)
    require(results)
    names = {result.name for result in results}
    assert {"Python", "S3", "Hub token", "release repo", "dataset main", "base model"} <= names
    assert "3 rows" in outcome(results, "dataset main").found
    assert "will be created" in outcome(results, "release repo").found


def test_it_leaves_nothing_behind(services: Settings, s3_environment: S3Server) -> None:
    run_checks(CheckScope(), services)
    bucket, _, prefix = services.store.removeprefix("s3://").partition("/")
    found = s3_environment.client().list_objects_v2(Bucket=bucket, Prefix=prefix)
    assert found["KeyCount"] == 0


def test_an_empty_split_or_dataset(services: Settings, hub_server: HubServer) -> None:
    repo = published(hub_server, {"data/train.parquet": parquet(0)}, "dataset")
    found = checked(services, "dataset main", CheckScope(dataset=source(repo)))
    assert (found.status, "empty" in found.found) == ("failed", True)


def test_a_wrong_column_name(services: Settings, hub_server: HubServer) -> None:
    repo = published(hub_server, {"data/train.parquet": parquet(3)}, "dataset")
    scope = CheckScope(dataset=source(repo, reference="transcript"))
    found = checked(services, "dataset main", scope)
    assert found.status == "failed"
    assert "column missing: transcript" in found.found
    assert "sentence" in found.found, "it must name the columns that are there"


def test_a_dataset_repo_that_does_not_exist(services: Settings, hub_server: HubServer) -> None:
    found = checked(services, "dataset main", CheckScope(dataset=source(hub_server.new_name())))
    assert found.status == "failed"
    assert "no such repo" in found.found
    assert not found.transient


def test_a_folder_without_a_listing(services: Settings, tmp_path: Path) -> None:
    place = DatasetSource(kind="folder", location=str(tmp_path))
    found = checked(services, "dataset main", CheckScope(dataset=DatasetConfig(sources=(place,))))
    assert (found.status, "listing" in found.found) == ("failed", True)


def test_corrections_may_be_none_yet_and_an_empty_folder_of_recordings_is_a_fault(
    services: Settings, s3_environment: S3Server, tmp_path: Path
) -> None:
    store = s3_environment.store()
    CorrectionStore(store).rebuild()
    (tmp_path / "metadata.csv").write_text("path,sentence\n")
    places = (
        DatasetSource(
            name="main", kind="folder", location=str(tmp_path), columns=Columns(audio="path")
        ),
        DatasetSource(
            name="corrections", kind="s3", location=store.uri(SOURCE), preset="corrections"
        ),
    )
    results = run_checks(CheckScope(dataset=DatasetConfig(sources=places)), services)
    assert outcome(results, "dataset main").status == "failed"
    assert "0 rows" in outcome(results, "dataset corrections").found
    assert outcome(results, "dataset corrections").status == "ok"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"config.json": b'{"model_type": "bert"}'}, "no Whisper"),
        ({"config.json": b"not json"}, "no Whisper"),
        ({"config.json": None}, "no Whisper"),
        ({"model.safetensors": None}, "safetensors"),
        ({"tokenizer.json": None}, "tokenizer"),
        ({"preprocessor_config.json": None}, "preprocessor"),
    ],
)
def test_a_base_model_that_is_none(
    services: Settings, hub_server: HubServer, change: dict[str, bytes | None], expected: str
) -> None:
    merged: dict[str, bytes | None] = {**MODEL, **change}
    files = {name: data for name, data in merged.items() if data is not None}
    scope = CheckScope(base_model=BaseModelConfig(repo=published(hub_server, files)))
    found = checked(services, "base model", scope)
    assert (found.status, expected in found.found) == ("failed", True), found


def test_no_hub_token(services: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/nonexistent/token")
    found = checked(services, "Hub token")
    assert (found.status, "HF_TOKEN" in found.remedy) == ("failed", True), found


def test_a_wrong_hub_token(services: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    found = checked(services, "Hub token")
    assert (found.status, "not valid" in found.found) == ("failed", True), found


def test_a_read_only_token(
    services: Settings, hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is enough to look, not to publish."""
    monkeypatch.setenv("HF_TOKEN", hub_server.read_token)
    assert checked(services, "Hub token").status == "warning"
    scope = CheckScope(release=ReleaseConfig(repo=hub_server.new_name()))
    found = checked(services, "Hub token", scope)
    assert (found.status, "no right to write" in found.found) == ("failed", True), found


def test_a_token_of_another_namespace(services: Settings, hub_server: HubServer) -> None:
    scope = CheckScope(release=ReleaseConfig(repo="somebody/else"))
    assert checked(services, "Hub token", scope).status == "failed"


def test_a_token_of_an_organization_of_the_user(services: Settings) -> None:
    scope = CheckScope(release=ReleaseConfig(repo="clinic/whisper"))
    assert checked(services, "Hub token", scope).status == "ok"


def test_a_wrong_s3_key(services: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    found = checked(services, "S3")
    assert (found.status, "AWS_SECRET_ACCESS_KEY" in found.remedy) == ("failed", True), found


def test_a_missing_bucket(services: Settings) -> None:
    found = checked(services.model_copy(update={"store": "s3://nowhere-at-all"}), "S3")
    assert found.status == "failed"
    assert "bucket does not exist" in found.found
    assert "WHISPER_RETRAIN_STORE" in found.remedy


@pytest.mark.parametrize("endpoint", ["no url at all", "http://"])
def test_a_nonsensical_s3_endpoint(
    services: Settings, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    assert checked(services, "S3").status == "failed"


def test_servers_that_are_down_may_be_up_again(
    services: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once in one error, which a task may retry since nothing else is wrong."""
    for name in ("HF_ENDPOINT", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, NOWHERE)
    monkeypatch.setenv("PREFECT_API_URL", f"{NOWHERE}/api")
    results = run_checks(CheckScope(), services)
    failed = {result.name for result in results if result.status == "failed"}
    assert failed == {"S3", "Hub token", "Prefect"}
    with pytest.raises(TransientError) as caught:
        require(results)
    assert all(f"{name}: " in str(caught.value) for name in failed)


def test_one_lasting_failure_among_passing_ones_is_not_retried() -> None:
    results = [
        CheckResult("Hub", "failed", "down", "wait", transient=True),
        CheckResult("S3", "failed", "wrong key", "set it"),
        CheckResult("disk", "warning", "nearly full"),
    ]
    with pytest.raises(InputError, match="2 of 3 checks failed"):
        require(results)


def test_warnings_are_no_reason_to_stop() -> None:
    require([CheckResult("GPU", "warning", "small")])


def test_a_disk_that_is_full(
    services: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = shutil._ntuple_diskusage(10**12, 10**12 - 1000, 1000)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage)
    found = machine.disk("disk", tmp_path / "not" / "made" / "yet")
    assert (found.status, str(tmp_path) in found.found) == ("failed", True)


def test_a_folder_that_cannot_be_written() -> None:
    assert machine.disk("disk", Path("/proc/nowhere")).status == "failed"


@pytest.mark.parametrize(("gib", "status"), [(0.5, "failed"), (2, "warning"), (8, "ok")])
def test_memory(monkeypatch: pytest.MonkeyPatch, gib: float, status: str) -> None:
    free = psutil.virtual_memory()._replace(available=int(gib * 2**30))
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: free)
    assert machine.memory("memory").status == status


@pytest.mark.parametrize(("version", "status"), [("3.10.14", "failed"), ("3.11.2", "ok")])
def test_python(monkeypatch: pytest.MonkeyPatch, version: str, status: str) -> None:
    monkeypatch.setattr(machine.platform, "python_version", lambda: version)
    assert machine.python("Python").status == status


@pytest.mark.parametrize(
    ("folder", "status"), [("/opt/my models/.venv/lib", "failed"), ("/opt/models/.venv/lib", "ok")]
)
def test_torch_compile_is_refused_where_its_compiler_would_stumble(
    monkeypatch: pytest.MonkeyPatch, folder: str, status: str
) -> None:
    monkeypatch.setattr(machine.sysconfig, "get_paths", lambda: {"purelib": folder})
    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/usr/bin/{name}")
    found = machine.compiler("torch.compile")
    assert (found.status, "blank" in found.found) == (status, status == "failed")


@pytest.mark.parametrize("wanted", [True, False])
def test_the_compiler_is_looked_at_where_it_is_wanted(services: Settings, wanted: bool) -> None:
    results = run_checks(CheckScope(training=TrainingConfig(compile=wanted)), services)
    assert ("torch.compile" in {result.name for result in results}) == wanted


class LateClock(BaseHTTPRequestHandler):
    """A service whose clock is an hour behind."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(time.time() - 3600)


def test_a_clock_that_is_an_hour_off() -> None:
    with HTTPServer(("127.0.0.1", 0), LateClock) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = clock("clock", {"S3": f"http://127.0.0.1:{server.server_port}"})
        server.shutdown()
    assert (found.status, "S3 +3600 s" in found.found) == ("failed", True), found


def test_the_table_names_remedies_and_the_exit_code_says_so(
    services: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHISPER_RETRAIN_STORE", "s3://nowhere-at-all")
    result = CliRunner().invoke(commands, ["doctor"])
    assert result.exit_code == 1
    assert "remedy:" in result.output
    monkeypatch.setenv("WHISPER_RETRAIN_STORE", services.store)
    assert CliRunner().invoke(commands, ["doctor"]).exit_code == 0


class PrefectServer(BaseHTTPRequestHandler):
    """Answers the doctor's questions as the Prefect server of a team with a GPU pool would."""

    answers: ClassVar[dict[str, Any]] = {}

    def do_GET(self) -> None:
        found = self.answers.get(self.path.removeprefix("/api"))
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def log_message(self, *_: Any) -> None:
        """Nothing."""


GPU_POOL = {"name": "whisper-retrain-gpu", "concurrency_limit": 1, "status": "READY"}
OWN_POOL = {"name": "whisper-retrain", "concurrency_limit": 1, "status": "READY"}


@pytest.mark.parametrize(
    ("placed", "pool", "status", "told"),
    [
        ("fine-tune/gpu", GPU_POOL, "ok", "fine-tune on fine-tune/gpu"),
        ("fine-tune/gpu", GPU_POOL, "warning", "too little for the record of 2,000 steps"),
        ("fine-tune/gpu", GPU_POOL | {"status": "NOT_READY"}, "warning", "no worker is online"),
        ("fine-tune/gpus", GPU_POOL, "failed", "fine-tune/gpus, which the server does not know"),
        ("gate/gpu", GPU_POOL, "failed", "expected a deployment of the flow fine-tune"),
        ("fine-tune/gpu", OWN_POOL, "failed", "would wait for its own parent"),
    ],
    ids=["well", "small parameters", "asleep", "unknown", "another flow", "the parent's pool"],
)
def test_placed_stages(
    monkeypatch: pytest.MonkeyPatch, placed: str, pool: dict[str, Any], status: str, told: str
) -> None:
    deployment = {"work_pool_name": pool["name"]}
    names = ("fine-tune/gpu", "gate/gpu")
    PrefectServer.answers = {f"/deployments/name/{name}": deployment for name in names}
    PrefectServer.answers[f"/work_pools/{pool['name']}"] = pool
    most_bytes = 524_288 if told.endswith("2,000 steps") else 0
    PrefectServer.answers["/admin/settings"] = {
        "server": {"api": {"max_parameter_size": most_bytes}}
    }
    server = HTTPServer(("127.0.0.1", 0), PrefectServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
        look = partial(placed_stages, stages={"fine-tune": placed})
        found = Check("placed stages", look).run()
    finally:
        server.shutdown()
        server.server_close()
    assert (found.status, told in found.found) == (status, True), found


def test_it_imports_no_torch() -> None:
    """It comes first in each flow run, most of which then find nothing new."""
    code = "import sys, whisper_retrain.doctor; print({'torch', 'prefect'} & set(sys.modules))"
    done = run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_command_line_reads_dot_env_and_the_environment_wins(
    services: Settings, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(f"HF_TOKEN=hf_wrong\nWHISPER_RETRAIN_STORE={services.store}\n")
    doctor = [sys.executable, "-m", "whisper_retrain", "doctor"]
    with_token = run(doctor, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert with_token.returncode == 0, with_token.stdout
    environment = {name: value for name, value in os.environ.items() if name != "HF_TOKEN"}
    without = run(
        doctor, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert without.returncode == 1
    assert "token is not valid" in " ".join(without.stdout.split())
