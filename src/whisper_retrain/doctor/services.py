"""S3, Hub and Prefect: reachable, and usable with these credentials. Also whose clock is wrong."""

from __future__ import annotations

import base64
import os
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from whisper_retrain.config import ReleaseConfig
from whisper_retrain.doctor.checks import CheckResult
from whisper_retrain.edges.hub import HubClient
from whisper_retrain.edges.store import S3Store, s3_client
from whisper_retrain.errors import InputError, StorageError, TransientError

WORK_POOL = "whisper-retrain"
GPU_TAG = "gpu"
TIMEOUT_S = 5.0
SKEW_WARNING_S, SKEW_LIMIT_S = 60.0, 900.0  # S3 refuses requests that are 15 minutes off
SETUP = "python -m deployments.setup"


def s3(name: str, location: str) -> CheckResult:
    """Write, read, write conditionally, delete: all that the stages do, on a probe object."""
    store = S3Store(location, _s3_client())
    key, first, second = f"doctor/{uuid.uuid4().hex}", b"probe", b"another"
    if not store.create(key, first):
        raise StorageError("a new object was refused", where=store.uri(key))
    try:
        if store.read(key) != first:
            raise StorageError("other bytes came back", where=store.uri(key))
        if store.create(key, second):
            raise InputError(
                "the S3 server ignores conditional writes (If-None-Match)",
                where=location,
                remedy="use a server that honours them: AWS S3, SeaweedFS 4.48, MinIO",
            )
    finally:
        store.delete(key)
    return CheckResult(name, "ok", f"{location}: written, read, deleted")


def _s3_client() -> Any:
    from botocore.exceptions import BotoCoreError

    try:
        return s3_client(attempts=1)
    except (BotoCoreError, ValueError) as error:
        raise InputError(
            "the S3 settings cannot be used",
            got=str(error),
            remedy="check AWS_ENDPOINT_URL_S3, AWS_REGION and AWS_PROFILE",
        ) from error


def hub_token(name: str, hub: HubClient, release: ReleaseConfig | None) -> CheckResult:
    """Whose token it is, and whether it may publish the release."""
    account = hub.whoami()
    found = f"{account.user}, role {account.role}, at {hub.endpoint}"
    repo = release.repo if release else f"{account.user}/any"
    if account.can_write(repo):
        return CheckResult(name, "ok", found)
    if release is None:
        return CheckResult(name, "warning", f"{found}: cannot publish", "set HF_TOKEN to another")
    return CheckResult(
        name,
        "failed",
        f"{found}: no right to write to {repo}",
        f"set HF_TOKEN to a token with write access to {repo.split('/', maxsplit=1)[0]}, "
        "or publish elsewhere (release.repo)",
    )


def release_repo(name: str, hub: HubClient, release: ReleaseConfig) -> CheckResult:
    """Whether there is a champion to beat."""
    head = hub.head(release.repo)
    if head is None:
        return CheckResult(name, "ok", f"{release.repo}: none yet, will be created")
    champion = hub.tags(release.repo).get(release.champion_tag)
    state = f"champion {champion[:12]}" if champion else "no champion yet"
    return CheckResult(name, "ok", f"{release.repo}: {state}")


def prefect(name: str, stages: Mapping[str, str]) -> CheckResult:
    """The API, its version, and what `deployments.setup` makes on it."""
    url = os.environ.get("PREFECT_API_URL", "").rstrip("/")
    if not url:
        remedy = "set PREFECT_API_URL to where the server is"
        return CheckResult(name, "warning", "PREFECT_API_URL is not set", remedy)
    needed = {f"work pool {WORK_POOL}": f"/work_pools/{WORK_POOL}"}
    if not stages:
        needed[f"concurrency limit {GPU_TAG}"] = f"/concurrency_limits/tag/{GPU_TAG}"
    with _prefect_client(url) as client:
        version = _ask(client, "/admin/version")
        missing = [what for what, path in needed.items() if _ask(client, path) is None]
    found = f"{version or 'Prefect Cloud'} at {url}"
    if missing:
        return CheckResult(name, "warning", f"{found}; missing: {', '.join(missing)}", SETUP)
    return CheckResult(name, "ok", f"{found}, {' and '.join(needed)} are there")


