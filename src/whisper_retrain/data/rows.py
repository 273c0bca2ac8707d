"""Rows of flat dataclasses as parquet tables."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

RowT = TypeVar("RowT", bound="DataclassInstance")


def schema_of(kind: type[Any]) -> Any:
    """The parquet schema of a flat dataclass of str, int, float and bool."""
    import pyarrow as pa

    types = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    return pa.schema(
        [pa.field(f.name, types[str(f.type).removesuffix(" | None")]) for f in fields(kind)]
    )


def to_parquet(rows: Iterable[Any], kind: type[Any]) -> bytes:
    """Rows of one dataclass as the bytes of a parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = list(rows)
    columns = {f.name: list(map(attrgetter(f.name), rows)) for f in fields(kind)}
    sink = io.BytesIO()
    pq.write_table(pa.table(columns, schema=schema_of(kind)), sink, compression="zstd")
    return sink.getvalue()


def from_parquet(data: bytes | Path, kind: type[RowT]) -> list[RowT]:
    """Rows of one dataclass from a parquet file or its bytes."""
    return from_table(open_parquet(data).read(), kind)


def open_parquet(data: bytes | Path) -> Any:
    """A parquet file or its bytes; `pq.read_table` would import pandas for a third of a second."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(io.BytesIO(data) if isinstance(data, bytes) else data)


def from_table(table: Any, kind: type[RowT]) -> list[RowT]:
    """Rows of one dataclass from an Arrow table."""
    names = [f.name for f in fields(kind)]
    return list(map(kind, *(_values(table.column(name)) for name in names)))


def _values(column: Any) -> list[Any]:
    """A column as Python values; equal texts are one object, or a shard's digest lies in memory
    as often as the shard has rows.
    """
    import pyarrow as pa

    if not pa.types.is_string(column.type):
        return list(column.to_pylist())
    encoded = column.combine_chunks().dictionary_encode()
    texts = [*encoded.dictionary.to_pylist(), None]
    return [texts[-1 if index is None else index] for index in encoded.indices.to_pylist()]
