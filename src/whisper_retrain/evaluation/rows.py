"""The per-utterance row of an evaluation, and its parquet form.

A row holds what was said, what was written, the counts and the slice columns: enough to score
again, decide again and slice differently for ever, without the model or the audio.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whisper_retrain.evaluation.long_form import DictatedText
from whisper_retrain.evaluation.tiers import TIERS
from whisper_retrain.records import Counts, EvaluationReport, digest_of

NONE = Counts()
PARTS = tuple(Counts.model_fields)
COUNTED = ("raw", "words", "characters", "medical")
"""The counts of a row; a parquet column `words_hits` holds `row.words.hits`."""
PLAIN = {
    "id": "string",
    "reference": "string",
    "hypothesis": "string",
    "duration_s": "double",
    "speaker": "string",
    "prompt": "string",
    "phrase": "string",
    "sampling_rate_hz": "int64",
    "snr_db": "double",
    "tokens": "int64",
    "runaway": "bool",
}
"""The columns that are no counts, and their types in parquet."""


@dataclass(frozen=True)
class Row:
    """One utterance as one model transcribed it."""

    id: str
    """Of the utterance."""
    reference: str
    """As it was written."""
    hypothesis: str
    """As the model wrote it."""
    duration_s: float
    """Of the audio."""
    speaker: str | None
    """None: unknown."""
    prompt: str | None
    """Topic or category."""
    phrase: str | None
    """The reference without case and punctuation."""
    sampling_rate_hz: int | None
    """Of the recording as it came."""
    snr_db: float | None
    """Estimated signal-to-noise ratio; None where it is not known."""
    tokens: int
    """Ids written, without the end."""
    runaway: bool
    """Whether the bound on tokens stopped the model."""
    raw: Counts
    """Words as written."""
    words: Counts
    """Normalised words."""
    characters: Counts
    """Characters of the normalised texts."""
    medical: Counts
    """Medical terms."""
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
    """Of one model on one test set."""
    rows: tuple[Row, ...]
    """An utterance each."""
    dictated: tuple[DictatedText, ...] = ()
    """What was written for long audio."""


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
    flat = {name: value for name, value in vars(row).items() if name in PLAIN}
    for name in (*COUNTED, *TIERS):
        counts = row.counts(name)
        flat |= {f"{name}_{part}": getattr(counts, part) for part in PARTS}
    return flat


def _row(values: dict[str, Any]) -> Row:
    plain = {name: values[name] for name in PLAIN}
    counts = {
        name: Counts(**{part: values[f"{name}_{part}"] for part in PARTS})
        for name in (*COUNTED, *TIERS)
    }
    tiers = {name: counts.pop(name) for name in TIERS}
    plain |= counts
    return Row(**plain, tiers={name: found for name, found in tiers.items() if found != NONE})


def _schema() -> Any:
    import pyarrow as pa

    plain = [(name, pa.type_for_alias(kind)) for name, kind in PLAIN.items()]
    counted = [(f"{name}_{part}", pa.int64()) for name in (*COUNTED, *TIERS) for part in PARTS]
    return pa.schema(plain + counted)
