"""Puts base model and corpus on the embedded Hub, and the deployments on the Prefect server.

What was done for the same content is not done again: a second `make demo` goes straight on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from deployments import setup
from whisper_retrain.edges.store import sha256_of
from whisper_retrain.records import digest_of

ROOT = Path(__file__).parents[2]
BASE_REPO = "demo/whisper-tiny.en"
DATASET_REPO = "demo/medical-speech"


def publish(local_dir: Path, drop: int, console: Console) -> None:
    """The base model, and all drops of the corpus up to `drop`."""
    for number in range(1, drop + 1):
        _once(
            local_dir,
            f"drop-{number}",
            _code("demo"),
            lambda n=number: _publish(local_dir, n, console),
        )


def deploy(local_dir: Path, console: Console) -> None:
    """Make the Prefect server ready; schedules stay paused, since they point to the real Hub."""
    services = {k: v for k, v in os.environ.items() if k.startswith(("PREFECT_API", "AWS_"))}
    sources = [
        *(ROOT / "deployments").glob("*.py"),
        *(ROOT / "flows").glob("*.py"),
        ROOT / "prefect.yaml",
    ]
    content = digest_of([{str(path): sha256_of(path) for path in sources}, services])

    def work() -> None:
        console.print("deploying prefect.yaml: flows, work pool, limits, blocks, automations")
        setup.main()
        setup.pause_schedules()

    _once(local_dir, "deployed", content, work)


def _once(local_dir: Path, name: str, content: str, work: Callable[[], object]) -> None:
    stamp = local_dir / "stamps" / name
    if stamp.is_file() and stamp.read_text() == content:
        return
    work()
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(content)
