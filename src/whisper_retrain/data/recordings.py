"""One row of a source: who said what, where its audio is kept, and how that audio measures.

Rows pass between the steps of the refresh as parquet tables. Knows nothing of splits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

from whisper_retrain.data.rows import Rows, from_table, open_parquet, order_of


@dataclass(frozen=True, slots=True)
class Recording:
    """A row as a source gave it, and its audio as it was measured.

    A row of a known origin is never read again.
    """

    source: str
    """Name of the source."""
    id: str
    """In the source."""
    origin: str
    """The immutable piece of the source that it was read from."""
    reference: str | None = None
    """As the source has it; None: no text."""
    speaker: str | None = None
    """None: unknown."""
    prompt: str | None = None
    """Topic or category."""
    encoded_sha256: str | None = None
    """Of the file's bytes."""
    audio_sha256: str | None = None
    """Of the 16-bit samples at 16 kHz; None: no audio."""
    failure: str | None = None
    """Why there is no audio: reason, or reason: detail."""
    sampling_rate_hz: int = 0
    """Of the recording as it came."""
    num_samples: int = 0
    """At 16 kHz."""
    duration_s: float = 0.0
    """Of the audio."""
    level_dbfs: float = 0.0
    """RMS level."""
    clipped_share: float = 0.0
    """Share of samples at full scale."""
    shard: str | None = None
    """sha256 of the shard that holds the audio."""
    row: int = -1
    """In that shard; -1: in none."""

    @property
    def key(self) -> str:
        """Unique over all sources, the same in every revision."""
        return f"{self.source}/{self.id}"


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row before its audio is looked at."""

    id: str | None
    """From the id column, if there is one."""
    reference: str | None
    """From the reference column."""
    speaker: str | None
    """None: unknown."""
    prompt: str | None
    """Topic or category."""
    data: bytes | memoryview | None
    """The encoded audio; None: there is none."""
    origin: str
    """The immutable piece of the source that it was read from."""
    failure: str | None = None
    """Why there are no bytes."""


def in_order(recordings: Iterable[Recording]) -> Rows[Recording]:
    """Rows in the order in which a revision's index holds them."""
    rows = Rows.of(recordings, Recording)
    rest = (rows.column(name) for name in ("origin", "audio_sha256"))
    order = order_of(chain([keys_of(rows)], rest))
    return rows if order is None else rows.take(order)


def keys_of(rows: Rows[Recording]) -> Any:
    """Arrow column: the key of each row."""
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(rows.column("source"), rows.column("id"), "/")


def text_or_none(value: object) -> str | None:
    """An id, speaker or prompt as text: 7, 7.0 and "7" are the same one; blanks are none."""
    if isinstance(value, float):
        if math.isnan(value):
            return None
        value = int(value) if value.is_integer() else value
    text = "" if value is None else str(value).strip()
    return text or None


class KnownAudio:
    """Recordings by the digest of their encoded bytes; rows are made only when asked for."""

    def __init__(self, index: bytes | None) -> None:
        self._rows: dict[str | None, int] = {}
        if index is not None:
            self._table = open_parquet(index).read()
            digests = self._table.column("encoded_sha256").to_pylist()
            self._rows = {digest: row for row, digest in enumerate(digests) if digest}

    def get(self, encoded_sha256: str) -> Recording | None:
        """The recording that has these bytes, or None."""
        row = self._rows.get(encoded_sha256)
        return None if row is None else from_table(self._table.slice(row, 1), Recording)[0]
