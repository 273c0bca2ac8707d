"""What a dataset revision holds, for people: a table, and an HTML file that needs nothing else.

Shows counts and figures of speech, no audio.
"""

from __future__ import annotations

from typing import Any

from whisper_retrain.records import DatasetRevision

TableRow = dict[str, Any]


def dataset_table(revision: DatasetRevision) -> list[TableRow]:
    """Rows of one table: the splits, what is new, what was dropped and quarantined, and why."""
    rows = [
        _row(split, s.utterances, s.speakers, s.hours, _matrix_text(revision, split))
        for split, s in revision.splits.items()
    ]
    rows.append(_row("new", revision.new_utterances, None, revision.new_hours, ""))
    rows += [_row("dropped", n, None, None, reason) for reason, n in revision.dropped.items()]
    rows += [
        _row("quarantined", n, None, None, reason) for reason, n in revision.quarantined.items()
    ]
    rows.append(_row("seen", revision.seen, None, None, "taken + quarantined + dropped"))
    rows += [_row("notice", None, None, None, notice) for notice in revision.notices]
    return rows


def _row(
    part: str, utterances: int | None, speakers: int | None, hours: float | None, note: str
) -> TableRow:
    return {
        "part": part,
        "utterances": utterances,
        "speakers": speakers,
        "hours": None if hours is None else round(hours, 2),
        "note": note,
    }


def _matrix_text(revision: DatasetRevision, split: str) -> str:
    """Of a held-out split: how much of it train knows."""
    if split == "train":
        return ""
    cells = revision.leakage.get(split, {})
    return ", ".join(f"{n} {cell.replace('/', ' ')}" for cell, n in sorted(cells.items()))
