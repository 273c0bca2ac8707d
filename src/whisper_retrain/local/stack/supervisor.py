"""The stack's three verbs: up, down, status.

Knows the order of things; what a service is, it asks `services`, what runs, the process table.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from whisper_retrain.local.stack import processes
from whisper_retrain.local.stack.environment import HUB_USER
from whisper_retrain.local.stack.layout import (
    GRPC_OFFSET,
    PORT_NAMES,
    CorruptStateError,
    Credentials,
    Layout,
    State,
    choose_ports,
    is_free,
    new_credentials,
)
from whisper_retrain.local.stack.processes import Found
from whisper_retrain.local.stack.services import Service, services_of
from whisper_retrain.local.stack.starting import (
    PROGRESS_EVERY_S,
    Progress,
    StackError,
    Starter,
    complaint_of,
    sort_found,
)

FLOW_RUN_GRACE_S = 15.0  # a training process saves its state when it is told to stop
REPORT_S = 1.5  # the worker tells the server how its flow runs ended
STARTS = 3  # a port can be taken between choosing and listening


@dataclass(frozen=True)
class ServiceStatus:
    """One service, as it is now; `health` is "up" or says what is wrong."""

    name: str
    """In logs and files."""
    title: str
    """For people."""
    health: str
    """ "up", or what is wrong."""
    url: str
    """Where it answers."""
    version: str
    """Of the program."""
    pid: int | None
    """None: it does not run."""
    data_bytes: int
    """Of its files on the disk."""
    log_file: Path
    """What it writes."""


@dataclass(frozen=True)
class Stack:
    """All services, as they are now."""

    local_dir: Path
    """Where all its state lies."""
    services: tuple[ServiceStatus, ...]
    """In the order of starting."""

    @property
    def is_up(self) -> bool:
        """Whether every service is well."""
        return all(service.health == "up" for service in self.services)


def up(local_dir: Path, progress: Progress = print) -> Stack:
    """Start what is missing, broken or outdated; leave what is well alone.

    Safe to call at any time, also after a kill -9 of anything. Raises StackError when a service
    does not become healthy, InputError when the folder cannot be used.
    """
    layout = Layout(local_dir)
    layout.create()
    with _locked(layout, progress):
        for attempt in range(1, STARTS + 1):
            services = _settle(layout, progress)
            try:
                Starter(layout, services, progress).run()
                break
            except StackError:
                if attempt == STARTS or not _lost_ports(layout, services):
                    raise
    return status(local_dir)


def down(local_dir: Path, progress: Progress = print) -> None:
    """Stop every process of the stack: flow runs first, so that the worker can report them."""
    layout = Layout(local_dir)
    if not layout.dir.is_dir():
        return
    with _locked(layout, progress):
        services = _services(layout)
        mains, others = sort_found(processes.find(str(layout.dir)), services)
        if others:
            progress(f"stopping flow runs ({len(others)} processes)")
            processes.stop([found.process for found in others], FLOW_RUN_GRACE_S)
            time.sleep(REPORT_S)
        workers = [found.process for found in mains if found.service == "worker"]
        processes.stop(workers, grace_s=10)
        left = [found.process for found in processes.find(str(layout.dir))]
        if left:
            progress(f"stopping {len(left)} services")
            processes.stop(left, grace_s=10)
        _sweep_sockets(_ports(layout))
        progress("the stack is down")


def status(local_dir: Path) -> Stack:
    """How every service is now."""
    layout = Layout(local_dir)
    services = _services(layout)
    mains, _ = sort_found(processes.find(str(layout.dir)), services)
    return Stack(layout.dir, tuple(_status_of(layout, s, mains) for s in services))


def _settle(layout: Layout, progress: Progress) -> tuple[Service, ...]:
    """Credentials, and ports that are free or our own; stored before anything starts."""
    credentials = layout.load_credentials()
    if credentials is None and layout.credentials_file.exists():
        progress(f"making new credentials: {layout.credentials_file} is unreadable")
    credentials = credentials or new_credentials()
    layout.save_credentials(credentials, HUB_USER)
    try:
        state = layout.load_state()
    except CorruptStateError as error:
        progress(f"choosing ports anew: {error}")
        state = None
    kept = {name: port for name, port in state.ports.items() if name in PORT_NAMES} if state else {}
    state = State(ports=choose_ports([n for n in PORT_NAMES if n not in kept], kept))
    lost = _lost_ports(layout, services_of(layout, state, credentials))
    if lost:
        names = ", ".join(f"{name} {state.ports[name]}" for name in lost)
        progress(f"choosing ports anew, since another program holds them: {names}")
        keep = {name: port for name, port in state.ports.items() if name not in lost}
        state = State(ports=choose_ports(lost, keep, taken=state.ports.values()))
    layout.save_state(state)
    return services_of(layout, state, credentials)


def _ports(layout: Layout) -> dict[str, int]:
    try:
        state = layout.load_state()
    except CorruptStateError:
        state = None
    return dict(state.ports) if state else {}


def _services(layout: Layout) -> tuple[Service, ...]:
    """The services as stored; with made-up ports and keys where nothing is, to know their names."""
    ports = dict.fromkeys(PORT_NAMES, 0) | _ports(layout)
    credentials = layout.load_credentials() or Credentials(
        s3_access_key="", s3_secret_key="", hub_token="", hub_read_token=""
    )
    return services_of(layout, State(ports=ports), credentials)


def _lost_ports(layout: Layout, services: Sequence[Service]) -> list[str]:
    """Names of ports that are held though the service that they belong to isn't running."""
    mains, _ = sort_found(processes.find(str(layout.dir)), services)
    running = {found.service for found in mains}
    ports = {name: p for s in services if s.name not in running for name, p in s.ports.items()}
    return [name for name, port in ports.items() if not is_free(port)]


def _status_of(layout: Layout, service: Service, mains: Sequence[Found]) -> ServiceStatus:
    own = [found for found in mains if found.service == service.name]
    health = (complaint_of(service) or "up") if own else "down"
    if health == "up" and own[0].spec != service.spec:
        health = "outdated: run `stack up`"
    return ServiceStatus(
        name=service.name,
        title=service.title,
        health=health,
        url=service.url,
        version=service.version,
        pid=own[0].process.pid if own else None,
        data_bytes=sum(_disk_use_bytes(path) for path in service.data),
        log_file=layout.log_file(service.name),
    )


def _disk_use_bytes(path: Path) -> int:
    total = 0
    for file in (path, *path.rglob("*")):
        try:
            total += file.lstat().st_blocks * 512
        except FileNotFoundError:  # not there yet, or gone meanwhile
            continue
    return total


def _sweep_sockets(ports: dict[str, int]) -> None:
    """SeaweedFS leaves its sockets in /tmp, named by port."""
    for port in ports.values():
        for number in (port, port + GRPC_OFFSET):
            for socket in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):  # noqa: S108
                socket.unlink(missing_ok=True)


@contextmanager
def _locked(layout: Layout, progress: Progress) -> Iterator[None]:
    """One `up` or `down` at a time; the kernel drops the lock with its holder."""
    with layout.lock_file.open("w") as lock:
        since = last = time.monotonic()
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() - last > PROGRESS_EVERY_S:
                    last = time.monotonic()
                    progress(f"waiting for another `stack up` or `down` ({last - since:.0f} s)")
                time.sleep(0.1)
        yield
