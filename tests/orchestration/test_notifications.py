"""A promotion is told once, even if the receiver is down or the event got lost."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock

from flows.notify import notify
from tasks import notifications
from whisper_retrain.edges.store import S3Store
from whisper_retrain.release import outbox
from whisper_retrain.release.notifications import Notification

pytestmark = pytest.mark.usefixtures("prefect_server")

BLOCK = "custom-webhook/test-receiver"


class Receiver:
    """A real HTTP server that answers 500 as often as told, and keeps what it took."""

    def __init__(self) -> None:
        self.failures_left = 0
        self.received: list[dict[str, str]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if receiver.failures_left:
                    receiver.failures_left -= 1
                    self.send_response(500)
                else:
                    receiver.received.append(json.loads(body))
                    self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, daemon=True)
    thread.start()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture
def block(receiver: Receiver, prefect_server: None) -> str:
    CustomWebhookNotificationBlock(
        name="test", url=receiver.url, json_data={"subject": "{{subject}}", "text": "{{body}}"}
    ).save("test-receiver", overwrite=True)
    return BLOCK


def a_notification(name: str) -> Notification:
    return Notification(
        id=f"model.promoted-{name}",
        event="model.promoted",
        at=datetime(2026, 1, 2, tzinfo=UTC),
        subject=f"Promoted: {name}",
        body="WER 4.2 % (3.1 to 5.6 %), was 12.9 %",
        payload={},
    )


def test_what_is_pending_is_delivered_once(
    task_store: S3Store, receiver: Receiver, block: str
) -> None:
    outbox.enqueue(task_store, a_notification("once"))
    assert notify(block) == 1
    assert notify(block) == 0
    assert [one["subject"] for one in receiver.received] == ["Promoted: once"]
    assert "WER 4.2 %" in receiver.received[0]["text"]


def test_a_receiver_that_is_down_loses_nothing(
    task_store: S3Store, receiver: Receiver, block: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.enqueue(task_store, a_notification("patient"))
    receiver.failures_left = 2
    monkeypatch.setattr(notifications.deliver, "retry_delay_seconds", 0)
    notify(block)
    assert [one["subject"] for one in receiver.received] == ["Promoted: patient"]


def test_one_that_is_down_for_long_is_tried_again_at_the_next_sweep(
    task_store: S3Store, receiver: Receiver, block: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.enqueue(task_store, a_notification("later"))
    receiver.failures_left = 1
    monkeypatch.setattr(notifications.deliver, "retries", 0)
    with pytest.raises(Exception, match="500"):
        notify(block)
    assert receiver.received == []
    assert [one.id for one in outbox.pending(task_store)] == ["model.promoted-later"]
    notify(block)
    assert [one["subject"] for one in receiver.received] == ["Promoted: later"]
