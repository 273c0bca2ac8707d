"""Starting, finding and stopping detached processes, without pid files.

Each process that a stack starts carries the stack's folder in its environment, and so does
whatever it starts in turn. Finding them in the process table is right after a crash of anything,
after a reboot, and when a pid was given to another program.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

STACK_VARIABLE = "WHISPER_RETRAIN_STACK"
SERVICE_VARIABLE = "WHISPER_RETRAIN_STACK_SERVICE"
SPEC_VARIABLE = "WHISPER_RETRAIN_STACK_SPEC"

LOG_LIMIT_BYTES = 10 * 2**20


@dataclass(frozen=True)
class Found:
    """A live process of a stack."""

    process: psutil.Process
    """Itself."""
    service: str
    """What it belongs to."""
    spec: str
    """Digest of what it was started with."""
    command: tuple[str, ...]
    """Its command line."""


def find(stack: str) -> list[Found]:
    """All live processes of a stack, those that its services started included."""
    found = []
    for process in psutil.process_iter():
        try:
            variables = process.environ()
            if variables.get(STACK_VARIABLE) != stack or process.pid == os.getpid():
                continue
            service, spec = variables.get(SERVICE_VARIABLE, ""), variables.get(SPEC_VARIABLE, "")
            found.append(Found(process, service, spec, tuple(process.cmdline())))
        except (psutil.Error, OSError):  # ended meanwhile, a zombie, or somebody else's
            continue
    return found


def spawn(
    command: Sequence[str], variables: Mapping[str, str], log_file: Path, cwd: Path
) -> psutil.Popen:
    """Start a detached process in a session of its own, its output appended to the log."""
    if log_file.exists() and log_file.stat().st_size > LOG_LIMIT_BYTES:
        log_file.replace(log_file.with_suffix(".old.log"))
    with log_file.open("ab") as log:
        return psutil.Popen(
            list(command),
            env=dict(variables),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_default_signals,
        )


def _default_signals() -> None:
    # A shell's `&` makes children ignore SIGINT, which Prefect sends itself in order to stop.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; a zombie does not."""
    if isinstance(process, psutil.Popen) and process.poll() is not None:
        return False
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def stop(processes: Iterable[psutil.Process], grace_s: float) -> None:
    """SIGTERM to all at once, SIGKILL to those still there after `grace_s`."""
    left = [process for process in processes if is_alive(process)]
    for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        for process in left:
            try:
                process.send_signal(number)
            except psutil.Error:
                continue
        deadline = time.monotonic() + wait_s
        while (left := [p for p in left if is_alive(p)]) and time.monotonic() < deadline:
            time.sleep(0.05)


def tail(log_file: Path, lines: int = 15) -> str:
    """The last lines of a log."""
    try:
        with log_file.open("rb") as log:
            log.seek(max(0, log_file.stat().st_size - 20_000))
            return "\n".join(log.read().decode("utf-8", "replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(no log)"
