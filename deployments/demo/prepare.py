"""Puts base model and corpus on the embedded Hub, and the deployments on the Prefect server.

What was done for the same content is not done again: a second `make demo` goes straight on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.console import Console

from deployments import setup
from tasks.services import hub
from whisper_retrain.edges.store import sha256_of
from whisper_retrain.local.demo.base_model import convert_base_model
from whisper_retrain.local.demo.corpus import make_corpus, make_everyday_corpus
from whisper_retrain.local.demo.publication import publish_corpus
from whisper_retrain.model_files import model_files
from whisper_retrain.records import digest_of

ROOT = Path(__file__).parents[2]
BASE_REPO = "demo/whisper-tiny.en"
DATASET_REPO = "demo/medical-speech"
EVERYDAY_REPO = "demo/everyday-speech"
SAY_EVERY_S = 4.0
SERVICES = ("PREFECT_API", "AWS_", "WHISPER_RETRAIN_NOTIFICATION_URL")
"""Variables that are stored in blocks: with others the blocks must be saved again."""


def publish(local_dir: Path, drop: int, console: Console) -> None:
    """Put all that the demo starts from, and every drop of its corpus up to `drop`, on the Hub."""
    publish_start(local_dir, console)
    for number in range(1, drop + 1):
        work = partial(_publish_drop, local_dir / "demo", number, console)
        _once(local_dir, f"drop-{number}", digest_of([number, _sources()]), work)


def publish_start(local_dir: Path, console: Console) -> None:
    """Put on the Hub what any retraining there starts from: base model and everyday speech."""
    folder, content = local_dir / "demo", digest_of(_sources())
    _once(local_dir, "base-model", content, partial(_publish_base_model, folder, console))
    _once(local_dir, "everyday", content, partial(_publish_everyday, folder, console))


def deploy(local_dir: Path, console: Console) -> None:
    """Make the Prefect server ready; schedules stay paused, since they point to the real Hub."""
    services = {k: v for k, v in os.environ.items() if k.startswith(SERVICES)}
    # The library's too: the forms of deployments are made from its settings and records.
    folders = (ROOT / "deployments", ROOT / "flows", ROOT / "src" / "whisper_retrain")
    sources = [ROOT / "prefect.yaml", *(path for f in folders for path in sorted(f.rglob("*.py")))]
    content = digest_of([[sha256_of(path) for path in sources], services])

    def work() -> None:
        console.print("deploying prefect.yaml: flows, work pool, limits, blocks, automations")
        setup.main()
        setup.pause_schedules()

    _once(local_dir, "deployed", content, work)


def _sources() -> list[str]:
    """Digests of the code and texts that all of it is made by."""
    folder = ROOT / "src" / "whisper_retrain" / "local" / "demo"
    return [sha256_of(path) for path in sorted(folder.iterdir()) if path.is_file()]


def _publish_base_model(folder: Path, console: Console) -> None:
    console.print("converting Whisper tiny.en to safetensors")
    model = convert_base_model(folder / "base-model")
    console.print(f"publishing the base model as {BASE_REPO}")
    files = {path.name: path for path in model_files(model)}
    hub().create_repo(BASE_REPO, private=False)
    hub().commit(BASE_REPO, files, "Whisper tiny.en", hub().head(BASE_REPO))


def _publish_everyday(folder: Path, console: Console) -> None:
    progress = _Progress("speaking everyday sentences", console)
    _publish_corpus(EVERYDAY_REPO, make_everyday_corpus(folder, progress), console)


def _publish_drop(folder: Path, number: int, console: Console) -> None:
    progress = _Progress(f"speaking the sentences of drop {number}", console)
    _publish_corpus(DATASET_REPO, make_corpus(folder, number, progress), console)


def _publish_corpus(repo: str, parquet: Path, console: Console) -> None:
    console.print(f"publishing {repo}")
    publish_corpus(os.environ["HF_ENDPOINT"], os.environ["HF_TOKEN"], repo, parquet)


class _Progress:
    """Says how far it is and how long it will take, every few seconds."""

    def __init__(self, what: str, console: Console) -> None:
        self._what, self._console = what, console
        self._started_s, self._said_s = time.monotonic(), 0.0

    def __call__(self, done: int, total: int) -> None:
        now_s = time.monotonic()
        if now_s - self._said_s < SAY_EVERY_S and done < total:
            return
        self._said_s = now_s
        left_s = (now_s - self._started_s) * (total - done) / max(done, 1)
        self._console.print(f"{self._what}: {done} of {total}, {left_s:.0f} s left")


def _once(local_dir: Path, name: str, content: str, work: Callable[[], object]) -> None:
    stamp = local_dir / "stamps" / name
    if stamp.is_file() and stamp.read_text() == content:
        return
    work()
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(content)
