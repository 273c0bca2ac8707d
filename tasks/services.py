"""The real services behind the tasks, made from the environment where they are used.

Clients are never task arguments: they can't be cached, and they hold secrets.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from whisper_retrain.edges.hub import HubClient
from whisper_retrain.edges.store import S3Store
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


def cache_dir(name: str) -> Path:
    """A folder of the local cache."""
    path = settings().cache_dir.absolute() / name
    path.mkdir(parents=True, exist_ok=True)
    return path
