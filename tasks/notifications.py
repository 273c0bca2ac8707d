"""Delivery of the outbox through a Prefect notification block, and the events that announce it."""

from __future__ import annotations

from typing import cast

from prefect import get_run_logger, task
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.events import emit_event

from tasks.policies import DELIVERY, LOOKUP
from tasks.services import store
from whisper_retrain.release import outbox
from whisper_retrain.release.notifications import Notification

NOTIFICATION_BLOCK = "custom-webhook/whisper-retrain"
EVENTS = ("model.promoted", "model.rolled-back", "challenger.rejected")


def announce(notification: Notification) -> None:
    """Emit the event that has the outbox delivered at once."""
    emit_event(
        event=notification.event,
        resource={
            "prefect.resource.id": f"whisper-retrain.notification.{notification.id}",
            "prefect.resource.name": notification.subject,
        },
        payload=notification.payload,
    )


@task(task_run_name="read-outbox", **LOOKUP)
def pending_notifications() -> list[Notification]:
    """All notifications that are not delivered yet, oldest first."""
    return outbox.pending(store())


@task(task_run_name="deliver-{notification.event}", **DELIVERY)
def deliver(notification: Notification, block: str) -> None:
    """Send through the block, then mark as delivered.

    Every failure is retried: a receiver that is down looks like any other. What still fails stays
    in the outbox for the next sweep. The id is what a receiver tells a repeat by: a process that
    dies between delivering and marking delivers again.
    """
    body = f"{notification.body}\nNotification id: {notification.id}"
    receiver = cast(NotificationBlock, Block.load(block))
    # Typed for async callers too; here it is synchronous.
    cast(None, receiver.notify(body=body, subject=notification.subject))
    outbox.mark_delivered(store(), notification.id)
    get_run_logger().info("delivered: %s", notification.subject)
