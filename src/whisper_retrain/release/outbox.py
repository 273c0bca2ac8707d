"""Notifications that must arrive: kept in S3 from before the effect is recorded until delivered.

Knows nothing of receivers. Delivery is at least once: a process that dies between delivering and
marking delivers again, and the receiver tells repeats by the notification's id.

    outbox/v1/entries/<id>.json     the notification, written once
    outbox/v1/delivered/<id>.json   says that it arrived
"""

from __future__ import annotations

from whisper_retrain.edges.store import ObjectStore, read_record
from whisper_retrain.errors import InputError
from whisper_retrain.records import canonical_json
from whisper_retrain.release.notifications import Notification

_ENTRIES, _DELIVERED = "outbox/v1/entries/", "outbox/v1/delivered/"


def enqueue(store: ObjectStore, notification: Notification) -> bool:
    """Keep a notification for delivery; False when this id was enqueued before.

    The first one wins, delivered or not: announcing the same thing again changes nothing.
    """
    key = f"{_ENTRIES}{notification.id}.json"
    if store.exists(key):
        return False
    return store.create(key, notification.model_dump_json(indent=1).encode())


def pending(store: ObjectStore) -> list[Notification]:
    """All notifications that are not delivered yet, oldest first."""
    delivered = {_id(key) for key in store.keys(_DELIVERED)}
    waiting = [key for key in store.keys(_ENTRIES) if _id(key) not in delivered]
    found = [read_record(store, key, Notification) for key in waiting]
    return sorted((one for one in found if one is not None), key=lambda one: (one.at, one.id))


def mark_delivered(store: ObjectStore, notification_id: str) -> None:
    """Note that a notification arrived; noting it twice is harmless."""
    if not store.exists(f"{_ENTRIES}{notification_id}.json"):
        raise InputError(
            "no such notification in the outbox",
            where=store.uri(_ENTRIES),
            got=notification_id,
            remedy="mark ids that `pending` returned",
        )
    store.create(f"{_DELIVERED}{notification_id}.json", canonical_json({"id": notification_id}))


def _id(key: str) -> str:
    return key.rsplit("/", 1)[-1].removesuffix(".json")
