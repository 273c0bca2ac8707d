"""Automations as code: who is told what, and what is done about a run that died.

Registering twice changes nothing: an automation is looked up by its name and updated.
Events are at-most-once, so nothing depends on them alone: notifications lie in the outbox in S3,
and the schedule of `notify/outbox` delivers what no event announced.
"""

from __future__ import annotations

from datetime import timedelta
from typing import cast
from uuid import UUID

from prefect.automations import Automation
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment, SendNotification
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from tasks.notifications import EVENTS, NOTIFICATION_BLOCK

OUTBOX_DEPLOYMENT = "notify/outbox"
HEARTBEAT_LOST_AFTER = timedelta(seconds=150)
"""Five heartbeats of 30 s, as prefect.yaml sets them: under three of them live runs are ended."""
CRASH_TOLD_TWICE = timedelta(seconds=30)
"""A crash is reported by the runner and, seconds later, by the worker; both set the state."""
OUR_FLOWS = [
    *("retrain", "refresh", "fine-tune", "gate", "promote", "rollback", "notify"),
    *("tune", "trial"),
]
"""Flows of other teams on the same server may have slower heartbeats: they are left alone."""

FAILED_BODY = """\
Flow run {{ flow_run.name }} ended in state {{ flow_run.state.name }}.
{{ flow_run.state.message | default("", true) | truncate(1500) }}
{% if flow_run.state.type != "FAILED" %}\
Its process ended in the middle: the stage is the flow run inside it that is not completed.
After a first crash it is run again by itself: finished stages are kept, and training resumes.
{% endif %}\
{{ flow_run | ui_url }}
"""
"""An error names its stage and what to do by itself; a process that died could not."""


def deliver_outbox(deployment_id: UUID) -> Automation:
    """A queued notification is delivered at once instead of at the next sweep."""
    return Automation(
        name="whisper-retrain: deliver notifications",
        description="Runs notify/outbox when a model was promoted or rolled back, or rejected.",
        trigger=EventTrigger(expect=set(EVENTS), posture=Posture.Reactive, threshold=1),
        actions=[RunDeployment(source="selected", deployment_id=deployment_id, parameters={})],
    )


def tell_failures(block_id: UUID) -> Automation:
    """A retraining that failed or crashed is told at once."""
    return Automation(
        name="whisper-retrain: retraining failed",
        description="Notifies when a flow run of `retrain` fails or crashes.",
        trigger=EventTrigger(
            expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed"},
            match_related={"prefect.resource.role": "flow", "prefect.resource.name": "retrain"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[
            SendNotification(
                block_document_id=block_id, subject="Whisper retraining failed", body=FAILED_BODY
            )
        ],
    )


def end_zombies(within: timedelta = HEARTBEAT_LOST_AFTER) -> Automation:
    """A flow run whose machine went away would stay Running, and hold its slot, for ever."""
    return Automation(
        name="whisper-retrain: end zombie flow runs",
        description="Marks a flow run as crashed when its heartbeat has stopped.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.*"},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={"prefect.resource.role": "flow", "prefect.resource.name": OUR_FLOWS},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=within,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED, name="Crashed", message="The heartbeat has stopped."
            )
        ],
    )


def resume_crashed(within: timedelta = CRASH_TOLD_TWICE) -> Automation:
    """A retraining whose process or machine died goes on, once; a second crash needs a person.

    Not at the first report of the crash: the second would overwrite the new state.
    """
    return Automation(
        name="whisper-retrain: resume a crashed retraining",
        description="Runs a flow run of `retrain` again that crashed in its first attempt.",
        trigger=EventTrigger(
            after={"prefect.flow-run.Crashed"},
            expect={"prefect.flow-run.AwaitingRetry", "prefect.flow-run.Running"},
            match={"prefect.resource.id": "prefect.flow-run.*", "prefect.run-count": "1"},
            match_related={"prefect.resource.role": "flow", "prefect.resource.name": "retrain"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=within,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.SCHEDULED,
                name="AwaitingRetry",
                message="Crashed once: finished stages are kept, training resumes.",
            )
        ],
    )


def register() -> None:
    """Create or update all automations that the server's blocks and deployments allow."""
    wanted = [end_zombies(), resume_crashed()]
    with get_client(sync_client=True) as client:
        try:
            wanted.append(deliver_outbox(client.read_deployment_by_name(OUTBOX_DEPLOYMENT).id))
        except ObjectNotFound:
            print(f"{OUTBOX_DEPLOYMENT} is not deployed yet: run `prefect deploy --all` first")  # noqa: T201
    try:
        block = cast(Block, Block.load(NOTIFICATION_BLOCK))
    except ValueError:
        print(f"no block {NOTIFICATION_BLOCK}: failures will not be told (see docs/operations.md)")  # noqa: T201
    else:
        wanted.append(tell_failures(cast(UUID, block._block_document_id)))
    for automation in wanted:
        upsert(automation)


def upsert(automation: Automation) -> None:
    """Create an automation, or update the one of the same name."""
    try:
        existing = cast(Automation, Automation.read(name=automation.name))
    except ValueError:
        automation.create()
        return
    automation.id = existing.id
    automation.enabled = existing.enabled  # a person may have paused it in the UI
    automation.update()