def placed_stages(name: str, stages: Mapping[str, str]) -> CheckResult:
    """Whether each deployment of WHISPER_RETRAIN_STAGES is there, and somebody works for it."""
    asleep = []
    with _prefect_client(os.environ.get("PREFECT_API_URL", "").rstrip("/")) as client:
        for stage, deployment in stages.items():
            found = _ask(client, f"/deployments/name/{deployment}")
            if found is None or not deployment.startswith(f"{stage}/"):
                raise InputError(
                    f"stage {stage} is placed on a deployment that cannot do it",
                    where="WHISPER_RETRAIN_STAGES",
                    expected=f"a deployment of the flow {stage}, such as {stage}/gpu",
                    got=f"{deployment}{'' if found else ', which the server does not know'}",
                    remedy=f"{SETUP}, or name another one",
                )
            pool = _ask(client, f"/work_pools/{found['work_pool_name']}")
            if pool["name"] == WORK_POOL and pool["concurrency_limit"]:
                raise InputError(
                    f"stage {stage} would wait for its own parent",
                    where=f"work pool {found['work_pool_name']}",
                    expected="another pool than the parent's, or one without a limit",
                    remedy=f"place it on {stage}/gpu, or remove the pool's limit",
                )
            asleep += [pool["name"]] if pool["status"] != "READY" else []
        settings = _ask(client, "/admin/settings") or {}
    told = ", ".join(f"{stage} on {deployment}" for stage, deployment in stages.items())
    if asleep:
        remedy = f"prefect worker start --pool {asleep[0]}, on a machine with a GPU"
        found_asleep = f"{told}; no worker is online in {', '.join(dict.fromkeys(asleep))}"
        return CheckResult(name, "warning", found_asleep, remedy)
    most_bytes = settings.get("server", {}).get("api", {}).get("max_parameter_size", 0)
    if most_bytes:
        remedy = "set PREFECT_SERVER_API_MAX_PARAMETER_SIZE=0 on the server"
        small = (
            f"{told}; the server takes {most_bytes >> 10} KiB of parameters, too little for the "
        )
        return CheckResult(name, "warning", f"{small}record of 2,000 steps", remedy)
    return CheckResult(name, "ok", told)


def _prefect_client(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers=_prefect_headers(), timeout=TIMEOUT_S)


def _prefect_headers() -> dict[str, str]:
    key, pair = os.environ.get("PREFECT_API_KEY"), os.environ.get("PREFECT_API_AUTH_STRING")
    if key:
        return {"Authorization": f"Bearer {key}"}
    if pair:
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


def _ask(client: httpx.Client, path: str) -> Any:
    """The JSON answer; None when there is no such thing."""
    where = f"{client.base_url}{path.lstrip('/')}"
    try:
        answer = client.get(path.lstrip("/"))
    except httpx.HTTPError as error:
        raise TransientError(
            "the Prefect server could not be reached",
            where=where,
            got=f"{type(error).__name__}: {error}",
            remedy="start it (whisper-retrain stack up), or set PREFECT_API_URL",
        ) from error
    if answer.status_code == 404:
        return None
    if answer.status_code in {401, 403}:
        raise InputError(
            "the Prefect server refused the credentials",
            where=where,
            got=str(answer.status_code),
            remedy="set PREFECT_API_KEY (Cloud) or PREFECT_API_AUTH_STRING",
        )
    if not answer.is_success:
        raise TransientError("the Prefect server failed", where=where, got=str(answer.status_code))
    return answer.json()


def clock(name: str, urls: dict[str, str]) -> CheckResult:
    """How far this clock is from those of the services, by their Date headers."""
    offsets = {service: _offset_s(url) for service, url in urls.items()}
    known = {service: offset for service, offset in offsets.items() if offset is not None}
    if not known:
        return CheckResult(name, "warning", "no service told its time", "see the other checks")
    found = ", ".join(f"{service} {offset:+.0f} s" for service, offset in known.items())
    worst_s = max(abs(offset) for offset in known.values())
    remedy = "set this machine's clock (NTP)"
    if worst_s > SKEW_LIMIT_S:
        return CheckResult(name, "failed", f"off from {found}: requests are refused", remedy)
    if worst_s > SKEW_WARNING_S:
        return CheckResult(name, "warning", f"off from {found}", remedy)
    return CheckResult(name, "ok", found)


def _offset_s(url: str) -> float | None:
    try:
        date = httpx.head(url, timeout=TIMEOUT_S).headers.get("date")
    except httpx.HTTPError:
        return None  # the service's own check says so
    # The header has whole seconds: half of one is its mean error.
    if not date:
        return None
    return (datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds() - 0.5


def s3_endpoint() -> str:
    """Where S3 is: AWS itself unless the environment says otherwise."""
    given = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return given or "https://s3.amazonaws.com"


def hub_client() -> HubClient:
    """A client that asks once: a check must not take longer than the look itself."""
    return HubClient(attempts=1)
