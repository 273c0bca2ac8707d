"""The per-utterance row of an evaluation, and its parquet form.

A row holds what was said, what was written, the counts and the slice columns: enough to score
again, decide again and slice differently for ever, without the model or the audio.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from whisper_retrain.evaluation.tiers import TIERS
from whisper_retrain.records import Counts, EvaluationReport, digest_of

NONE = Counts()
PARTS = tuple(Counts.model_fields)
COUNTED = ("raw", "words", "characters", "medical")
"""The counts of a row; a parquet column `words_hits` holds `row.words.hits`."""


@dataclass(frozen=True)
class Row:
    """One utterance as one model transcribed it."""

    id: str
    reference: str
    hypothesis: str
    duration_s: float
    speaker: str | None
    prompt: str | None
    phrase: str | None
    sampling_rate_hz: int | None
    snr_db: float | None
    tokens: int
    runaway: bool
    raw: Counts
    words: Counts
    characters: Counts
    medical: Counts
    tiers: Mapping[str, Counts]
    """Counts by tier; a tier that neither reference nor hypothesis mentions is left out."""

    def counts(self, measure: str) -> Counts:
        """The counts of a measure: words, raw, characters, medical or a tier."""
        if measure in COUNTED:
            return getattr(self, measure)
        return self.tiers.get(measure, NONE)


@dataclass(frozen=True)
class Evaluation:
    """A report with its rows: what the gate decides on."""

    report: EvaluationReport
    rows: tuple[Row, ...]


def rows_digest(rows: Iterable[Row]) -> str:
    """sha256 over the content of all rows, in the order of their ids."""
    return digest_of([_flat(row) for row in sorted(rows, key=lambda row: row.id)])


def rows_to_parquet(rows: Sequence[Row]) -> bytes:
    """Parquet bytes, one line a row, counts as columns of their own."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    table = pa.Table.from_pylist([_flat(row) for row in rows], schema=_schema())
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def rows_from_parquet(data: bytes) -> list[Row]:
    """The rows again, equal to those written."""
    import pyarrow.parquet as pq

    return [_row(values) for values in pq.read_table(io.BytesIO(data)).to_pylist()]


def _flat(row: Row) -> dict[str, Any]:
    flat = {name: value for name, value in vars(row).items() if name in _plain()}
    for name in (*COUNTED, *TIERS):
        counts = row.counts(name)
        flat |= {f"{name}_{part}": getattr(counts, part) for part in PARTS}
    return flat


def _row(values: dict[str, Any]) -> Row:
    plain = {name: values[name] for name in _plain()}
    counts = {
        name: Counts(**{part: values[f"{name}_{part}"] for part in PARTS})
        for name in (*COUNTED, *TIERS)
    }
    tiers = {name: counts.pop(name) for name in TIERS}
    plain |= counts
    return Row(**plain, tiers={name: found for name, found in tiers.items() if found != NONE})


@cache
def _plain() -> dict[str, str]:
    """Name -> type of the columns that are no counts."""
    return {f.name: str(f.type) for f in fields(Row) if f.name not in (*COUNTED, "tiers")}


def _schema() -> Any:
    import pyarrow as pa

    types = {
        "str": pa.string(),
        "float": pa.float64(),
        "int": pa.int64(),
        "bool": pa.bool_(),
    }
    plain = [(name, types[kind.removesuffix(" | None")]) for name, kind in _plain().items()]
    counted = [(f"{name}_{part}", pa.int64()) for name in (*COUNTED, *TIERS) for part in PARTS]
    return pa.schema(plain + counted)
