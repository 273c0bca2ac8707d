"""Training, evaluation and report share one local cache, under one cap."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks import services
from tests.fixtures.training import job_of, store_dataset, write_tiny_model
from whisper_retrain.data.manifest import load_manifest
from whisper_retrain.edges.store import S3Store
from whisper_retrain.settings import load_settings
from whisper_retrain.training.__main__ import _open_speech


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The cache that the environment names, as small as it may be."""
    monkeypatch.setenv("WHISPER_RETRAIN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("WHISPER_RETRAIN_CACHE_MAX_BYTES", str(2**20))
    services.settings.cache_clear()
    yield tmp_path / "cache"
    services.settings.cache_clear()


def test_a_manifest_and_a_shard_are_fetched_once_to_one_place(
    cache: Path, task_store: S3Store, tmp_path: Path
) -> None:
    job = job_of(task_store, tmp_path / "work", write_tiny_model(tmp_path / "base"))
    dataset, settings = job.dataset, load_settings()
    speech = _open_speech(task_store, job, settings.cache_dir, settings.cache_max_bytes)
    speech.audio(speech.train[0])
    before = sorted(path for path in cache.rglob("*") if path.is_file())
    assert [path.relative_to(cache).parts[0] for path in before] == [
        "manifests",
        "shards",
        "shards",
    ]
    manifest = load_manifest(task_store, dataset, services.cache_dir())
    held_out = next(one for one in manifest if one.split == "test")
    assert services.recordings(dataset).flac(held_out.id).startswith(b"fLaC")
    services.audio_shards().audio(held_out)
    assert sorted(path for path in cache.rglob("*") if path.is_file()) == before


def test_whoever_reads_recordings_keeps_to_the_cap_of_the_settings(
    cache: Path, task_store: S3Store, tmp_path: Path
) -> None:
    """A smaller cap of one's own evicts what the others need."""
    dataset = store_dataset(task_store, tmp_path / "work")
    for shards in (services.audio_shards(), services.recordings(dataset)._shards):
        assert shards._max_bytes == load_settings().cache_max_bytes == 2**20
