"""What a dataset revision holds, for people: a table, and an HTML file that needs nothing else.

Shows counts and figures of speech, ids of utterances and why they were refused; no audio.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whisper_retrain.data.charts import SPLITS, all_charts
from whisper_retrain.data.diff import RevisionDiff, diff_revisions
from whisper_retrain.data.latest import revision_at, revisions_up_to
from whisper_retrain.data.manifest import Utterance, load_manifest
from whisper_retrain.data.rows import from_parquet
from whisper_retrain.data.validation import Quarantined
from whisper_retrain.edges.store import ObjectStore
from whisper_retrain.records import Artifact, DatasetRevision

TableRow = dict[str, Any]
CELLS = tuple(
    f"{speaker}-speaker/{phrase}-phrase"
    for speaker in ("seen", "unseen")
    for phrase in ("seen", "unseen")
)
SHOWN_FAULTS = 300


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


def html_report(
    revision: DatasetRevision,
    utterances: Sequence[Utterance],
    quarantined: Sequence[Quarantined],
    history: Sequence[DatasetRevision],
    diff: RevisionDiff | None = None,
    finds: str = "",
) -> str:
    """A self-contained HTML page on one revision; `history` oldest first, ending with it.

    `finds` says in words what its test set can find.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("dataset.html.jinja").render(
        revision=revision,
        charts=all_charts(utterances, history),
        cells=CELLS,
        diff=diff,
        finds=finds,
        faults=quarantined[:SHOWN_FAULTS],
        faults_in_all=len(quarantined),
        repaired=sum(bool(u.note) for u in utterances),
        splits=SPLITS,
    )


def write_dataset_report(
    store: ObjectStore, revision: DatasetRevision, cache: Path, finds: str = ""
) -> Artifact:
    """Make the HTML report of a stored revision and store it beside its record."""
    parent = revision_at(store, revision.parent_key) if revision.parent_key else None
    utterances = load_manifest(store, revision, cache)
    quarantined = from_parquet(store.read(store.key(revision.quarantine.uri)), Quarantined)
    diff = diff_revisions(load_manifest(store, parent, cache), utterances) if parent else None
    history = revisions_up_to(store, revision)
    html = html_report(revision, utterances, quarantined, history, diff, finds)
    key = f"{revision.key}/report.html"
    return store.write(key, html.encode(), "text/html; charset=utf-8")
