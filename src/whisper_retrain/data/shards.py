"""Shards: parquet files of 16 kHz FLAC, named by their own digest; written once, read at random.

A shard is what `datasets.load_dataset` reads too. For training, a shard is laid out once in a
local cache as one file of FLAC streams and one of offsets, so that any utterance is one read.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from whisper_retrain.data.decoding import from_flac
from whisper_retrain.edges.store import ObjectStore, sha256_of
from whisper_retrain.errors import IntegrityError, StorageFullError
from whisper_retrain.records import Artifact
from whisper_retrain.whisper_constants import SAMPLING_RATE_HZ

SHARDS_PREFIX = "shards/v1"
ROW_GROUP_ROWS = 50
# Shards kept open by one process: each holds a mapped file, whose room an eviction can't free.
MAX_OPEN = 256
LOAD_ATTEMPTS = 5
TEXT_COLUMNS = ("id", "reference", "speaker", "prompt", "audio_sha256")


Laid = tuple[NDArray[np.uint8], NDArray[np.int64]]


class AudioAt(Protocol):
    """Where the audio of an utterance is: a shard's digest and a row."""

    @property
    def shard(self) -> str: ...
    @property
    def row(self) -> int: ...
    @property
    def num_samples(self) -> int: ...


def shard_key(sha256: str) -> str:
    """Key of a shard in the store."""
    return f"{SHARDS_PREFIX}/{sha256}.parquet"


def shard_schema() -> Any:
    """Parquet schema with the features that `datasets` and the Hub's viewer read."""
    import pyarrow as pa

    features: dict[str, dict[str, object]] = {
        name: {"dtype": "string", "_type": "Value"} for name in TEXT_COLUMNS
    }
    features["audio"] = {"sampling_rate": SAMPLING_RATE_HZ, "_type": "Audio"}
    audio = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = [*((name, pa.string()) for name in TEXT_COLUMNS), ("audio", audio)]
    return pa.schema(
        columns, metadata={"huggingface": json.dumps({"info": {"features": features}})}
    )


class ShardWriter:
    """Writes one shard row group by row group; memory holds one row group at most."""

    def __init__(self, folder: Path) -> None:
        import pyarrow.parquet as pq

        self.path = folder / "shard.parquet"
        self.rows = 0
        self._pending: list[dict[str, Any]] = []
        self._schema = shard_schema()
        # FLAC can't be compressed further.
        self._file = pq.ParquetWriter(self.path, self._schema, compression="none")

    def add(self, flac: bytes, **text: str | None) -> int:
        """Append a row; returns its number."""
        self._pending.append({**text, "audio": {"bytes": flac, "path": f"{text['id']}.flac"}})
        if len(self._pending) >= ROW_GROUP_ROWS:
            self._flush()
        self.rows += 1
        return self.rows - 1

    def _flush(self) -> None:
        import pyarrow as pa

        if self._pending:
            self._file.write_table(pa.Table.from_pylist(self._pending, schema=self._schema))
            self._pending.clear()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._flush()
        self._file.close()

    def store(self, store: ObjectStore) -> Artifact | None:
        """Upload the closed shard under its own digest; None when it has no rows."""
        if self.rows == 0:
            return None
        return store.upload(
            shard_key(sha256_of(self.path)), self.path, "application/vnd.apache.parquet"
        )


