"""The figures that card, report and notification all show, and how they are written.

Figures are fractions; only the functions ending in `_text` make percentages. Knows no storage.
"""

from __future__ import annotations

from whisper_retrain.records import Interval, Metric, Score

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
