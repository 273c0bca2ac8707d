"""The webhook receiver of the embedded stack, as a real process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.fixtures.s3 import free_ports


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "notifications.jsonl"


@pytest.fixture
def url(file: Path) -> Iterator[str]:
    port = free_ports(1)[0]
    module = "whisper_retrain.local.stack.receiver"
    command = [sys.executable, "-m", module, "--port", str(port), "--file", str(file)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    for _ in range(200):
        try:
            httpx.get(f"http://127.0.0.1:{port}/health")
            break
        except httpx.TransportError:
            time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(5)


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_a_notification_is_one_line(url: str, file: Path) -> None:
    body = {"subject": "promoted", "text": "WER 4.2 % → 3.1 %\nsecond line"}
    assert httpx.post(f"{url}/notify", json=body).status_code == 200
    (line,) = lines(file)
    assert (line["path"], line["body"]) == ("/notify", body)
    assert httpx.get(url).json() == [line]


def test_the_same_notification_twice_is_seen_twice(url: str, file: Path) -> None:
    for _ in range(2):
        httpx.post(url, json={"id": 1})
    assert [line["body"] for line in lines(file)] == [{"id": 1}, {"id": 1}]


def test_it_can_be_broken_for_a_while(url: str, file: Path) -> None:
    """Health stays well: it is the delivery that fails."""
    down = file.with_name(f"{file.name}.down-until")
    down.write_text(str(time.time() + 60))
    assert httpx.post(url, json={"id": 1}).status_code == 500
    assert httpx.get(f"{url}/health").status_code == 200
    assert not file.exists()
    down.write_text(str(time.time() - 1))
    assert httpx.post(url, json={"id": 2}).status_code == 200
    assert [line["body"] for line in lines(file)] == [{"id": 2}]


@pytest.mark.parametrize(("body", "status"), [(b"no json", 400), (b"x" * (2**20 + 1), 413)])
def test_what_is_no_notification_is_refused(url: str, file: Path, body: bytes, status: int) -> None:
    assert httpx.post(url, content=body).status_code == status
    assert not file.exists()
