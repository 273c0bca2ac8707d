"""Rows of a flat dataclass as columns of Arrow; an object is made only when it is looked at.

Ten million rows take a few GiB so, and as objects some twenty. Knows nothing of what fields mean.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

RowT = TypeVar("RowT", bound="DataclassInstance")
OtherT = TypeVar("OtherT", bound="DataclassInstance")

# As objects in memory, and in a row group of a parquet file.
ROWS_AT_ONCE = 50_000
# A column is kept as numbers and a dictionary where a value stands in at least so many rows.
REPEATED = 4


class Rows(Sequence[RowT], Generic[RowT]):
    """Read-only rows: tables one after the other, or some of their rows in another order."""

    def __init__(
        self, kind: type[RowT], tables: Sequence[Any], order: NDArray[np.int64] | None = None
    ) -> None:
        """`tables`: with a column for each field of `kind`, each column in one chunk.

        `order`: the rows, counted through all tables; None: all as they come.
        """
        self.kind = kind
        self._tables = [table.select([f.name for f in fields(kind)]) for table in tables]
        self._ends = np.cumsum([table.num_rows for table in tables], dtype=np.int64)
        self._order = order

    @classmethod
    def of(cls, rows: Iterable[RowT], kind: type[RowT]) -> Rows[RowT]:
        """Rows of any objects; of `Rows` those themselves."""
        if isinstance(rows, Rows):
            return rows
        gathering = Gathering(kind)
        for row in rows:
            gathering.append(row)
        return gathering.rows()

    def __len__(self) -> int:
        return len(self._order) if self._order is not None else self._num_stored

    @property
    def _num_stored(self) -> int:
        return int(self._ends[-1]) if self._tables else 0

    def __iter__(self) -> Iterator[RowT]:
        for table in self.batches():
            yield from from_table(table, self.kind)

    @overload
    def __getitem__(self, index: int) -> RowT: ...

    @overload
    def __getitem__(self, index: slice) -> Rows[RowT]: ...

    def __getitem__(self, index: int | slice) -> RowT | Rows[RowT]:
        if isinstance(index, slice):
            return Rows(self.kind, self._tables, self.positions[index])
        return next(iter(self.take(np.array([range(len(self))[index]]))))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        if isinstance(other, Rows) and self.kind is other.kind:
            pairs = zip(self.batches(), other.batches(), strict=True)
            return all(one.equals(two) for one, two in pairs)
        return all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: Rows[RowT]) -> Rows[RowT]:
        """These rows and then the others; copies nothing."""
        order = np.concatenate([self.positions, other.positions + self._num_stored])
        return Rows(self.kind, [*self._tables, *other._tables], order)

    @property
    def positions(self) -> NDArray[np.int64]:
        """Where each row lies, counted through all tables."""
        return np.arange(self._num_stored) if self._order is None else self._order

    def take(self, index: NDArray[Any]) -> Rows[RowT]:
        """The rows at these places, in this order."""
        order = index if self._order is None else self._order[index]
        return Rows(self.kind, self._tables, order.astype(np.int64, copy=False))

    def where(self, mask: Any) -> Rows[RowT]:
        """The rows for which a mask is true, of numpy or of Arrow."""
        return self.take(np.flatnonzero(np.asarray(mask)))

    def sorted_by(self, *names: str) -> Rows[RowT]:
        """Rows in the order of some columns of text, None as an empty one; equal ones stay."""
        order = order_of(self.column(name) for name in names)
        return self if order is None else self.take(order)

    def with_column(self, name: str, column: Any) -> Rows[RowT]:
        """The rows with other values; `column` is of all rows of their one table."""
        table = self._tables[0]
        changed = table.set_column(table.column_names.index(name), name, column)
        return Rows(self.kind, [changed], self._order)

    def with_texts(self, name: str, codes: NDArray[np.int8], values: Sequence[str]) -> Rows[RowT]:
        """The rows of one table with a column of a few texts; `codes`: of each row, which one."""
        import pyarrow as pa

        stored = np.zeros(self._num_stored, codes.dtype)
        stored[self.positions] = codes
        column = pa.DictionaryArray.from_arrays(pa.array(stored), pa.array(values, pa.string()))
        return self.with_column(name, column)

    def seen_as(self, kind: type[OtherT], **names: str) -> Rows[OtherT]:
        """The same rows as another dataclass; `names`: its field -> the column here."""
        import pyarrow as pa

        tables = [
            pa.table({field: table.column(name) for field, name in names.items()})
            for table in self._tables
        ]
        return Rows(kind, tables, self._order)

    def batches(self, *names: str) -> Iterator[Any]:
        """Tables of at most ROWS_AT_ONCE rows, in order, as `schema_of` has them."""
        schema = schema_of(self.kind, names)
        return (table.cast(schema) for table in self.stored_batches(*names))

    def stored_batches(self, *names: str) -> Iterator[Any]:
        """The same as the columns are stored, and where they lie so without a copy."""
        schema = schema_of(self.kind, names)
        tables = [table.select(schema.names) for table in self._tables]
        for start in range(0, len(self), ROWS_AT_ONCE):
            stop = min(start + ROWS_AT_ONCE, len(self))
            if self._order is None and len(tables) == 1:
                yield tables[0].slice(start, stop - start)
            else:
                index = np.arange(start, stop) if self._order is None else self._order[start:stop]
                yield self._taken(tables, index, schema)

    def _taken(self, tables: list[Any], index: NDArray[np.int64], schema: Any) -> Any:
        """Some rows of all tables. `take` of a column in chunks would copy the column first."""
        import pyarrow as pa

        if len(tables) == 1:
            return tables[0].take(index)
        table_of = np.searchsorted(self._ends, index, side="right")
        found = []
        for number in np.unique(table_of):
            start = self._ends[number] - tables[number].num_rows
            found.append(tables[number].take(index[table_of == number] - start).cast(schema))
        by_table = np.argsort(table_of, kind="stable")
        return pa.concat_tables(found).combine_chunks().take(np.argsort(by_table))

    def column(self, name: str) -> Any:
        """A whole column, as Arrow has it, in the order of the rows."""
        import pyarrow as pa

        type_ = schema_of(self.kind, (name,)).field(0).type
        return pa.chunked_array([c for t in self.batches(name) for c in t.column(0).chunks], type_)

    def table(self) -> Any:
        """All rows as one table of whole columns, copied only where they aren't that yet."""
        if self._order is None and len(self._tables) == 1:
            return self._tables[0]
        return _compact(self.column, self.kind)


