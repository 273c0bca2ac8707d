"""The whole embedded stack, in a path with a space, through its own clients."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from whisper_retrain.local import stack
from whisper_retrain.local.stack import ServiceStatus
from whisper_retrain.local.stack.processes import find

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NAMES = {"prefect", "s3", "hub", "receiver", "app", "worker"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A stack that was started by a script with `&`, with an empty HOME."""
    found = tmp_path_factory.mktemp("whole") / "a folder" / ".local"
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HOME", "")
            stack.up(found)
        signal.signal(signal.SIGINT, handler)
        yield found
    finally:
        signal.signal(signal.SIGINT, handler)
        stack.down(found)
    assert find(str(found)) == []


@pytest.fixture
def variables(folder: Path) -> dict[str, str]:
    stack.up(folder)
    return {**os.environ, **stack.environment(folder)}


def by_name(folder: Path) -> dict[str, ServiceStatus]:
    return {service.name: service for service in stack.status(folder).services}


def call(code: str, variables: dict[str, str], folder: Path) -> str:
    """Run Python in the environment of the stack, as the demo does; what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=variables,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_all_is_up_and_a_second_up_changes_nothing(folder: Path) -> None:
    before = by_name(folder)
    assert {name: service.health for name, service in before.items()} == dict.fromkeys(NAMES, "up")
    assert stack.up(folder).is_up
    after = by_name(folder)
    assert [s.pid for s in after.values()] == [s.pid for s in before.values()]
    assert after["prefect"].data_bytes > 0
    assert after["prefect"].version.startswith("3.")


def test_nothing_listens_beyond_loopback(folder: Path) -> None:
    pids = {one.process.pid for one in find(str(folder))}
    addresses = {
        connection.laddr.ip
        for pid in pids
        for connection in psutil.Process(pid).net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}


def test_every_client_finds_its_server(folder: Path, variables: dict[str, str]) -> None:
    code = """
        import boto3, httpx, os
        from huggingface_hub import HfApi
        from prefect.client.orchestration import get_client
        bucket = os.environ["WHISPER_RETRAIN_STORE"].removeprefix("s3://")
        boto3.client("s3").head_bucket(Bucket=bucket)
        print(HfApi().whoami()["name"])
        with get_client(sync_client=True) as client:
            print([pool.name for pool in client.read_work_pools()])
        url = os.environ["WHISPER_RETRAIN_NOTIFICATION_URL"]
        print(httpx.post(url, json={"hello": 1}).status_code)
    """
    assert call(code, variables, folder).split("\n")[:3] == ["demo", "['whisper-retrain']", "200"]
    assert '"hello": 1' in (folder / "notifications.jsonl").read_text()


def test_a_wrong_key_is_refused(folder: Path, variables: dict[str, str]) -> None:
    code = """
        import boto3, botocore.exceptions as e, os
        try:
            boto3.client("s3").list_buckets()
        except e.ClientError as error:
            print(error.response["Error"]["Code"])
    """
    assert "Signature" in call(code, variables | {"AWS_SECRET_ACCESS_KEY": "wrong"}, folder)


def test_the_doctor_finds_all_well(folder: Path, variables: dict[str, str]) -> None:
    doctor = [sys.executable, "-m", "whisper_retrain", "doctor", "--release", "demo/whisper"]
    done = subprocess.run(
        doctor, env=variables, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "failed" not in done.stdout


def test_kill_9_of_everything_and_a_port_that_is_taken_meanwhile(folder: Path) -> None:
    """Data survives, also that of the S3 server, some of whose files are named by port."""
    variables = {**os.environ, **stack.environment(folder)}
    store = "from whisper_retrain.edges.store import S3Store; s = S3Store('s3://whisper-retrain')"
    call(f"{store}; s.write('kept', b'x' * 300_000)", variables, folder)
    for one in find(str(folder)):
        one.process.kill()
        one.process.wait(5)
    assert {s.health for s in by_name(folder).values()} == {"down"}
    ports = json.loads((folder / "stack.json").read_text())["ports"]
    taken = []
    for name in ("s3", "s3-master", "s3-volume", "prefect"):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", ports[name]))
        listener.listen()
        taken.append(listener)
    said: list[str] = []
    assert stack.up(folder, said.append).is_up
    for listener in taken:
        listener.close()
    assert any("another program" in line for line in said)
    variables = {**os.environ, **stack.environment(folder)}
    assert call(f"{store}; print(len(s.read('kept')))", variables, folder).strip() == "300000"


def test_down_in_mid_flow_run_leaves_no_orphan_and_no_run_that_seems_to_go_on(
    folder: Path, variables: dict[str, str]
) -> None:
    (folder / "sleeper.py").write_text(
        "import subprocess, sys\nfrom prefect import flow\n\n\n@flow\ndef sleeper() -> None:\n"
        "    child = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        "    subprocess.run(child, start_new_session=True)\n"
    )
    start = """
        import os
        from deployments.setup import save_result_storage
        from prefect import flow
        from prefect.deployments import run_deployment
        save_result_storage()
        sleeper = flow.from_source(os.getcwd(), "sleeper.py:sleeper")
        sleeper.deploy("d", work_pool_name="whisper-retrain", ignore_warnings=True,
                       print_next_steps=False)
        print("run:", run_deployment("sleeper/d", timeout=0).id)
    """
    run_id = call(start, variables, folder).split("run: ")[1].strip()
    deadline = time.monotonic() + 120
    while not any("time.sleep(600)" in " ".join(one.command) for one in find(str(folder))):
        assert time.monotonic() < deadline, (folder / "logs" / "worker.log").read_text()[-3000:]
        time.sleep(0.2)
    stack.down(folder)
    assert find(str(folder)) == []
    assert {s.health for s in by_name(folder).values()} == {"down"}
    (folder / "stack.json").write_text('{"ports": ')  # a disk that was full: made anew
    said: list[str] = []
    variables |= stack.environment(stack.up(folder, said.append).local_dir)
    assert any("choosing ports anew" in line for line in said)
    state = f"""
        from prefect.client.orchestration import get_client
        with get_client(sync_client=True) as client:
            print(client.read_flow_run("{run_id}").state.type.value)
    """
    assert call(state, variables, folder).strip() == "CRASHED"


def test_down_twice_and_without_a_stack_does_nothing(folder: Path, tmp_path: Path) -> None:
    stack.down(folder)
    stack.down(folder)
    stack.down(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