class AudioShards:
    """Random access to the audio of utterances, through a local cache with a size cap.

    Safe in forked and in pickled workers: they share nothing but files, and a file that another
    process evicts stays readable to whoever has it open.
    """

    def __init__(self, store: ObjectStore, cache_dir: Path, max_bytes: int) -> None:
        self._store, self._dir, self._max_bytes = store, cache_dir / "shards", max_bytes
        self._open: OrderedDict[str, Laid] = OrderedDict()

    def audio(self, utterance: AudioAt) -> NDArray[np.float32]:
        """Samples of an utterance: float32, shape (num_samples,), 16 kHz mono in [-1, 1)."""
        data, offsets = self._open.get(utterance.shard) or self._load(utterance.shard)
        start, end = offsets[utterance.row], offsets[utterance.row + 1]
        samples = from_flac(data[start:end].tobytes())
        if len(samples) != utterance.num_samples:
            raise IntegrityError(
                "audio is not what the manifest says",
                where=f"{shard_key(utterance.shard)} row {utterance.row}",
                expected=f"{utterance.num_samples} samples",
                got=f"{len(samples)}",
                remedy="delete the local cache",
            )
        return samples

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": OrderedDict()}

    def _load(self, shard: str) -> Laid:
        data, offsets = self._dir / f"{shard}.flac", self._dir / f"{shard}.npy"
        for _ in range(LOAD_ATTEMPTS):
            try:
                opened = (np.memmap(data, dtype=np.uint8, mode="r"), np.load(offsets))
                os.utime(offsets)
            except FileNotFoundError:
                # Not there yet, or evicted by another process a moment ago.
                self._lay_out(shard, data, offsets)
                self._evict(keep=shard)
                continue
            self._open[shard] = opened
            if len(self._open) > MAX_OPEN:
                self._open.popitem(last=False)
            return opened
        raise StorageFullError(
            "the cache of shards is too small for those who share it",
            where=str(self._dir),
            expected="room for the shards in use",
            got=f"{self._max_bytes} bytes",
            remedy="set WHISPER_RETRAIN_CACHE_MAX_BYTES higher",
        )

    def _lay_out(self, shard: str, data: Path, offsets: Path) -> None:
        """Download a shard, verify it, and write its two files; offsets last."""
        self._dir.mkdir(parents=True, exist_ok=True)
        key = shard_key(shard)
        with (
            room_needed(self._dir),
            tempfile.TemporaryDirectory(dir=self._dir, prefix=".part-") as folder,
        ):
            source = Path(folder) / "shard.parquet"
            artifact = Artifact(uri=self._store.uri(key), sha256=shard, size_bytes=0)
            self._store.download(artifact, source)
            ends = [0]
            with (Path(folder) / "flac").open("wb") as file:
                for flac in _flac_of(source):
                    file.write(flac)
                    ends.append(ends[-1] + len(flac))
            np.save(Path(folder) / "offsets.npy", np.asarray(ends, dtype=np.int64))
            (Path(folder) / "flac").replace(data)
            (Path(folder) / "offsets.npy").replace(offsets)

    def _evict(self, keep: str) -> None:
        """Remove the shards used longest ago until the cache is within its cap."""
        found = sorted(self._dir.glob("*.npy"), key=_used_at)
        sizes = {path: _size(path) + _size(path.with_suffix(".flac")) for path in found}
        excess = sum(sizes.values()) - self._max_bytes
        for path in found:
            if excess <= 0:
                return
            if path.stem != keep:
                excess -= sizes[path]
                path.unlink(missing_ok=True)
                path.with_suffix(".flac").unlink(missing_ok=True)
                self._open.pop(path.stem, None)


def _flac_of(path: Path) -> Iterator[bytes]:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(path).iter_batches(ROW_GROUP_ROWS, columns=["audio.bytes"]):
        for value in batch.column(0).field(0):
            yield value.as_py()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _used_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


@contextmanager
def shard_writer() -> Iterator[ShardWriter]:
    """A shard in a temporary folder; close it with `with writer:` and then `store` it."""
    with (
        tempfile.TemporaryDirectory(prefix="whisper-retrain-shard-") as folder,
        room_needed(Path(folder)),
    ):
        yield ShardWriter(Path(folder))


@contextmanager
def room_needed(folder: Path) -> Iterator[None]:
    """Turn "no space left" into an error that says where."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise StorageFullError(
            "no room left on this machine",
            where=str(folder),
            got=str(error),
            remedy="free some, or set TMPDIR and WHISPER_RETRAIN_CACHE_DIR to a larger disk",
        ) from error