class Gathering(Generic[RowT]):
    """Takes rows one by one, and keeps them as columns."""

    def __init__(self, kind: type[RowT]) -> None:
        self._kind = kind
        self._waiting: list[RowT] = []
        self._tables: list[Any] = []

    def append(self, row: RowT) -> None:
        self._waiting.append(row)
        if len(self._waiting) == ROWS_AT_ONCE:
            self._tables.append(to_table(self._waiting, self._kind))
            self._waiting.clear()

    def rows(self) -> Rows[RowT]:
        """All that was taken; to be asked for once."""
        self._tables.append(to_table(self._waiting, self._kind))
        return _joined(self._tables, self._kind)


def schema_of(kind: type[Any], names: Sequence[str] = ()) -> Any:
    """The parquet schema of a flat dataclass of str, int, float and bool, or of some fields."""
    import pyarrow as pa

    types = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    of_field = {f.name: types[str(f.type).removesuffix(" | None")] for f in fields(kind)}
    return pa.schema([pa.field(name, of_field[name]) for name in names or of_field])


def to_parquet(rows: Iterable[RowT], kind: type[RowT]) -> bytes:
    """Rows of one dataclass as the bytes of a parquet file: the same for the same rows."""
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema_of(kind), compression="zstd") as writer:
        for table in Rows.of(rows, kind).batches():
            writer.write_table(table)
    return sink.getvalue()


def from_parquet(data: bytes | Path, kind: type[RowT]) -> Rows[RowT]:
    """Rows of one dataclass from a parquet file or its bytes."""
    file = open_parquet(data)
    return Rows(kind, [_compact(lambda name: file.read(columns=[name]).column(0), kind)])


def open_parquet(data: bytes | Path) -> Any:
    """A parquet file or its bytes; `pq.read_table` would import pandas for a third of a second."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(io.BytesIO(data) if isinstance(data, bytes) else data)


def to_table(rows: Sequence[RowT], kind: type[RowT]) -> Any:
    """An Arrow table of rows of one dataclass."""
    import pyarrow as pa

    columns = {f.name: list(map(attrgetter(f.name), rows)) for f in fields(kind)}
    return pa.table(columns, schema=schema_of(kind))


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


def texts(column: Any) -> Iterator[str | None]:
    """The values of a column of text, some at a time in memory."""
    for start in range(0, len(column), ROWS_AT_ONCE):
        yield from column.slice(start, ROWS_AT_ONCE).to_pylist()


def is_in(column: Any, values: Any) -> Any:
    """Of each text of a column whether it is one of some texts, or of those of another column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not isinstance(values, pa.ChunkedArray):
        values = pa.array(values, pa.string())
    return pc.is_in(column, value_set=values)


