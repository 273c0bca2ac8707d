"""A folder or an S3 prefix of recordings, named by a listing: CSV, JSON lines or parquet.

The audiofolder convention (`metadata.csv` with a column `file_name`) is one of them. A recording
is known by its path and stamp, so that unchanged ones are never read.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from whisper_retrain.config import DatasetSource
from whisper_retrain.data.plan import REFRESH_PREFIX, SHARD_ROWS, ShardJob, columns_of
from whisper_retrain.data.recordings import RawRow, Recording, text_or_none
from whisper_retrain.data.rows import Rows, from_parquet, texts, to_parquet
from whisper_retrain.data.trees import OutsideError, Tree, inside, open_tree
from whisper_retrain.edges.store import ObjectStore
from whisper_retrain.errors import InputError
from whisper_retrain.records import SourceRevision, digest_of

LISTINGS = tuple(
    f"{stem}.{ending}"
    for stem in ("metadata", "listing", "manifest")
    for ending in ("csv", "jsonl", "parquet")
)
AUDIOFOLDER_COLUMN = "file_name"


@dataclass(frozen=True, slots=True)
class ListedRow:
    """A row of a listing, with the stamp that its file had when the refresh was planned."""

    origin: str
    """Path and stamp of the file: what is read once is known by it."""
    path: str
    """Of the audio, relative to the place."""
    id: str | None
    """From the id column, if there is one."""
    reference: str | None
    """From the reference column."""
    speaker: str | None
    """None: unknown."""
    prompt: str | None
    """Topic or category."""
    failure: str | None
    """Why there is no file to read."""


def resolve(source: DatasetSource) -> SourceRevision:
    """The folder's or prefix's state now: a digest over paths and stamps."""
    stamps = open_tree(source.location).stamps()
    listing_of(source.location, stamps)
    digest = digest_of(sorted(stamps.items()))
    return SourceRevision(name=source.name, location=source.location, revision=digest)


def listing_of(location: str, stamps: dict[str, str]) -> str:
    """The name of the one listing in a place."""
    found = [name for name in LISTINGS if name in stamps]
    if len(found) != 1:
        raise InputError(
            "a source needs exactly one listing",
            where=location,
            expected=f"one of {', '.join(LISTINGS)}",
            got=", ".join(found) or "none",
            remedy="add a listing with a column of paths and one of references",
        )
    return found[0]


def plan(
    source: DatasetSource, revision: str, known: Rows[Recording], store: ObjectStore
) -> tuple[Rows[Recording], list[ShardJob]]:
    """Rows whose recording is known by path and stamp, and jobs for the others."""
    tree = open_tree(source.location)
    stamps = tree.stamps()
    _check_unmoved(source, revision, stamps)
    places = {origin: place for place, origin in enumerate(texts(known.column("origin")))}
    listed: list[ListedRow] = []
    new: list[ListedRow] = []
    for row in listed_rows(source, tree, stamps):
        (new if row.failure or row.origin not in places else listed).append(row)
    before = known.take(np.array([places[row.origin] for row in listed], dtype=np.int64))
    reused = Rows.of(map(_with_text_of, listed, before), Recording)
    jobs = [_job(source, revision, rows, store) for rows in _batched(new, SHARD_ROWS)]
    return reused, jobs


def _with_text_of(row: ListedRow, before: Recording) -> Recording:
    return replace(
        before,
        id=row.id or before.id,
        reference=row.reference,
        speaker=row.speaker,
        prompt=row.prompt,
    )


def _check_unmoved(source: DatasetSource, revision: str, stamps: dict[str, str]) -> None:
    found = digest_of(sorted(stamps.items()))
    if found != revision:
        raise InputError(
            "the source changed while it was being read",
            where=source.location,
            expected=f"state {revision[:12]}",
            got=f"state {found[:12]}",
            remedy="let uploads finish, then refresh again",
        )


def _job(
    source: DatasetSource, revision: str, rows: list[ListedRow], store: ObjectStore
) -> ShardJob:
    data = to_parquet(rows, ListedRow)
    digest = hashlib.sha256(data).hexdigest()
    listing = store.write(f"{REFRESH_PREFIX}/listings/{digest}.parquet", data)
    return ShardJob(
        source=source, revision=revision, origin=source.location, rows=len(rows), listing=listing
    )


def listed_rows(source: DatasetSource, tree: Tree, stamps: dict[str, str]) -> Iterator[ListedRow]:
    """The rows of the listing, each with its file's stamp or the reason why there is none."""
    name = listing_of(source.location, stamps)
    where = f"{source.location}/{name}"
    rows, names = parse_listing(tree.read(name), name, where)
    columns = columns_of(source)
    audio = columns.audio
    if audio not in names and AUDIOFOLDER_COLUMN in names:
        audio = AUDIOFOLDER_COLUMN
    wanted = [audio, columns.reference, columns.id, columns.speaker, columns.prompt]
    missing = [column for column in wanted if column is not None and column not in names]
    if missing:
        raise InputError(
            f"column missing: {', '.join(missing)}",
            where=where,
            expected=", ".join(c for c in wanted if c),
            got=", ".join(names),
            remedy="set the columns of the source",
        )
    for row in rows:
        path, stamp, failure = _stamp_of(row.get(audio), stamps)
        reference = row.get(columns.reference)
        yield ListedRow(
            origin=f"{path}|{stamp}",
            path=path,
            id=text_or_none(row.get(columns.id)) if columns.id else None,
            reference=reference if isinstance(reference, str) else None,
            speaker=text_or_none(row.get(columns.speaker)) if columns.speaker else None,
            prompt=text_or_none(row.get(columns.prompt)) if columns.prompt else None,
            failure=failure,
        )


