"""The review file: where a person overrules the quarantine or corrects a reference.

A CSV with the columns utterance, action (keep, exclude, correct) and reference. It lies over the
sources, which are never touched, and has a digest of its own in the dataset revision.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field

from whisper_retrain.errors import InputError

COLUMNS = ("utterance", "action")
ACTIONS = ("keep", "exclude", "correct")


@dataclass(frozen=True, slots=True)
class ReviewFile:
    """What a person decided; keys are utterance ids as the quarantine table has them."""

    kept: frozenset[str] = frozenset()
    """Taken though a bound says otherwise."""
    excluded: frozenset[str] = frozenset()
    """Not taken."""
    corrected: Mapping[str, str] = field(default_factory=dict)
    """Utterance -> its right reference."""

    @property
    def utterances(self) -> frozenset[str]:
        """All utterances that the review speaks of."""
        return self.kept | self.excluded | frozenset(self.corrected)


def parse_review(data: bytes, where: str) -> ReviewFile:
    """Read a review file; raises InputError naming the line that is wrong."""
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    except UnicodeDecodeError as error:
        raise InputError(
            "the review file is not UTF-8", where=where, remedy="save it as UTF-8"
        ) from error
    names = reader.fieldnames or ()
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise InputError(
            f"column missing in the review file: {', '.join(missing)}",
            where=where,
            expected="utterance, action, reference",
            got=", ".join(names),
        )
    decided: dict[str, tuple[str, str]] = {}
    for row in reader:
        key, action = (row["utterance"] or "").strip(), (row["action"] or "").strip()
        reference = (row.get("reference") or "").strip()
        _check_row(key, action, reference, key in decided, f"{where}, line {reader.line_num}")
        decided[key] = (action, reference)
    return ReviewFile(
        kept=frozenset(key for key, (action, _) in decided.items() if action == "keep"),
        excluded=frozenset(key for key, (action, _) in decided.items() if action == "exclude"),
        corrected={key: text for key, (action, text) in decided.items() if action == "correct"},
    )


def _check_row(key: str, action: str, reference: str, again: bool, where: str) -> None:
    if not key or action not in ACTIONS:
        raise InputError(
            "a line of the review file makes no sense",
            where=where,
            expected=f"an utterance and one of {', '.join(ACTIONS)}",
            got=f"{key!r}, {action!r}",
        )
    if again:
        raise InputError("an utterance is reviewed twice", where=where, got=key)
    if action == "correct" and not reference:
        raise InputError("a correction without a reference", where=where, got=key)