def order_of(columns: Iterable[Any]) -> NDArray[np.int64] | None:
    """The places of rows in the order of columns of text, None as an empty one; equal ones stay.

    None: they are in order. A column is asked for only where those before it don't decide.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = iter(columns)
    first = pc.fill_null(next(columns), "")
    if _increases(first):
        return None
    order = pc.sort_indices(first)
    if not _increases(first.take(order)):
        rest = [pc.fill_null(column, "") for column in columns]
        table = pa.table([first, *rest], [str(number) for number in range(1 + len(rest))])
        keys = [(name, "ascending") for name in table.column_names]
        order = pc.sort_indices(table, sort_keys=keys)
    return np.asarray(order).astype(np.int64)


def _increases(column: Any) -> bool:
    import pyarrow.compute as pc

    return bool(pc.all(pc.less(column[:-1], column[1:]), min_count=0).as_py())


def repeated(name: str, rows: Rows[RowT], *others: Rows[RowT]) -> NDArray[np.bool_]:
    """Of each row, whether another row, there or among others, may have the same text in a column.

    May, since hashes are compared: one in 10^12 says so of different texts.
    """
    values = (
        value
        for some in (rows, *others)
        for table in some.batches(name)
        for value in table.column(0).to_pylist()
    )
    length = sum(map(len, (rows, *others)))
    hashes = np.fromiter(map(hash, values), np.int64, length)
    order = np.argsort(hashes)
    same = np.diff(hashes[order]) == 0
    found = np.zeros(length, dtype=bool)
    found[order[1:][same]] = found[order[:-1][same]] = True
    return found[: len(rows)]


def codes_of(*columns: Any) -> tuple[list[NDArray[np.int32]], Any]:
    """Columns of text as numbers, and the values that those stand for; equal texts have one."""
    import pyarrow as pa

    chunks = [chunk for column in columns for chunk in column.chunks]
    column = pa.chunked_array(chunks, pa.string()).cast(pa.large_string())
    encoded = column.dictionary_encode(null_encoding="encode").combine_chunks()
    ends = np.cumsum([len(column) for column in columns])
    return np.split(np.asarray(encoded.indices), ends[:-1]), encoded.dictionary


def _compact(column_of: Callable[[str], Any], kind: type[Any]) -> Any:
    """A table of whole columns, taken one at a time; texts that repeat are kept once."""
    import pyarrow as pa

    columns = {}
    for f in fields(kind):
        columns[f.name] = whole(column_of(f.name))
        pa.default_memory_pool().release_unused()  # of what the column was made from
    return pa.table(columns)


def joined(parts: Iterable[Rows[RowT]], kind: type[RowT]) -> Rows[RowT]:
    """All rows of many parts, in columns of their own."""
    return _joined([table for rows in parts for table in rows.stored_batches()], kind)


def _joined(tables: list[Any], kind: type[RowT]) -> Rows[RowT]:
    """Empties the list, and frees each column once it is copied."""
    import pyarrow as pa

    schema = schema_of(kind)
    columns = {name: [table.column(name) for table in tables] for name in schema.names}
    tables.clear()

    def column_of(name: str) -> Any:
        type_ = schema.field(name).type
        parts = [part.cast(type_) for part in columns.pop(name)]
        return pa.chunked_array([chunk for part in parts for chunk in part.chunks], type_)

    return Rows(kind, [_compact(column_of, kind)])


def whole(column: Any) -> Any:
    """A column in one chunk, and as a dictionary where its first texts repeat."""
    import pyarrow as pa

    if not pa.types.is_string(column.type):
        return column.combine_chunks()
    sample = column.slice(0, ROWS_AT_ONCE)
    if len(sample) >= REPEATED * len(sample.unique()):
        return column.dictionary_encode().combine_chunks()
    # 64-bit offsets: a column in one chunk may hold more than 2 GiB of text.
    return column.cast(pa.large_string()).combine_chunks()