def _stamp_of(value: object, stamps: dict[str, str]) -> tuple[str, str, str | None]:
    """Path, stamp and failure of a listed recording."""
    text = text_or_none(value)
    if text is None:
        return "", "", "missing-audio: no path in the listing"
    try:
        path = inside(text)
    except OutsideError as error:
        return text, "", f"outside-folder: {error}"
    if path not in stamps:
        return path, "", "missing-file: not in the folder, or a link out of it"
    return path, stamps[path], None


def parse_listing(data: bytes, name: str, where: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows and column names of a listing."""
    if name.endswith(".parquet"):
        return _parse_parquet(data, where)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            "the listing is not UTF-8",
            where=f"{where}, byte {error.start}",
            remedy="save it again as UTF-8",
        ) from error
    if name.endswith(".csv"):
        reader = csv.DictReader(io.StringIO(text, newline=""))
        rows = list(reader)
        return rows, list(reader.fieldnames or ())
    return _parse_json_lines(text, where)


def _parse_json_lines(text: str, where: str) -> tuple[list[dict[str, Any]], list[str]]:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError("no JSON", where=f"{where}, line {number}", got=str(error)) from error
        if not isinstance(row, dict):
            raise InputError("no JSON object", where=f"{where}, line {number}", got=line[:80])
        rows.append(row)
    return rows, list(dict.fromkeys(name for row in rows for name in row))


def _parse_parquet(data: bytes, where: str) -> tuple[list[dict[str, Any]], list[str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(io.BytesIO(data)).read()
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError("not a whole parquet file", where=where, got=str(error)) from error
    return table.to_pylist(), list(table.column_names)


def read_rows(job: ShardJob, listing: bytes) -> Iterator[RawRow]:
    """The rows of a job's part of a listing, each read when it is asked for."""
    tree = open_tree(job.source.location)
    stamps = tree.stamps()
    for row in from_parquet(listing, ListedRow):
        data, failure = (None, row.failure) if row.failure else _bytes_of(tree, row, stamps)
        yield RawRow(
            id=row.id,
            reference=row.reference,
            speaker=row.speaker,
            prompt=row.prompt,
            data=data,
            origin=row.origin,
            failure=failure,
        )


def _bytes_of(
    tree: Tree, row: ListedRow, stamps: dict[str, str]
) -> tuple[bytes | None, str | None]:
    if row.path in stamps and row.origin != f"{row.path}|{stamps[row.path]}":
        return None, "changed-file: not the file that the refresh began with"
    try:
        return tree.read(row.path), None
    except FileNotFoundError:
        return None, "missing-file: gone since the refresh began"
    except OutsideError as error:
        return None, f"outside-folder: {error}"


def read_bytes(location: str) -> bytes:
    """Bytes of a file at a path or an s3:// URI."""
    folder, _, name = location.rpartition("/")
    try:
        if location.startswith("s3://"):
            return open_tree(folder).read(name)
        return Path(location).read_bytes()
    except FileNotFoundError as error:
        raise InputError("no such file", where=location) from error


def _batched(rows: list[ListedRow], size: int) -> Iterator[list[ListedRow]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
