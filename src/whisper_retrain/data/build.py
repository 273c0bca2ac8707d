"""One job of a refresh: read its recordings, decode what is new, store a shard and a table.

The record is written last; a job that was cut off leaves nothing that a rerun would trust.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from whisper_retrain.data import hub_source, listing_source
from whisper_retrain.data.decoding import LONGEST_KEPT_S, DecodingError, decode, to_flac
from whisper_retrain.data.plan import ShardJob, ShardRecord
from whisper_retrain.data.recordings import KnownAudio, RawRow, Recording
from whisper_retrain.data.rows import to_parquet
from whisper_retrain.data.shards import ShardWriter, shard_writer
from whisper_retrain.edges.store import ObjectStore, read_record, write_record
from whisper_retrain.records import Artifact

log = logging.getLogger("whisper_retrain.data")
Progress = Callable[[str], None]

THREADS = min(4, os.cpu_count() or 1)
# Rows in memory between reading and writing.
ROWS_AHEAD = 32
PARQUET = "application/vnd.apache.parquet"


def build_shard(job: ShardJob, store: ObjectStore, progress: Progress | None = None) -> ShardRecord:
    """Decode the new recordings of a job; returns the record, at once if it is there already."""
    done = read_record(store, job.record_key, ShardRecord)
    if done is not None:
        return done
    known = KnownAudio(store.read(store.key(job.known.uri)) if job.known else None)
    rows: list[Recording] = []
    with shard_writer() as writer:
        with writer:
            for recording, flac in _measured(_read(job, store), job.source.name, known):
                rows.append(_keep(recording, flac, writer))
                if progress and len(rows) % 100 == 0:
                    progress(f"{job.source.name}: {len(rows)} of {job.rows} recordings")
        shard = writer.store(store)
    _give_memory_back()
    record = _record(job, rows, shard, store)
    write_record(store, job.record_key, record)
    log.info("%s: %d recordings, %d decoded", job.source.name, record.seen, record.decoded)
    return record


def _give_memory_back() -> None:
    """Arrow's pool keeps what row groups needed; over many jobs that would add up."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


def _read(job: ShardJob, store: ObjectStore) -> Iterator[RawRow]:
    if job.listing is not None:
        return listing_source.read_rows(job, store.read(store.key(job.listing.uri)))
    return hub_source.read_rows(job)


def _measured(
    raw: Iterable[RawRow], source: str, known: KnownAudio
) -> Iterator[tuple[Recording, bytes | None]]:
    """Recordings in order, decoded by a few threads while the next ones are read."""
    with ThreadPoolExecutor(THREADS) as pool:
        ahead: deque[Future[tuple[Recording, bytes | None]]] = deque()
        for row in raw:
            ahead.append(pool.submit(measure, row, source, known))
            if len(ahead) >= ROWS_AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def measure(raw: RawRow, source: str, known: KnownAudio) -> tuple[Recording, bytes | None]:
    """A row's recording and, where it was decoded now, its audio as FLAC."""
    encoded = hashlib.sha256(raw.data).hexdigest() if raw.data else None
    recording = Recording(
        source=source,
        id=raw.id or (f"sha256-{encoded[:16]}" if encoded else f"row-{raw.origin}"),
        origin=raw.origin,
        reference=raw.reference if isinstance(raw.reference, str) else None,
        speaker=raw.speaker,
        prompt=raw.prompt,
        encoded_sha256=encoded,
        failure=raw.failure,
    )
    if raw.data is None or encoded is None:
        return recording, None
    before = known.get(encoded)
    if before is not None:
        return _as_known(recording, before), None
    try:
        audio = decode(raw.data)
    except DecodingError as error:
        return replace(recording, failure=str(error)), None
    measured = replace(
        recording,
        audio_sha256=audio.sha256,
        sampling_rate_hz=audio.sampling_rate_hz,
        num_samples=len(audio.samples),
        duration_s=audio.duration_s,
        level_dbfs=audio.level_dbfs,
        clipped_share=audio.clipped_share,
    )
    return measured, to_flac(audio.samples) if audio.duration_s <= LONGEST_KEPT_S else None


def _as_known(recording: Recording, known: Recording) -> Recording:
    return replace(
        known,
        source=recording.source,
        id=recording.id,
        origin=recording.origin,
        reference=recording.reference,
        speaker=recording.speaker,
        prompt=recording.prompt,
    )


def _keep(recording: Recording, flac: bytes | None, writer: ShardWriter) -> Recording:
    if flac is None:
        return recording
    row = writer.add(
        flac,
        id=recording.key,
        reference=recording.reference,
        speaker=recording.speaker,
        prompt=recording.prompt,
        audio_sha256=recording.audio_sha256,
    )
    return replace(recording, row=row)


def _record(
    job: ShardJob, rows: list[Recording], shard: Artifact | None, store: ObjectStore
) -> ShardRecord:
    """Store the table of rows, which now knows the shard's digest."""
    if shard is not None:
        rows = [
            replace(r, shard=shard.sha256) if r.row >= 0 and r.shard is None else r for r in rows
        ]
    data = to_parquet(rows, Recording)
    decoded = [r for r in rows if shard is not None and r.shard == shard.sha256]
    key = f"{job.prefix}/rows-{hashlib.sha256(data).hexdigest()[:16]}.parquet"
    return ShardRecord(
        key=job.prefix,
        rows=store.write(key, data, PARQUET),
        shard=shard,
        seen=len(rows),
        decoded=len(decoded),
        failed=sum(r.failure is not None for r in rows),
        audio_s=round(sum(r.duration_s for r in decoded), 3),
    )
