"""Detached processes: started, found again, kept, restarted and stopped. No pid file anywhere."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest

from whisper_retrain.local.stack import processes, starting
from whisper_retrain.local.stack.layout import (
    PORT_NAMES,
    Layout,
    State,
    choose_ports,
    new_credentials,
)
from whisper_retrain.local.stack.processes import (
    SERVICE_VARIABLE,
    STACK_VARIABLE,
    find,
    is_alive,
    spawn,
    stop,
)
from whisper_retrain.local.stack.services import Service, services_of
from whisper_retrain.local.stack.starting import StackError, Starter, sort_found


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    found = Layout(tmp_path / "a folder" / ".local")
    found.create()
    yield found
    stop([one.process for one in find(str(found.dir))], grace_s=2)


@pytest.fixture
def receiver(layout: Layout) -> Service:
    """The smallest real service."""
    layout.save_credentials(credentials := new_credentials(), "demo")
    state = State(ports=choose_ports(PORT_NAMES, keep={}))
    services = services_of(layout, state, credentials)
    return next(service for service in services if service.name == "receiver")


def up(layout: Layout, *services: Service) -> list[str]:
    """One pass of `up`; what it said."""
    said: list[str] = []
    Starter(layout, services, said.append).run()
    return said


def mains(layout: Layout, service: Service) -> list[psutil.Process]:
    return [one.process for one in sort_found(find(str(layout.dir)), [service])[0]]


def python(layout: Layout, code: str, service: str = "any") -> psutil.Popen:
    """A process of the stack that runs some code; it says "ready" first of all."""
    marks = {STACK_VARIABLE: str(layout.dir), SERVICE_VARIABLE: service}
    log = layout.log_file(service)
    command = [sys.executable, "-u", "-c", f"print('ready')\n{code}"]
    process = spawn(command, {**os.environ, **marks}, log, layout.dir)
    while "ready" not in log.read_text():
        time.sleep(0.02)
    return process


def test_up_starts_what_is_missing_and_leaves_what_runs(layout: Layout, receiver: Service) -> None:
    assert any("is up" in line for line in up(layout, receiver))
    (first,) = mains(layout, receiver)
    assert up(layout, receiver) == []
    assert mains(layout, receiver) == [first]


def test_kill_9_is_repaired(layout: Layout, receiver: Service) -> None:
    up(layout, receiver)
    (first,) = mains(layout, receiver)
    first.kill()
    up(layout, receiver)
    (second,) = mains(layout, receiver)
    assert second.pid != first.pid
    assert httpx.get(f"{receiver.url}/health").status_code == 200


def test_other_settings_mean_a_restart(layout: Layout, receiver: Service) -> None:
    up(layout, receiver)
    (first,) = mains(layout, receiver)
    changed = replace(receiver, variables={**receiver.variables, "WANTED": "new"})
    assert any("other settings" in line for line in up(layout, changed))
    (second,) = mains(layout, changed)
    assert second.environ()["WANTED"] == "new"
    assert not is_alive(first)


def test_a_double_is_stopped(layout: Layout, receiver: Service) -> None:
    """Left behind by an `up` that was killed at a bad moment."""
    up(layout, receiver)
    other = replace(receiver, command=(*receiver.command[:-1], str(layout.dir / "x.jsonl")))
    log = layout.log_file("double")
    spawn(other.command, receiver.environment(str(layout.dir)), log, layout.dir)
    assert len(mains(layout, receiver)) == 2
    up(layout, receiver)
    assert len(mains(layout, receiver)) == 1


def test_a_service_that_hangs_is_restarted(
    layout: Layout, receiver: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "ADOPTION_LIMIT_S", 0.2)
    receiver = replace(receiver, stop_grace_s=0.2)
    up(layout, receiver)
    (first,) = mains(layout, receiver)
    first.suspend()
    said = up(layout, receiver)
    assert any(line.startswith("restarting") for line in said)
    assert not is_alive(first)


def test_a_service_that_does_not_start_says_why(layout: Layout, receiver: Service) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", receiver.ports["receiver"]))
        taken.listen()
        with pytest.raises(StackError) as caught:
            up(layout, receiver)
    assert "Address already in use" in str(caught.value)
    assert str(layout.log_file("receiver")) in str(caught.value)
    assert mains(layout, receiver) == []


def test_a_service_that_is_never_ready_is_given_up(layout: Layout, receiver: Service) -> None:
    deaf = replace(
        receiver,
        command=(sys.executable, "-c", "import time; time.sleep(60)"),
        identity=("-c",),
        start_limit_s=0.5,
    )
    with pytest.raises(StackError, match="does not start"):
        up(layout, deaf)
    assert mains(layout, deaf) == []


def test_long_waits_are_not_silent(
    layout: Layout, receiver: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "PROGRESS_EVERY_S", 0.1)
    slow = "import runpy, sys, time; time.sleep(0.6); "
    slow += f"sys.argv = {list(receiver.command[2:])!r}"
    slow += "; runpy.run_module('whisper_retrain.local.stack.receiver', run_name='__main__')"
    said = up(layout, replace(receiver, command=(sys.executable, "-c", slow), identity=("-c",)))
    assert any(line.startswith("waiting for Webhook receiver") for line in said)


def test_the_processes_of_a_service_are_not_the_service(layout: Layout, receiver: Service) -> None:
    """A flow run carries its worker's mark, and must survive an `up`, though not a `down`."""
    run = python(layout, "import time; time.sleep(60)", service="receiver")
    up(layout, receiver)
    assert is_alive(run)
    _, others = sort_found(find(str(layout.dir)), [receiver])
    assert [one.process.pid for one in others] == [run.pid]


