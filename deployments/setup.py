"""One command that makes the Prefect server ready: `python -m deployments.setup`.

Idempotent: run again, it changes nothing, and a schedule that was paused in the UI stays paused.
It deploys prefect.yaml, and around that makes what prefect.yaml cannot say: the work pools, the
limit of one task or flow run per GPU, the block that keeps task results in S3, the block that
delivers notifications, and the automations.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from prefect.blocks.core import Block
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import WorkPool
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect_aws import AwsClientParameters, AwsCredentials, S3Bucket
from pydantic import SecretStr

from deployments.automations import register
from tasks.policies import GPU_TAG
from whisper_retrain.errors import InputError
from whisper_retrain.settings import load_settings

ROOT = Path(__file__).parents[1]
WORK_POOL = "whisper-retrain"
GPU_POOL = "whisper-retrain-gpu"
BLOCK_NAME = "whisper-retrain"


def create_work_pool(name: str) -> WorkPool:
    """A process pool; on Kubernetes, ECS or Docker make a pool of that type under this name."""
    with get_client(sync_client=True) as client:
        try:
            return client.create_work_pool(WorkPoolCreate(name=name, type="process"))
        except ObjectAlreadyExists:
            return client.read_work_pool(name)


def limit_gpu() -> None:
    """As many at a time as there are GPUs: flow runs of the GPU pool, or tasks with the GPU's tag.

    The tag counts over all machines, whoever works; so with placed stages it would only hold up a
    child that has its GPU already. Without the setting the limit is one, and one that a person
    has set stays as it is.
    """
    settings = load_settings()
    with get_client(sync_client=True) as client:
        _limit_pool(client, settings.gpu_slots)
        if settings.stages:
            with suppress(ObjectNotFound):
                client.delete_concurrency_limit_by_tag(GPU_TAG)
        else:
            _limit_tag(client, settings.gpu_slots)


def _limit_pool(client: SyncPrefectClient, slots: int | None) -> None:
    found = client.read_work_pool(GPU_POOL).concurrency_limit
    wanted = slots or found or 1
    if found != wanted:
        client.update_work_pool(GPU_POOL, WorkPoolUpdate(concurrency_limit=wanted))


def _limit_tag(client: SyncPrefectClient, slots: int | None) -> None:
    if slots is None:
        try:
            client.read_concurrency_limit_by_tag(GPU_TAG)
            return
        except ObjectNotFound:
            slots = 1
    client.create_concurrency_limit(tag=GPU_TAG, concurrency_limit=slots)


def save_result_storage() -> None:
    """Task results in S3, so that a rerun on another machine hits. Keys come from the environment.

    With an instance role there are no keys, and none are stored.
    """
    bucket, _, prefix = load_settings().store.removeprefix("s3://").partition("/")
    secret = os.environ.get("AWS_SECRET_ACCESS_KEY")
    credentials = AwsCredentials(
        aws_access_key_id=os.environ.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=SecretStr(secret) if secret else None,
        region_name=os.environ.get("AWS_DEFAULT_REGION"),
        aws_client_parameters=AwsClientParameters(
            endpoint_url=os.environ.get("AWS_ENDPOINT_URL_S3")
        ),
    )
    block = S3Bucket(
        bucket_name=bucket, bucket_folder=f"{prefix}/results".lstrip("/"), credentials=credentials
    )
    _save(block)


def save_notification_block() -> None:
    """Where notifications go; without the variable, a block made in the UI is left as it is."""
    url = os.environ.get("WHISPER_RETRAIN_NOTIFICATION_URL")
    if url:
        _save(
            CustomWebhookNotificationBlock(
                name="whisper-retrain",
                url=url,
                json_data={"subject": "{{subject}}", "text": "{{body}}"},
                timeout=10,
            )
        )


def _save(block: Block) -> None:
    block.save(BLOCK_NAME, overwrite=True)


def deploy() -> None:
    """`prefect deploy --all`; the work pool must be there, no flow's module needs torch."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InputError(
            "`prefect deploy --all` failed",
            where=str(ROOT / "prefect.yaml"),
            got=(done.stdout + done.stderr).strip()[-2000:],
            remedy="is PREFECT_API_URL right and the server up?",
        )


def pause_schedules() -> None:
    """Pause every schedule but the outbox's: for a server that is only for trying things out."""
    with get_client(sync_client=True) as client:
        for deployment in client.read_deployments():
            for schedule in deployment.schedules:
                if deployment.name != "outbox" and schedule.active:
                    client.update_deployment_schedule(deployment.id, schedule.id, active=False)


def main() -> None:
    """Make everything; needs PREFECT_API_URL and the environment of `.env.example`."""
    create_work_pool(WORK_POOL)
    create_work_pool(GPU_POOL)
    limit_gpu()
    save_result_storage()
    save_notification_block()
    deploy()
    register()


if __name__ == "__main__":
    main()
