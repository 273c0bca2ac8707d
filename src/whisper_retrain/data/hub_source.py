"""A dataset repo on the Hub: its parquet files at one revision.

The repo's own split names are of no interest here. A ref is resolved first and all is read by the
revision, since the Hub client may answer for a branch from a stale cache without saying so.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from whisper_retrain.config import Columns, DatasetSource
from whisper_retrain.data.plan import SHARD_ROWS, ShardJob, columns_of
from whisper_retrain.data.recordings import RawRow, text_or_none
from whisper_retrain.edges.hub_errors import translated
from whisper_retrain.errors import InputError
from whisper_retrain.records import SourceRevision, digest_of

BATCH_ROWS = 32


def resolve(source: DatasetSource) -> SourceRevision:
    """The 40-hex commit that the ref of a Hub repo names now."""
    from huggingface_hub import HfApi

    with translated(f"{source.location}@{source.ref}"):
        info = HfApi().repo_info(source.location, repo_type="dataset", revision=source.ref)
    return SourceRevision(name=source.name, location=source.location, revision=str(info.sha))


def origins(source: DatasetSource, revision: str) -> dict[str, str]:
    """Parquet file -> origin: the digest of its bytes and of the columns taken from it."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    columns = digest_of(columns_of(source))[:12]
    with translated(f"{source.location}@{revision}"):
        tree = list(
            HfApi().list_repo_tree(
                source.location, repo_type="dataset", revision=revision, recursive=True
            )
        )
    files = {
        item.path: item.lfs.sha256 if item.lfs else item.blob_id
        for item in tree
        if isinstance(item, RepoFile) and item.path.endswith(".parquet")
    }
    if not files:
        raise InputError(
            "the dataset repo holds no parquet files",
            where=f"{source.location}@{revision}",
            remedy="publish it with datasets' push_to_hub, audio embedded",
        )
    return {path: f"{digest}:{columns}" for path, digest in sorted(files.items())}


def plan_file(source: DatasetSource, revision: str, file: str, origin: str) -> list[ShardJob]:
    """Jobs of whole row groups, about SHARD_ROWS rows each; columns are checked here."""
    parquet = open_file(source, revision, file)
    check_columns(parquet.schema_arrow, columns_of(source), f"{source.location}/{file}")
    jobs: list[ShardJob] = []
    groups: list[int] = []
    rows = 0
    for group in range(parquet.num_row_groups):
        groups.append(group)
        rows += parquet.metadata.row_group(group).num_rows
        if rows >= SHARD_ROWS or group == parquet.num_row_groups - 1:
            job = ShardJob(
                source=source,
                revision=revision,
                origin=origin,
                rows=rows,
                file=file,
                row_groups=tuple(groups),
            )
            jobs.append(job)
            groups, rows = [], 0
    return [job for job in jobs if job.rows]


def check_columns(schema: Any, columns: Columns, where: str) -> None:
    """Raise InputError when a column is missing or can't be what it is said to be by its type."""

    wanted = [name for name in columns.model_dump().values() if name is not None]
    missing = [name for name in wanted if name not in schema.names]
    if missing:
        raise InputError(
            f"column missing: {', '.join(missing)}",
            where=where,
            expected=", ".join(wanted),
            got=", ".join(schema.names),
            remedy="set the columns of the source",
        )
    wrong = [
        (columns.audio, "embedded bytes", holds_audio(schema.field(columns.audio).type)),
        (columns.reference, "text", holds_text(schema.field(columns.reference).type)),
    ]
    for name, expected, fits in wrong:
        if not fits:
            raise InputError(
                f"column {name!r} has the wrong type",
                where=where,
                expected=expected,
                got=str(schema.field(name).type),
                remedy="set the columns of the source",
            )


def holds_audio(kind: Any) -> bool:
    """Whether a column of an arrow type can hold embedded recordings."""
    import pyarrow as pa

    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def holds_text(kind: Any) -> bool:
    """Whether a column of an arrow type holds text."""
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def read_rows(job: ShardJob) -> Iterator[RawRow]:
    """The rows of a job, a few at a time in memory; audio is passed on without a copy."""
    columns = columns_of(job.source)
    parquet = open_file(job.source, job.revision, job.file)
    names = list(dict.fromkeys(n for n in columns.model_dump().values() if n is not None))
    texts = [name for name in names if name != columns.audio]
    batches = (
        batch
        for group in job.row_groups  # one reader each: it holds on to all that it has read
        for batch in parquet.iter_batches(BATCH_ROWS, row_groups=[group], columns=names)
    )
    for batch in batches:
        recordings = _embedded(batch.column(columns.audio))
        for row, audio in zip(batch.select(texts).to_pylist(), recordings, strict=True):
            yield RawRow(
                id=text_or_none(row[columns.id]) if columns.id else None,
                reference=row[columns.reference],
                speaker=text_or_none(row[columns.speaker]) if columns.speaker else None,
                prompt=text_or_none(row[columns.prompt]) if columns.prompt else None,
                data=audio,
                origin=job.origin,
                failure=None if audio else "missing-audio: no embedded bytes",
            )


def _embedded(column: Any) -> Iterator[memoryview | None]:
    """The bytes of each row's recording; None where there are none."""
    import pyarrow as pa

    values = column.field("bytes") if pa.types.is_struct(column.type) else column
    for struct, value in zip(column.is_valid(), values, strict=True):
        found = struct.as_py() and value.is_valid and len(value.as_buffer())
        yield memoryview(value.as_buffer()) if found else None


def open_file(source: DatasetSource, revision: str, file: str) -> Any:
    """A parquet file of the repo at a revision, downloaded once."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from huggingface_hub import HfApi

    where = f"{source.location}/{file}@{revision}"
    with translated(where):
        path = HfApi().hf_hub_download(
            source.location, file, repo_type="dataset", revision=revision
        )
    try:
        return pq.ParquetFile(Path(path))
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            "not a whole parquet file", where=where, got=str(error), remedy="publish it again"
        ) from error
