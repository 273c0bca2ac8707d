"""Scores of two JSONL files, references and hypotheses: the gate's figures without the gate.

Knows nothing of models, S3 or Prefect, and imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whisper_retrain.errors import InputError
from whisper_retrain.evaluation.scoring import UtteranceCounts, score_pairs
from whisper_retrain.evaluation.tiers import TIERS
from whisper_retrain.records import Counts, total

SHOWN = 3


def score_files(references: Path, hypotheses: Path, metrics: Sequence[Path] = ()) -> dict[str, Any]:
    """Figure name -> counts and rates over all utterances; under `metrics` what modules made.

    Each line holds {"id": ..., "text": ...}; both files must hold the same ids. `metrics` are
    files of metric modules for `evaluate`, their results by path. Raises InputError with the line,
    the ids or the module at fault.
    """
    said, written = read_texts(references), read_texts(hypotheses)
    if said.keys() != written.keys():
        odd = sorted(said.keys() ^ written.keys())
        raise InputError(
            "the files do not hold the same ids",
            where=f"{references}, {hypotheses}",
            expected=f"{len(said)} ids in both",
            got=f"{len(odd)} in one only, first: {', '.join(odd[:SHOWN])}",
        )
    texts = list(said.values()), [written[key] for key in said]
    figures: dict[str, Any] = {}
    if metrics:
        from whisper_retrain.evaluation.metric import compute_metric  # it takes seconds to load

        figures["metrics"] = {str(path): compute_metric(path, *texts) for path in metrics}
    scores = score_pairs(*texts)
    return {"utterances": len(scores), **summarize_scores(scores), **figures}


def summarize_scores(scores: list[UtteranceCounts]) -> dict[str, dict[str, float | int | None]]:
    """Corpus figures: raw and normalised words, characters, medical terms and their tiers."""
    figures = {
        "raw_wer": total(score.raw for score in scores),
        "wer": total(score.words for score in scores),
        "cer": total(score.characters for score in scores),
        "medical_wer": total(score.medical for score in scores),
    }
    for tier in TIERS:
        figures[f"{tier}_wer"] = total(score.tiers.get(tier, Counts()) for score in scores)
    return {name: _figures(counts) for name, counts in figures.items()}


def _figures(counts: Counts) -> dict[str, float | int | None]:
    length = counts.reference_length
    return {
        "rate": counts.error_rate if length else None,
        "recall": counts.recall if length else None,
        "reference_length": length,
        **counts.model_dump(),
    }


def read_texts(path: Path) -> dict[str, str]:
    """id -> text of a JSONL file."""
    return {key: text for key, (text,) in _items(path, ("text",)).items()}


def read_pairs(path: Path) -> dict[str, tuple[str, str]]:
    """id -> reference and hypothesis of a JSONL file."""
    found = _items(path, ("reference", "hypothesis"))
    return {key: (said, written) for key, (said, written) in found.items()}


def _items(path: Path, fields: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """id -> these fields, all texts."""
    items: dict[str, tuple[str, ...]] = {}
    lines_of: dict[str, int] = {}
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            key, texts = _item(json.loads(line), fields)
        except (ValueError, TypeError, RecursionError) as error:
            raise _bad_line(path, number, fields, line.strip()[:80]) from error
        if key in items:
            got = f"id {key!r}, which line {lines_of[key]} has too"
            raise _bad_line(path, number, fields, got)
        items[key], lines_of[key] = texts, number
    if not items:
        raise InputError("the file holds no utterance", where=str(path))
    return items


def _item(line: object, fields: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Id and texts; a number is an id too, as in many exports."""
    if not isinstance(line, dict):
        raise TypeError
    key, texts = line.get("id"), tuple(line.get(field) for field in fields)
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise TypeError
    if not all(isinstance(text, str) for text in texts):
        raise TypeError
    return str(key), tuple(str(text) for text in texts)


def _lines(path: Path) -> list[str]:
    """Lines end with a line feed alone: JSON strings may hold what else Unicode calls a line end.

    A byte order mark, which some editors put first, is no part of the text.
    """
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("the file could not be read", where=str(path), got=str(error)) from error


def _bad_line(path: Path, number: int, fields: tuple[str, ...], got: str) -> InputError:
    wanted = ", ".join(f'"{field}": "..."' for field in ("id", *fields))
    return InputError(
        "not a line of such a file",
        where=f"{path}, line {number}",
        expected=f"{{{wanted}}}, each id once",
        got=got,
    )
