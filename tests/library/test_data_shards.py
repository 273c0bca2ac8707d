"""Shards: read at random through a cache with a cap, by many processes, and by `datasets`."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from tests.fixtures.recordings import encoded, tone
from tests.fixtures.s3 import S3Server
from whisper_retrain.data.decoding import decode, to_flac
from whisper_retrain.data.shards import (
    AudioShards,
    ShardWriter,
    room_needed,
    shard_key,
    shard_writer,
)
from whisper_retrain.edges.store import S3Store
from whisper_retrain.errors import IntegrityError, PermanentError, StorageFullError


@dataclass(frozen=True)
class At:
    shard: str
    row: int
    num_samples: int = 16_000


def samples(number: int) -> NDArray[np.int16]:
    return decode(encoded(tone(number))).samples


def write_shard(store: S3Store, numbers: range) -> str:
    with shard_writer() as writer:
        with writer:
            for number in numbers:
                writer.add(to_flac(samples(number)), id=f"u{number}", reference="I feel ill.",
                           speaker="s", prompt="p", audio_sha256="0")  # fmt: skip
        artifact = writer.store(store)
    assert artifact is not None
    return artifact.sha256


def same(heard: NDArray[np.float32], number: int) -> bool:
    return np.array_equal(np.rint(heard * 32_768).astype(np.int16), samples(number))


def cache_bytes(cache: Path) -> int:
    return sum(p.stat().st_size for p in (cache / "shards").glob("*.*"))


def test_any_utterance_of_any_shard_is_read(s3_store: S3Store, tmp_path: Path) -> None:
    shards = {write_shard(s3_store, range(n, n + 60)): n for n in (0, 100)}
    audio = AudioShards(s3_store, tmp_path, 2**30)
    for shard, first in shards.items():
        for row in (59, 0, 31):
            heard = audio.audio(At(shard, row))
            assert heard.dtype == np.float32
            assert same(heard, first + row)


def test_equal_rows_make_one_shard(s3_store: S3Store) -> None:
    assert write_shard(s3_store, range(5)) == write_shard(s3_store, range(5))
    assert len(list(s3_store.keys("shards/"))) == 1


def test_the_cache_keeps_to_its_cap_and_drops_what_was_used_longest_ago(
    s3_store: S3Store, tmp_path: Path
) -> None:
    shards = [write_shard(s3_store, range(n, n + 4)) for n in (0, 10, 20)]
    AudioShards(s3_store, tmp_path / "one", 2**30).audio(At(shards[0], 0))
    one_shard = cache_bytes(tmp_path / "one")
    cap = int(one_shard * 2.5)
    audio = AudioShards(s3_store, tmp_path / "two", cap)
    for position, shard in enumerate(shards):
        audio.audio(At(shard, 0))
        used = tmp_path / "two" / "shards" / f"{shard}.npy"
        os.utime(used, (1_000 + position, 1_000 + position))
    assert cache_bytes(tmp_path / "two") <= cap
    left = {p.stem for p in (tmp_path / "two" / "shards").glob("*.npy")}
    assert left == set(shards[1:])
    assert same(audio.audio(At(shards[0], 3)), 3)


def test_a_cap_below_one_shard_still_reads(s3_store: S3Store, tmp_path: Path) -> None:
    shards = [write_shard(s3_store, range(n, n + 4)) for n in (0, 10)]
    audio = AudioShards(s3_store, tmp_path, 1)
    for _ in range(2):
        assert same(audio.audio(At(shards[0], 1)), 1)
        assert same(audio.audio(At(shards[1], 2)), 12)


def read_all(audio: AudioShards, shards: list[str], results: multiprocessing.Queue[bool]) -> None:
    rows = [(i, At(shard, row)) for i, shard in enumerate(shards) for row in range(4)]
    results.put(all(same(audio.audio(at), 10 * i + at.row) for i, at in rows))


@pytest.mark.parametrize(("method", "cap"), [("fork", 2**30), ("fork", 1), ("spawn", 1)])
def test_workers_share_the_cache(
    s3_environment: S3Server, s3_store: S3Store, tmp_path: Path, method: str, cap: int
) -> None:
    """Forked ones inherit an open shard and a used S3 client; spawned ones get it pickled."""
    shards = [write_shard(s3_store, range(n, n + 4)) for n in (0, 10, 20)]
    audio = AudioShards(S3Store(s3_store.location), tmp_path, cap)
    audio.audio(At(shards[0], 0))
    context = multiprocessing.get_context(method)
    results = context.Queue()
    workers = [context.Process(target=read_all, args=(audio, shards, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    assert [results.get(timeout=60) for _ in workers] == [True] * 3
    for worker in workers:
        worker.join(10)


def test_a_shard_that_was_tampered_with_is_refused(s3_store: S3Store, tmp_path: Path) -> None:
    shard, other = write_shard(s3_store, range(4)), write_shard(s3_store, range(10, 14))
    s3_store.write(shard_key(shard), s3_store.read(shard_key(other)))
    with pytest.raises(IntegrityError, match="not what the record says"):
        AudioShards(s3_store, tmp_path, 2**30).audio(At(shard, 0))
    assert list((tmp_path / "shards").iterdir()) == []


def test_a_row_that_is_not_what_the_manifest_says_is_refused(
    s3_store: S3Store, tmp_path: Path
) -> None:
    shard = write_shard(s3_store, range(4))
    with pytest.raises(IntegrityError, match="expected 15999 samples"):
        AudioShards(s3_store, tmp_path, 2**30).audio(At(shard, 0, 15_999))


def test_a_shard_that_is_gone_is_named(s3_store: S3Store, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="0" * 64):
        AudioShards(s3_store, tmp_path, 2**30).audio(At("0" * 64, 0))


def test_a_shard_can_be_pickled_with_its_store(
    s3_environment: S3Server, s3_store: S3Store, tmp_path: Path
) -> None:
    shard = write_shard(s3_store, range(2))
    audio = AudioShards(S3Store(s3_store.location), tmp_path, 2**30)
    audio.audio(At(shard, 0))
    assert same(pickle.loads(pickle.dumps(audio)).audio(At(shard, 1)), 1)


def test_row_groups_are_small_enough_to_stream(s3_store: S3Store, tmp_path: Path) -> None:
    shard = write_shard(s3_store, range(120))
    path = tmp_path / "shard.parquet"
    path.write_bytes(s3_store.read(shard_key(shard)))
    groups = pq.ParquetFile(path).metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [50, 50, 20]


def fill(folder: Path) -> None:
    with room_needed(folder), ShardWriter(folder) as writer:
        for number in range(60):
            writer.add(to_flac(samples(number)), id=f"u{number}")


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    (tmp_path / "shard.parquet").symlink_to("/dev/full")
    with pytest.raises(StorageFullError, match=f"no room left on this machine; at {tmp_path}"):
        fill(tmp_path)


@pytest.mark.slow
def test_people_read_shards_with_datasets_straight_from_s3(
    s3_environment: S3Server, s3_store: S3Store, tmp_path: Path
) -> None:
    import datasets

    shard = write_shard(s3_store, range(3))
    loaded = datasets.load_dataset(
        "parquet",
        data_files=s3_store.uri(shard_key(shard)),
        split="train",
        cache_dir=str(tmp_path),
        storage_options={"endpoint_url": s3_environment.endpoint},
    )
    assert loaded.features["audio"] == datasets.Audio(sampling_rate=16_000)
    # `datasets` needs torchcodec to decode; the bytes are plain FLAC.
    rows = loaded.cast_column("audio", datasets.Audio(decode=False))
    assert rows[2]["id"] == "u2"
    assert np.array_equal(decode(rows[2]["audio"]["bytes"]).samples, samples(2))
