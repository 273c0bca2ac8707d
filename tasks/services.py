"""The real services behind the tasks, made from the environment where they are used.

Clients are never task arguments: they can't be cached, and they hold secrets.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from whisper_retrain.data.manifest import load_manifest
from whisper_retrain.data.shards import AudioShards
from whisper_retrain.edges.hub import HubClient
from whisper_retrain.edges.store import S3Store
from whisper_retrain.records import DatasetRevision
from whisper_retrain.release.evidence import ReleaseJob, report_key
from whisper_retrain.release.recordings import HeldOutRecordings
from whisper_retrain.settings import Settings, load_settings


@cache
def settings() -> Settings:
    """The settings of this process."""
    return load_settings()


@cache
def store() -> S3Store:
    """The artifact store."""
    return S3Store(settings().store)


@cache
def hub() -> HubClient:
    """The Hub."""
    return HubClient()


def report_address(job: ReleaseJob) -> str:
    """Where a person reads the report: in the web application, else in S3."""
    app_url = settings().app_url
    if app_url:
        return f"{app_url}/decisions/{job.evidence.decision.digest}"
    return store().uri(report_key(job))


def cache_dir(name: str = "") -> Path:
    """The local cache that training shares, or a folder of it."""
    path = settings().cache_dir.absolute() / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def audio_shards() -> AudioShards:
    """The audio of utterances, through the one cache and under its one cap."""
    return AudioShards(store(), cache_dir(), settings().cache_max_bytes)


def recordings(dataset: DatasetRevision) -> HeldOutRecordings:
    """The recordings of a test set, through the same cache."""
    return HeldOutRecordings(load_manifest(store(), dataset, cache_dir()), audio_shards())
