"""Bringing services from whatever they are to healthy: the loop behind `up`.

Keeps what runs well with the right settings, restarts what is outdated or silent, starts what is
missing as soon as what it needs is ready, and says what it waits for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx
import psutil

from whisper_retrain.errors import PermanentError
from whisper_retrain.local.stack import processes
from whisper_retrain.local.stack.layout import Layout
from whisper_retrain.local.stack.processes import Found
from whisper_retrain.local.stack.services import NotReadyError, Service

Progress = Callable[[str], None]

PROGRESS_EVERY_S = 3.0
ADOPTION_LIMIT_S = 15.0  # how long a running service may stay silent before it is restarted


class StackError(PermanentError):
    """A service of the embedded stack does not start; the message holds its last words."""


@dataclass
class Start:
    """A service on its way up: started just now, or found running."""

    service: Service
    process: psutil.Process
    adopted: bool
    since: float = field(default_factory=time.monotonic)

    @property
    def waited_s(self) -> float:
        """Time since it was started or found."""
        return time.monotonic() - self.since


class Starter:
    """One pass of `up` over all services."""

    def __init__(self, layout: Layout, services: Sequence[Service], progress: Progress) -> None:
        self.layout, self.services, self.progress = layout, services, progress
        self.on_the_way: dict[str, Start] = {}
        self.ready: set[str] = set()

    def run(self) -> None:
        """Return when every service is healthy; raise StackError for the first that won't be."""
        current = self._stop_outdated()
        last = time.monotonic()
        while True:
            for service in self.services:
                if service.name not in self.on_the_way and self.ready.issuperset(service.needs):
                    self.on_the_way[service.name] = self._begin(service, current)
            for name in [name for name in self.on_the_way if name not in self.ready]:
                self._look(self.on_the_way[name])
            if len(self.ready) == len(self.services):
                return
            if time.monotonic() - last > PROGRESS_EVERY_S:
                last = time.monotonic()
                self._report_waiting()
            time.sleep(0.1)

    def _stop_outdated(self) -> dict[str, psutil.Process]:
        """Services that run with the right settings; all others are stopped, doubles too."""
        mains, _ = sort_found(processes.find(str(self.layout.dir)), self.services)
        specs = {service.name: service.spec for service in self.services}
        current = {f.service: f.process for f in mains if f.spec == specs[f.service]}
        outdated = [f for f in mains if current.get(f.service) != f.process]
        if outdated:
            names = ", ".join(f.service for f in outdated)
            self.progress(f"stopping what runs with other settings: {names}")
            processes.stop([f.process for f in outdated], grace_s=10)
        return current

    def _begin(self, service: Service, current: dict[str, psutil.Process]) -> Start:
        found = current.get(service.name)
        return Start(service, found, adopted=True) if found else self._spawn(service)

    def _spawn(self, service: Service) -> Start:
        self.progress(f"starting {service.title}")
        stack = str(self.layout.dir)
        process = processes.spawn(
            service.command,
            service.environment(stack),
            self.layout.log_file(service.name),
            cwd=self.layout.dir,
        )
        return Start(service, process, adopted=False)

    def _look(self, start: Start) -> None:
        """Note that it is ready, go on waiting, restart it once, or give up."""
        service = start.service
        alive = processes.is_alive(start.process)
        complaint = complaint_of(service) if alive else "it ended"
        if not complaint:
            self.ready.add(service.name)
            if not start.adopted:
                self.progress(f"{service.title} is up: {service.url} ({start.waited_s:.1f} s)")
        elif start.adopted and (not alive or start.waited_s > ADOPTION_LIMIT_S):
            self.progress(f"restarting {service.title}: {complaint}")
            processes.stop([start.process], service.stop_grace_s)
            self.on_the_way[service.name] = self._spawn(service)
        elif not start.adopted and (not alive or start.waited_s > service.start_limit_s):
            processes.stop([start.process], service.stop_grace_s)
            raise self._failure(start, complaint)

    def _failure(self, start: Start, complaint: str) -> StackError:
        log_file = self.layout.log_file(start.service.name)
        return StackError(
            f"{start.service.title} does not start",
            where=str(log_file),
            expected=f"an answer at {start.service.url} within {start.service.start_limit_s:.0f} s",
            got=f"{complaint} after {start.waited_s:.1f} s; its last lines:\n"
            f"{processes.tail(log_file)}\n",
            remedy="see the log; `whisper-retrain stack up` tries again",
        )

    def _report_waiting(self) -> None:
        late = [start for name, start in self.on_the_way.items() if name not in self.ready]
        names = ", ".join(f"{s.service.title} ({s.waited_s:.0f} s)" for s in late)
        self.progress(f"waiting for {names}")


def sort_found(
    found: Sequence[Found], services: Sequence[Service]
) -> tuple[list[Found], list[Found]]:
    """The services themselves, and what they have started (flow runs and their children)."""
    by_name = {service.name: service for service in services}
    mains = [
        f for f in found if f.service in by_name and by_name[f.service].is_identity_of(f.command)
    ]
    return mains, [f for f in found if f not in mains]


def complaint_of(service: Service) -> str:
    """What is wrong with a running service; empty when nothing is."""
    try:
        service.probe()
    except (NotReadyError, httpx.HTTPError) as error:
        return str(error) or type(error).__name__
    return ""
