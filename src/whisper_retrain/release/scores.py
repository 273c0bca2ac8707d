"""The figures that card, report and notification all show, and how they are written.

Figures are fractions; only the functions ending in `_text` make percentages. Knows no storage.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Literal

from whisper_retrain.records import Counts, EvaluationReport, Interval, ModelRef, Record

Metric = Literal["words", "raw", "medical", "characters"]
Role = Literal["challenger", "champion", "baseline"]

METRIC_NAMES: dict[Metric, str] = {
    "words": "WER, normalised",
    "raw": "WER, raw",
    "medical": "Medical WER",
    "characters": "CER",
}
ROLE_NAMES: dict[str, str] = {
    "challenger": "Challenger",
    "champion": "Previous champion",
    "baseline": "Base model",
}
NOT_MEASURED = "–"


class Score(Record):
    """One figure of one model; None where the test set has no such words."""

    figure: float | None
    interval: Interval | None = None
    counts: Counts


class ModelScores(Record):
    """The figures of one model on the test set."""

    role: str
    model: ModelRef
    scores: dict[str, Score]


def scores_of(
    role: str, report: EvaluationReport, intervals: Mapping[str, Interval] | None = None
) -> ModelScores:
    """The four figures of a report, with the intervals that are known by metric."""
    known = intervals or {}
    scores = {}
    for metric in METRIC_NAMES:
        counts: Counts = getattr(report, metric)
        rate = counts.error_rate
        figure = rate if counts.reference_length and isfinite(rate) else None
        scores[metric] = Score(figure=figure, interval=known.get(metric), counts=counts)
    return ModelScores(role=role, model=report.model, scores=scores)


def percent_text(fraction: float | None, digits: int = 1) -> str:
    """0.0423 -> "4.2 %"; a dash where nothing was measured."""
    return NOT_MEASURED if fraction is None else f"{100 * fraction:.{digits}f} %"


def points_text(difference: float | None, digits: int = 1) -> str:
    """-0.0423 -> "−4.2 points" (percentage points), always with a sign."""
    if difference is None:
        return NOT_MEASURED
    return f"{100 * difference:+.{digits}f} points".replace("-", "−")


def interval_text(interval: Interval | None, digits: int = 1) -> str:
    """ "3.1 to 5.6 %", or nothing."""
    if interval is None:
        return ""
    return f"{100 * interval.low:.{digits}f} to {100 * interval.high:.{digits}f} %"


def score_text(score: Score) -> str:
    """ "4.2 % (3.1 to 5.6 %)"; without an interval just the figure."""
    interval = interval_text(score.interval)
    return percent_text(score.figure) + (f" ({interval})" if interval else "")


def short(digest: str | None, length: int = 8) -> str:
    """The first digits of a digest or revision."""
    return digest[:length] if digest else NOT_MEASURED
