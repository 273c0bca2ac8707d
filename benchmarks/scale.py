"""Stages on pools, and what becomes of them when something dies.

    python benchmarks/scale.py [--only CASE ...] [--json FILE]

A real Prefect server, two process pools and a worker for each, on loopback. Parent and training are
stand-ins of seconds (benchmarks/scale_stages.py); placement, automations and their windows are
the real ones. Each case does something to a retraining that is under way, and ends with the states
that a person would expect. `gpu_free_s` is the longest time for which a process of the GPU pool
lived on after there was nothing left for it to do.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.scale_site import GPUS, Site, marked, site  # noqa: E402

STEPS = 40  # eight seconds


@dataclass
class Case:
    """One retraining, and what is done to it."""

    site: Site
    name: str
    watched: dict[str, float]
    run: str = ""

    @property
    def digest(self) -> str:
        """Of what is trained."""
        return self.name.replace(" ", "-")

    def begin(self, steps: int | None = None, fails: bool = False) -> str:
        """Ask for a retraining; its flow run."""
        parent = self.site.api("GET", "/deployments/name/retrain/campaign")
        asked = {"digest": self.digest, "steps": steps or STEPS, "fails": fails}
        body = {"parameters": asked}
        made = self.site.api("POST", f"/deployments/{parent['id']}/create_flow_run", body)
        self.run = self.run or made["id"]
        return str(made["id"])

    def events(self) -> list[dict[str, Any]]:
        """The ledger's lines about this training."""
        file = self.site.folder / "ledger.jsonl"
        lines = [json.loads(li) for li in file.read_text().splitlines()] if file.exists() else []
        return [line for line in lines if line["digest"] == self.digest]

    def under_way(self) -> psutil.Process:
        """Wait until some steps are done; the process that does them."""
        state = self.site.folder / f"{self.digest}.state"
        self.site.until("training", lambda: state.exists() and int(state.read_text() or 0) >= 5)
        self.watch()
        return self.process(self.children()[-1]["id"])

    def watch(self) -> None:
        """Look at the waiting parent's memory."""
        process = self.process(self.run)
        rss_mib = process.memory_info().rss / 2**20
        torch = any("/torch/" in one.path for one in process.memory_maps())
        self.watched["parent_rss_mib"] = max(self.watched.get("parent_rss_mib", 0), rss_mib)
        self.watched["torch"] = max(self.watched.get("torch", 0), float(torch))

    def children(self) -> list[dict[str, Any]]:
        """Flow runs that the parent asked the GPU pool for, oldest first."""
        parents = {"flow_runs": {"parent_flow_run_id": {"any_": [self.run]}}}
        found = self.site.api("POST", "/flow_runs/filter", parents)
        asked = [run for run in found if run["work_pool_name"] == GPUS]
        return sorted(asked, key=lambda run: run["created"])

    def state(self, run: str) -> str:
        """Name of a flow run's state."""
        return str(self.site.api("GET", f"/flow_runs/{run}")["state"]["name"])

    def message(self, run: str) -> str:
        """What its state says."""
        return str(self.site.api("GET", f"/flow_runs/{run}")["state"]["message"])

    def processes(self, run: str) -> list[psutil.Process]:
        """Processes of a flow run."""
        found = []
        for process in marked(str(self.site.folder)):
            try:
                if process.environ().get("PREFECT__FLOW_RUN_ID") == run:
                    found.append(process)
            except psutil.Error:
                continue
        return [one for one in found if one.status() != psutil.STATUS_ZOMBIE]

    def process(self, run: str) -> psutil.Process:
        """The one that does its work."""
        return self.site.until("a process", lambda: self.processes(run), 60)[-1]

    def kill(self, run: str) -> None:
        """SIGKILL to what does a flow run's work."""
        for process in self.processes(run):
            process.kill()

    def ends(self, run: str = "") -> tuple[str, ...]:
        """States of parent and children, at their end; the children in order."""
        run = run or self.run
        final = {"Completed", "Failed", "Cancelled"}
        self.site.until("an end", lambda: self.state(run) in final)
        states = [self.state(child["id"]) for child in self.children()]
        return (self.state(run), *states)

    def freed(self, since: float) -> None:
        """Wait until no process of the GPU pool does this training."""
        runs = [child["id"] for child in self.children()]
        self.site.until("a free GPU", lambda: not any(self.processes(run) for run in runs))
        held_s = time.time() - since
        self.watched["gpu_free_s"] = max(self.watched.get("gpu_free_s", 0), held_s)


def happy(case: Case) -> tuple[Any, Any]:
    """The stage runs on the other pool, and its result comes back."""
    case.begin()
    case.under_way()
    got = case.ends()
    case.freed(next(e["at"] for e in case.events() if e["event"] == "trained"))
    return ("Completed", "Completed"), got


def child_fails(case: Case) -> tuple[Any, Any]:
    """The parent fails with the child's own words."""
    case.begin(fails=True)
    got = case.ends()
    case.freed(next(e["at"] for e in case.events() if e["event"] == "failed"))
    told = "fine-tune failed: the base model is no Whisper" in case.message(case.run)
    return (("Failed", "Failed"), True), (got, told)


def parent_cancelled(case: Case) -> tuple[Any, Any]:
    """The child goes with it."""
    case.begin(steps=10 * STEPS)
    case.under_way()
    since = time.time()
    cancel = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    case.site.api("POST", f"/flow_runs/{case.run}/set_state", cancel)
    # The child ends some ten seconds after its parent.
    case.ends()
    case.site.until("a cancelled child", lambda: case.state(case.children()[0]["id"]) != "Running")
    case.freed(since)
    case.site.until(
        "an end of the child", lambda: case.state(case.children()[0]["id"]) != "Cancelling"
    )
    return ("Cancelled", "Cancelled"), case.ends()


