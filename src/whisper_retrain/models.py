"""A model's files on this machine, fetched once: from the Hub by revision, or from S3.

Knows nothing of what a model does. A folder appears whole or not at all.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from whisper_retrain.edges.hub import Hub
from whisper_retrain.edges.store import ObjectStore
from whisper_retrain.model_files import MODEL_FILES, download_checkpoint, model_digest
from whisper_retrain.records import Checkpoint, ModelRef


def fetch_revision(hub: Hub, repo: str, revision: str, cache_dir: Path) -> Path:
    """The model files of a Hub revision (40 hex digits, never a moving ref)."""
    return _once(
        cache_dir / repo.replace("/", "--") / revision,
        lambda target: hub.download(repo, revision, target, MODEL_FILES),
    )


def fetch_checkpoint(store: ObjectStore, checkpoint: Checkpoint, cache_dir: Path) -> Path:
    """The files of a checkpoint in S3."""
    return _once(
        cache_dir / "checkpoints" / checkpoint.model_digest,
        lambda target: download_checkpoint(store, checkpoint, target),
    )


def describe(hub: Hub, name: str, repo: str, revision: str, cache_dir: Path) -> ModelRef:
    """The reference of a Hub model, with the digest of its files."""
    folder = fetch_revision(hub, repo, revision, cache_dir)
    return ModelRef(name=name, repo=repo, revision=revision, model_digest=model_digest(folder))


def _once(target: Path, fill: Callable[[Path], object]) -> Path:
    if target.is_dir():
        return target
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        fill(partial)
        try:
            partial.rename(target)
        except OSError:
            if not target.is_dir():  # another process was quicker
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target