def test_another_stack_is_not_seen(layout: Layout, tmp_path: Path) -> None:
    python(layout, "import time; time.sleep(60)")
    assert find(str(tmp_path / "other")) == []


def test_orphans_are_found_whatever_session_they_made(layout: Layout) -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = [sys.executable, '-c', 'import time; time.sleep(60)']\n"
        "subprocess.Popen(child, start_new_session=True)\n"
        "print('started')\ntime.sleep(60)"
    )
    parent = python(layout, code)
    while "started" not in layout.log_file("any").read_text():
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    orphans = find(str(layout.dir))
    assert len(orphans) == 1
    stop([one.process for one in orphans], grace_s=2)
    assert find(str(layout.dir)) == []


def test_sigterm_first_and_sigkill_for_the_deaf(layout: Layout) -> None:
    polite = python(layout, "import time\ntime.sleep(60)", service="polite")
    deaf = python(
        layout,
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('deaf')\ntime.sleep(60)",
        service="deaf",
    )
    while "deaf" not in layout.log_file("deaf").read_text():
        time.sleep(0.02)
    stop([polite, deaf], grace_s=0.3)
    assert (polite.wait(), deaf.wait()) == (-signal.SIGTERM, -signal.SIGKILL)


def test_a_shell_in_the_background_does_not_make_services_deaf_to_sigint(layout: Layout) -> None:
    """`command &` in a script ignores SIGINT, and children inherit that."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = python(layout, "import time; time.sleep(60)")
    finally:
        signal.signal(signal.SIGINT, handler)
    process.send_signal(signal.SIGINT)
    assert process.wait(5) != 0


def test_services_outlive_the_command_that_started_them(layout: Layout) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from whisper_retrain.local.stack.processes import spawn\n"
        f"marks = {{{STACK_VARIABLE!r}: {str(layout.dir)!r}}}\n"
        "command = [sys.executable, '-c', 'import time; time.sleep(60)']\n"
        f"spawn(command, marks, Path({str(layout.log_file('x'))!r}), Path({str(layout.dir)!r}))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(find(str(layout.dir))) == 1


def test_a_log_does_not_grow_for_ever(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LOG_LIMIT_BYTES", 10)
    log = layout.log_file("any")
    log.write_text("x" * 11)
    python(layout, "pass").wait()
    assert log.read_text() == "ready\n"
    assert log.with_suffix(".old.log").read_text() == "x" * 11