def child_killed(case: Case) -> tuple[Any, Any]:
    """As a spot machine that goes away: the parent asks again, and training resumes."""
    case.begin()
    case.under_way().kill()
    got = case.ends()
    case.freed(next(e["at"] for e in case.events() if e["event"] == "trained"))
    resumed = [e["step"] > 0 for e in case.events() if e["event"] == "began"]
    return (("Completed", "Crashed", "Completed"), [False, True]), (got, resumed)


def parent_killed(case: Case) -> tuple[Any, Any]:
    """The child goes on; the automation runs the parent again, which finds it."""
    case.begin()
    case.under_way()
    case.kill(case.run)
    case.site.until("a crash", lambda: case.state(case.run) == "Crashed", 60)
    got = case.ends()
    runs = case.site.api("GET", f"/flow_runs/{case.run}")["run_count"]
    return (("Completed", "Completed"), 2), (got, runs)


def gpu_worker_killed(case: Case) -> tuple[Any, Any]:
    """Its child goes on by itself, and nothing of it is lost."""
    case.begin()
    case.under_way()
    case.site.processes[GPUS].kill()
    got = case.ends()
    case.site.start_worker(GPUS)
    return ("Completed", "Completed"), got


def server_killed(case: Case) -> tuple[Any, Any]:
    """Away for ten seconds: parent, child and workers wait for it."""
    case.begin()
    case.under_way()
    case.site.processes["server"].kill()
    time.sleep(10)
    case.site.start_server()
    return ("Completed", "Completed"), case.ends()


def worker_stopped(case: Case) -> tuple[Any, Any]:
    """Its child dies with it, and is missed; the parent asks again."""
    case.begin()
    case.under_way()
    since = time.time()
    case.site.processes[GPUS].terminate()
    case.freed(since)
    case.site.processes[GPUS].wait(60)
    case.site.start_worker(GPUS)
    got = case.ends()
    return ("Completed", "Completed", ["Crashed"]), (got[0], got[-1], sorted(set(got[1:-1])))


def two_at_once(case: Case) -> tuple[Any, Any]:
    """They ask for the same training: it is done once."""
    runs = [case.begin(), case.begin()]
    case.under_way()
    got = [case.ends(run)[0] for run in runs]
    return (["Completed", "Completed"], 1), (got, _trained(case))


def stored_already(case: Case) -> tuple[Any, Any]:
    """Asked for once more, without a GPU worker: none is needed."""
    case.begin()
    case.ends()
    case.site.processes[GPUS].kill()
    case.run = ""
    case.begin()
    got = case.ends()
    case.site.start_worker(GPUS)
    return ("Completed",), got


def _trained(case: Case) -> int:
    return sum(event["event"] == "trained" for event in case.events())


CASES: dict[str, Callable[[Case], tuple[Any, Any]]] = {
    "happy path": happy,
    "child fails": child_fails,
    "parent cancelled": parent_cancelled,
    "child killed": child_killed,
    "parent killed": parent_killed,
    "GPU worker killed": gpu_worker_killed,
    "server killed": server_killed,
    "GPU worker stopped": worker_stopped,
    "two parents at once": two_at_once,
    "stored already": stored_already,
}


def measure(names: list[str], say: Callable[[str], None]) -> dict[str, Any]:
    """Run the cases one after the other."""
    watched: dict[str, float] = {}
    results: dict[str, Any] = {}
    with site() as one:
        for name in names:
            case, began = Case(one, name, watched), time.monotonic()
            try:
                expected, got = CASES[name](case)
            except (TimeoutError, psutil.Error, StopIteration) as error:
                expected, got = "an end", repr(error)
            seconds = round(time.monotonic() - began, 1)
            results[name] = {"expected": expected, "got": got, "seconds": seconds}
            say(f"{name}: {got} {'as expected' if expected == got else f'not {expected}'}")
        ledger = [json.loads(li) for li in (one.folder / "ledger.jsonl").read_text().splitlines()]
    anew = Counter(e["digest"] for e in ledger if e["event"] == "began" and e["step"] == 0)
    return {
        "cases": len(results),
        "as_expected": sum(one["expected"] == one["got"] for one in results.values()),
        "trained_twice": sum(count - 1 for count in anew.values()),
        "gpu_free_s": round(watched.get("gpu_free_s", 0.0), 1),
        "parent_rss_mib": round(watched.get("parent_rss_mib", 0.0), 1),
        "parent_imports_torch": bool(watched.get("torch")),
        "results": results,
    }


def table(found: dict[str, Any]) -> str:
    """The cases and figures as Markdown."""
    lines = ["| case | parent, children | seconds |", "|---|---|---:|"]
    for name, one in found["results"].items():
        verdict = "" if one["expected"] == one["got"] else f" **expected {one['expected']}**"
        lines.append(f"| {name} | {one['got']}{verdict} | {one['seconds']} |")
    lines += ["", "| measured | figure | bound |", "|---|---:|---|"]
    for key, bound in (
        ("cases", ""),
        ("as_expected", "all"),
        ("trained_twice", "0"),
        ("gpu_free_s", "at most 60"),
        ("parent_rss_mib", "at most 200"),
        ("parent_imports_torch", "no"),
    ):
        lines.append(f"| {key} | {found[key]} | {bound} |")
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    # Everything is stopped on the way out, also when someone else ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    found = measure(options.only, lambda line: print(line, file=sys.stderr, flush=True))
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
