"""Figures as people say them; pure."""

from __future__ import annotations

from collections.abc import Sequence

from whisper_retrain.gate.statistics import Comparison

LISTED = 10


def points(rate: float, *, sign: bool = True) -> str:
    """A difference of rates in percentage points."""
    return f"{100 * rate:{'+' if sign else ''}.2f} points"


def interval_text(found: Comparison) -> str:
    """The interval in points, its confidence and what it was resampled over."""
    low, high = 100 * found.interval.low, 100 * found.interval.high
    return (
        f"{found.interval.confidence:.1%} interval {low:+.2f} to {high:+.2f}"
        f" over {found.blocks} {found.view} blocks"
    )


def listing(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")
