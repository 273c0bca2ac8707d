"""Delivery of the outbox: what was decided is told, once, even when an event got lost."""

from __future__ import annotations

from prefect import flow

from tasks.notifications import NOTIFICATION_BLOCK, deliver, pending_notifications


@flow(name="notify", flow_run_name="deliver-outbox")
def notify(block: str = NOTIFICATION_BLOCK) -> int:
    """Deliver every notification that is still in the outbox; returns how many.

    Args:
        block: Prefect notification block, as type/name. Any of Prefect's will do: Slack, Teams, …
    """
    waiting = pending_notifications()
    for notification in waiting:
        deliver(notification, block)
    return len(waiting)
